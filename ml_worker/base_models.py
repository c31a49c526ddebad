"""Load a base model: the shipped `builtin`, a local folder, or a Hugging Face id."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertForSequenceClassification
from transformers.utils import logging as transformers_logging

from ml_worker import difference
from ml_worker.encoder import TamperedFile, encoder_folder, sha256
from ml_worker.errors import BaseRefused
from ml_worker.fingerprints import fingerprint
from schema.pulled_models import PULLED, PulledModel
from schema.vocabulary import LABEL_NAMES, LABELS, Label

BUILTIN = "builtin"
BUILTIN_FOLDER = Path(__file__).parent / "models" / "builtin"
DIFFERENCE, MANIFEST = "difference.safetensors", "manifest.json"

#: Longer pairs are truncated even where the model could read on: attention grows with the square.
TOKENS_MAX = 512


class Manifest(pydantic.BaseModel):
    """`manifest.json` of the shipped base."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    difference_sha256: str
    #: In the order of the head's columns.
    labels: tuple[Label, ...]
    temperature: float = pydantic.Field(gt=0)
    tokens_max: int = pydantic.Field(gt=0)
    #: Measured when it was packed.
    scores: dict[str, Any] | None
    command: str


@dataclass(frozen=True)
class BaseModel:
    name: str
    model: Any
    tokenizer: Any
    #: Our labels in the order of the logits' columns.
    labels: tuple[Label, ...]
    #: SHA-256 over weights, tokenizer and label order.
    fingerprint: str
    temperature: float
    #: Longest pair in tokens, special ones included.
    tokens_max: int
    hidden_size: int


def quiet_libraries() -> None:
    """Keep progress bars and load reports out of the log."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)


def read_labels(id2label: Mapping[int, str]) -> tuple[Label, ...]:
    """Our labels in the order of the logits' columns, by the names in the model's config.

    Raises:
        BaseRefused: when a name is unknown, missing, or stands twice.
    """
    names = [str(id2label[column]) for column in sorted(id2label)]
    if unknown := [name for name in names if name.lower() not in LABEL_NAMES]:
        raise BaseRefused(
            f"the model's label names {names} are not those of an NLI model: {unknown} unknown; "
            f"choose a model whose id2label has entailment, contradiction and neutral"
        )
    labels = tuple(LABEL_NAMES[name.lower()] for name in names)
    if sorted(labels) != sorted(LABELS):
        raise BaseRefused(
            f"the model's label names {names} must name entailment, contradiction and neutral, once each; "
            f"choose another model or mend id2label in its config.json"
        )
    return labels


def load_base(name: str) -> BaseModel:
    """Load on the CPU, float32, ready to judge.

    Raises:
        BaseRefused: the model cannot be found, is not an NLI model, or its bytes were changed.
    """
    return load_builtin() if name == BUILTIN else load_pretrained(name)


def load_builtin(folder: Path = BUILTIN_FOLDER) -> BaseModel:
    try:
        encoder = encoder_folder()
    except TamperedFile as error:
        raise BaseRefused(str(error)) from error
    manifest, stored = _read_difference(folder)
    labels = manifest.labels
    model = BertForSequenceClassification.from_pretrained(
        encoder, num_labels=len(labels), id2label=dict(enumerate(labels)), use_safetensors=True, dtype=torch.float32
    )
    changed = difference.add(stored, model.state_dict())
    unexpected = model.load_state_dict(changed, strict=False).unexpected_keys
    assert not unexpected, f"the difference holds tensors the model has not: {unexpected}"
    assert "classifier.weight" in changed, "the difference holds no head"
    return _finish(
        BUILTIN,
        model,
        AutoTokenizer.from_pretrained(encoder),
        temperature=manifest.temperature,
        tokens_max=manifest.tokens_max,
    )


def _read_difference(folder: Path) -> tuple[Manifest, dict[str, torch.Tensor]]:
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        found = sha256(folder / DIFFERENCE)
    except (OSError, ValueError) as error:
        raise BaseRefused(f"the shipped base is damaged ({error}); reinstall lyra-mcp[worker]") from error
    if found != manifest.difference_sha256:
        raise BaseRefused(
            f"{DIFFERENCE} has SHA-256 {found}, not {manifest.difference_sha256}; reinstall lyra-mcp[worker]"
        )
    return manifest, load_file(folder / DIFFERENCE)


def load_pretrained(name: str) -> BaseModel:
    """A local folder or a Hugging Face id; safetensors only, and no code from the model's authors."""
    if name.startswith(("/", ".", "~")) and not Path(name).expanduser().is_dir():
        raise BaseRefused(f"there is no folder {name!r}; set LYRA_NLI_MODEL to an existing folder or a model id")
    folder = str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name
    _verify_pulled(Path(folder))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, ImportError) as error:  # what transformers raises for absent or unusable files
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BaseRefused(
            f"cannot load {name!r}: {reason}; while online run `lyra-mcp models pull {name}`, "
            f"or set LYRA_NLI_MODEL to a folder with config.json, tokenizer and model.safetensors"
        ) from error
    return _finish(name, model, tokenizer, temperature=1.0, tokens_max=_tokens_max(model.config, tokenizer))


def _verify_pulled(folder: Path) -> None:
    """Compare a pulled model's bytes with those that arrived; other folders have nothing to compare with."""
    if not (folder / PULLED).is_file():
        return
    try:
        pulled = PulledModel.model_validate_json((folder / PULLED).read_bytes())
        changed = [name for name, file in pulled.files.items() if sha256(folder / name) != file.sha256]
    except (OSError, ValueError) as error:
        raise BaseRefused(f"{folder} is damaged ({error}); pull the model again with `lyra-mcp models pull`") from error
    if changed:
        raise BaseRefused(
            f"{', '.join(changed)} of {pulled.name} is not what was pulled; run `lyra-mcp models pull {pulled.name}`"
        )


def _tokens_max(config: Any, tokenizer: Any) -> int:
    positions = getattr(config, "max_position_embeddings", TOKENS_MAX)
    if config.model_type in {"roberta", "xlm-roberta", "camembert"}:
        positions -= config.pad_token_id + 1  # these count positions from after the padding id
    return int(min(tokenizer.model_max_length, positions, TOKENS_MAX))


def _finish(name: str, model: Any, tokenizer: Any, *, temperature: float, tokens_max: int) -> BaseModel:
    labels = read_labels(model.config.id2label)
    if not tokenizer.is_fast:
        raise BaseRefused(f"{name!r} has no fast tokenizer (tokenizer.json); choose a model that brings one")
    model.requires_grad_(requires_grad=False)
    return BaseModel(
        name=name,
        model=model.eval(),
        tokenizer=tokenizer,
        labels=labels,
        fingerprint=fingerprint(model.state_dict(), tokenizer, labels),
        temperature=temperature,
        tokens_max=tokens_max,
        hidden_size=model.config.hidden_size,
    )
