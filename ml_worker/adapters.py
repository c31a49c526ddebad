"""Adapters as values: the merged tensors of one adapter folder, computed once, never written into the base."""

import copy
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from pydantic import BaseModel as Message
from pydantic import ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, load_file

from ml_worker.base_models import BaseModel
from ml_worker.errors import AdapterRefused
from schema import sealing
from schema.sealing import WEIGHTS

PEFT_CONFIG, MANIFEST = "adapter_config.json", "lyra_adapter.json"

#: Formats that run code when they are read.
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}


class AdapterManifest(Message):
    """`lyra_adapter.json`: what an adapter folder says of itself; a trainer may add more."""

    model_config = ConfigDict(extra="allow", frozen=True)

    base_fingerprint: str
    #: Null: the base's own temperature holds.
    temperature: float | None = Field(default=None, gt=0)


@dataclass(frozen=True, eq=False)
class Adapter:
    #: Inside the adapters root.
    path: str
    #: What replaces the base's tensors of the same name.
    parameters: Mapping[str, torch.Tensor]
    temperature: float | None
    #: SHA-256 of its weights file, as it is in plain.
    digest: str


def find_folder(root: Path, path: str) -> tuple[Path, str]:
    """The adapter's folder, and its name inside the root.

    Raises:
        AdapterRefused: the path leaves the root, by `..`, as an absolute path or through a link, or is no folder.
    """
    root = root.absolute()
    place = f"name a folder inside the adapters root {root}"
    if not path.strip() or "\0" in path or ".." in Path(path).parts:
        raise AdapterRefused(f"{path!r} is not a path inside the adapters root; {place}")
    folder = root / path
    try:
        if not folder.is_relative_to(root) or not folder.resolve().is_relative_to(root.resolve()):
            raise AdapterRefused(f"{path!r} leads out of the adapters root; {place}")
        exists = folder != root and folder.is_dir()
    except (OSError, RuntimeError) as error:  # a name too long, a loop of links, no permission
        raise AdapterRefused(f"{path[:80]!r} cannot be followed ({error.__class__.__name__}); {place}") from error
    if not exists:
        raise AdapterRefused(f"there is no adapter {path!r}; {place}")
    return folder, folder.relative_to(root).as_posix()


def check_files(root: Path, folder: Path) -> None:
    """Refuse what must not be read: pickles, links out of the root, missing parts."""
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in PICKLES:
            raise AdapterRefused(f"{file.name} is a pickle, which can run code; save the adapter as safetensors")
        if not file.resolve().is_relative_to(root.resolve()):
            raise AdapterRefused(f"{file.name} is a link out of the adapters root; copy the file itself")
    for name in (WEIGHTS, PEFT_CONFIG, MANIFEST):
        if not (folder / name).is_file() and not (name == WEIGHTS and sealing.is_sealed(folder / name)):
            raise AdapterRefused(f"the adapter has no {name}; train it with Lyra or add the file")


def read_manifest(folder: Path, base: BaseModel) -> AdapterManifest:
    try:
        manifest = AdapterManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise AdapterRefused(f"{MANIFEST}: {where}: {first['msg']}; train the adapter again") from error
    if manifest.base_fingerprint != base.fingerprint:
        raise AdapterRefused(
            f"the adapter belongs to a base with fingerprint {manifest.base_fingerprint}, this worker serves "
            f"{base.name} with {base.fingerprint}; train it again on this base, or start the worker with the other one"
        )
    return manifest


def load_adapter(base: BaseModel, root: Path, path: str, *, key: bytes | None = None) -> Adapter:
    """Read, check and merge an adapter; `key` opens it where it is sealed.

    Raises:
        AdapterRefused: the folder must not or cannot serve on this base.
    """
    folder, name = find_folder(root, path)
    check_files(root, folder)
    manifest = read_manifest(folder, base)
    try:
        digest = sealing.sha256(folder / WEIGHTS, key, sealing.place_of_weights(folder))
    except sealing.CannotOpen as error:
        raise AdapterRefused(str(error)) from error
    return Adapter(path=name, parameters=merge(base, folder, key), temperature=manifest.temperature, digest=digest)


def merge(base: BaseModel, folder: Path, key: bytes | None = None) -> dict[str, torch.Tensor]:
    """The tensors in which the base with this adapter differs from the base."""
    stored = _read_weights(folder, key)
    try:
        adapted = _adapted(base, folder, stored)
        # With embedding layers on "auto", peft would ask the model hub.
        expected = get_peft_model_state_dict(adapted, save_embedding_layers=False)
        if differing := set(expected) ^ set(stored):
            raise AdapterRefused(f"{WEIGHTS} does not match {PEFT_CONFIG}: {sorted(differing)[:3]}; train it again")
        merged: Any = adapted.merge_and_unload(safe_merge=True)
    except (ValueError, TypeError, KeyError, RuntimeError, AttributeError, NotImplementedError) as error:
        # peft names what does not fit by whichever of these comes first
        raise AdapterRefused(f"the adapter does not fit {base.name}: {_first_line(error)}; train it again") from error
    before: dict[str, torch.Tensor] = base.model.state_dict()
    after: dict[str, torch.Tensor] = merged.state_dict()
    if set(before) != set(after):
        raise AdapterRefused("the adapter cannot be merged into the base's weights; use LoRA or OFT")
    return {name: after[name].detach() for name in after if not torch.equal(after[name], before[name])}


def _adapted(base: BaseModel, folder: Path, stored: dict[str, torch.Tensor]) -> PeftModel:
    """peft reads weights from files only; what is sealed never becomes one, so its tensors are set by hand."""
    model = copy.deepcopy(base.model)
    if not sealing.is_sealed(folder / WEIGHTS):
        return PeftModel.from_pretrained(model, folder)
    config = PeftConfig.from_pretrained(folder)
    config.inference_mode = True
    adapted = get_peft_model(model, config)
    set_peft_model_state_dict(adapted, stored)
    return adapted.eval()


def _read_weights(folder: Path, key: bytes | None) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS
    try:
        stored: dict[str, torch.Tensor] = (
            load(sealing.read(path, key, sealing.place_of_weights(folder)))
            if sealing.is_sealed(path)
            else load_file(path)
        )
    except sealing.CannotOpen as error:
        raise AdapterRefused(str(error)) from error
    except (SafetensorError, OSError) as error:
        raise AdapterRefused(f"{WEIGHTS} is damaged ({_first_line(error)}); copy or train it again") from error
    if broken := [name for name, tensor in stored.items() if not tensor.isfinite().all()]:
        raise AdapterRefused(f"{WEIGHTS} holds numbers that are not finite in {broken[:3]}; train it again")
    return stored


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class AdapterCache:
    """The adapters used last, merged; a folder whose files changed is read anew."""

    def __init__(self, base: BaseModel, root: Path, *, adapters_max: int = 8) -> None:
        self._base = base
        self._root = root
        self._adapters_max = adapters_max
        self._kept: OrderedDict[tuple[str, str], Adapter] = OrderedDict()

    def find(self, path: str, key: bytes | None = None) -> Adapter:
        """Load, or take from the cache; a sealed one also from there only with the key that opened it.

        Raises:
            AdapterRefused: as `load_adapter`.
        """
        folder, name = find_folder(self._root, path)
        check_files(self._root, folder)
        entry = (name, _stamp(folder, key))
        if entry not in self._kept:
            adapter = load_adapter(self._base, self._root, path, key=key)
            if _stamp(folder, key) != entry[1]:  # it was sealed, and the plain file overwritten, while it was read
                adapter, entry = load_adapter(self._base, self._root, path, key=key), (name, _stamp(folder, key))
            self._kept[entry] = adapter
            while len(self._kept) > self._adapters_max:
                self._kept.popitem(last=False)
        self._kept.move_to_end(entry)
        return self._kept[entry]

    def __len__(self) -> int:
        return len(self._kept)


def _stamp(folder: Path, key: bytes | None) -> str:
    """Changes whenever a file of the folder does; of a sealed one also with the key."""
    stats = [(file.name, file.stat()) for file in sorted(folder.rglob("*"))]
    content = json.dumps([(name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in stats])
    opened_with = key if key is not None and sealing.is_sealed(folder / WEIGHTS) else b""
    return hashlib.sha256(content.encode() + opened_with).hexdigest()
