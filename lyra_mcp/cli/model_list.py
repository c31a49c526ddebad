"""The models a person can choose from: the shipped one, known ones, those in the hub's cache, and pulled ones."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lyra_mcp.cli.model_facts import BUILTIN, CONFIG, builtin_folders, read_json, read_pulled
from lyra_mcp.errors import LyraError
from lyra_mcp.worker_client.address import pulled_folder

Place = Literal["shipped", "pulled", "hub cache", "folder", "hub"]

#: The names of the development sets in the shipped manifest.
SOURCES = {"snli_devtest": "SNLI", "mnli_dev_matched": "MNLI matched", "vitaminc_real_test": "VitaminC hold-out"}


@dataclass(frozen=True)
class Known:
    """A published model, by its publisher's card."""

    name: str
    #: About; what a pull fetches.
    size_bytes: int
    licence: str
    languages: str
    scores: str
    source: str


KNOWN = (
    Known(
        "cross-encoder/nli-deberta-v3-xsmall",
        284_000_000,
        "Apache-2.0",
        "English",
        "MNLI mismatched 87.8",
        "its authors",
    ),
    Known(
        "cross-encoder/nli-deberta-v3-small",
        568_000_000,
        "Apache-2.0",
        "English",
        "MNLI mismatched 87.6",
        "its authors",
    ),
)


@dataclass(frozen=True)
class Row:
    """A null is not known: nothing is guessed about a model that nobody described to us."""

    name: str
    place: Place
    size_bytes: int | None
    licence: str | None
    languages: str | None
    #: Accuracy in percent, by set.
    scores: str | None
    #: Who measured.
    scores_source: str | None
    in_use: bool


def hub_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the hub's client keeps what it fetched. Source: huggingface_hub, "Environment variables"."""
    if cache := environment.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    default = Path(environment.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(environment.get("HF_HOME", default)).expanduser() / "hub"


def cached_models(cache: Path) -> dict[str, Path]:
    """Models with a whole configuration and weights, by name: their newest snapshot."""
    found: dict[str, Path] = {}
    for folder in sorted(cache.glob("models--*")):
        snapshots = [p for p in (folder / "snapshots").glob("*") if is_model(p)]
        if snapshots:
            newest = max(snapshots, key=lambda path: path.stat().st_mtime)
            found[folder.name.removeprefix("models--").replace("--", "/", 1)] = newest
    return found


def is_model(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and any(folder.glob("*.safetensors"))


def pulled_models(root: Path) -> dict[str, Path]:
    """Whole models by name; a damaged one is left out, as `models use` explains."""
    found: dict[str, Path] = {}
    for folder in sorted(root.glob("[!.]*")):
        try:
            model = read_pulled(folder)
        except LyraError:
            continue
        if model:
            found[model.name] = folder
    return found


def find_model(name: str, models_root: Path) -> tuple[Place, Path] | None:
    """Where a model lies here: pulled, a folder, or in the hub's cache. `builtin` is not asked for."""
    folder = pulled_folder(models_root, name)
    if folder is not None:
        return "pulled", folder
    if Path(name).expanduser().is_dir():
        return "folder", Path(name).expanduser().resolve()
    cached = cached_models(hub_cache()).get(name)
    return ("hub cache", cached) if cached else None


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def builtin_row(*, in_use: bool) -> Row:
    """Its scores are those its manifest holds; none where it holds none."""
    ours, encoder = builtin_folders()
    scores: dict[str, Any] = (read_json(ours / "manifest.json").get("scores") or {}).get("accuracy_on_all", {})
    written = ", ".join(f"{SOURCES[s]} {100 * scores[s]['accuracy']:.1f}" for s in SOURCES if s in scores)
    return Row(
        name=BUILTIN,
        place="shipped",
        size_bytes=size_of(ours) + (encoder / "model.safetensors").stat().st_size,
        licence="Apache-2.0",
        languages="English",
        scores=written or None,
        scores_source="this project, on development pairs" if written else None,
        in_use=in_use,
    )


def list_models(models_root: Path, in_use: str) -> list[Row]:
    """The shipped model first, then the known ones, then whatever else lies here."""
    pulled, cached = pulled_models(models_root), cached_models(hub_cache())
    known = {model.name: model for model in KNOWN}
    rows = [builtin_row(in_use=in_use == BUILTIN)]
    for name in dict.fromkeys([*known, *pulled, *cached]):
        place: Place = "pulled" if name in pulled else "hub cache" if name in cached else "hub"
        folder = pulled.get(name) or cached.get(name)
        about = known.get(name)
        rows.append(
            Row(
                name=name,
                place=place,
                size_bytes=size_of(folder) if folder else (about.size_bytes if about else None),
                licence=about.licence if about else None,
                languages=about.languages if about else None,
                scores=about.scores if about else None,
                scores_source=about.source if about else None,
                in_use=in_use == name,
            )
        )
    if not any(row.in_use for row in rows):
        place = "folder" if Path(in_use).expanduser().is_dir() else "hub"
        size = size_of(Path(in_use).expanduser()) if place == "folder" else None
        rows.append(Row(in_use, place, size, None, None, None, None, in_use=True))
    return rows
