"""An export: one zip with everything a person may want to read or take along, written whole or not at all."""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from lyra_mcp.errors import Conflict, Invalid, NotFound
from lyra_mcp.storage.files import refuse_existing, sync_folder
from lyra_mcp.storage.sealed_files import SealedWriter, unseal

#: Of a job's folder these are copied; checkpoints are states of an optimizer and nothing to read.
JOB_FILES = ("request.json", "samples.jsonl", "report.json", "report.html", "log")


@dataclass(frozen=True, slots=True)
class Contents:
    #: Path in the zip: what is written there as JSON.
    documents: Mapping[str, Any]
    #: Path in the zip: the file that is copied there, or what is written.
    files: Mapping[str, Path | bytes]


def place_of(root: Path, name: str) -> Path:
    """Where an export of this name goes.

    Raises:
        Invalid: outside the folder of exports.
        Conflict: there is a file of this name.
    """
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()) or path == root.resolve():
        raise Invalid(f"an export goes inside {root}; give a file name, or leave path out")
    if path.exists():
        raise Conflict(f"{path.name} exists already; give another name, or leave path out")
    return path


def write_export(path: Path, contents: Contents, *, passphrase: str | None) -> int:
    """Returns the size in bytes. With a passphrase the file is sealed, and no plain copy ever lies on the disk."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _whole(path) as file:
        if passphrase is None:
            _write_zip(file, contents)
        else:
            sealed = SealedWriter(file, passphrase)
            _write_zip(cast("IO[bytes]", sealed), contents)
            sealed.close()
    return path.stat().st_size


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _write_zip(file: IO[bytes], contents: Contents) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, document in contents.documents.items():
            archive.writestr(name, json.dumps(document, ensure_ascii=False, indent=1))
        for name, source in contents.files.items():
            if isinstance(source, bytes):
                archive.writestr(name, source)
            else:
                archive.write(source, name)


def files_below(folder: Path, inside: str) -> dict[str, Path]:
    """The files of a folder, by where they go in the zip; links are left out."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {f"{inside}/{path.relative_to(folder).as_posix()}": path for path in found}


def open_sealed(sealed: Path, target: Path, passphrase: str) -> int:
    """Write the zip inside a sealed export; returns its size in bytes.

    Raises:
        Invalid: it cannot be opened, and nothing is left of it.
        Conflict: there is a file of the target's name.
        NotFound: there is no such sealed file.
    """
    if not sealed.is_file():
        raise NotFound(f"no file {sealed}; name a sealed export")
    refuse_existing(target)
    with _whole(target) as file:
        for piece in unseal(sealed, passphrase):
            file.write(piece)
    return target.stat().st_size
