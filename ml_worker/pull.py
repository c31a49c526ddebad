"""Download a model from the hub into a folder of ours, whole and verified or not at all; started by `lyra-mcp`.

    python -m ml_worker.pull --name cross-encoder/nli-deberta-v3-small --root LYRA_HOME/models

Prints JSON lines (`schema/pulled_models.py`). The client takes up a broken connection after the last piece (10 MB) that
arrived. After an interrupted run its whole files wait in a hidden folder beside the models; the next run fetches the
others.
"""

import argparse
import errno
import fcntl
import hashlib
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ml_worker.encoder import sha256
from schema.pulled_models import PULLED, PullDone, PulledFile, PulledModel, PullFailed, PullProgress, folder_name

#: Weights, settings and tokenizers; never pickles, never code.
SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".jinja")
NO_HUB_NEXT = (
    "come back when this machine is online, or copy a folder with config.json, tokenizer and model.safetensors here "
    "and run `lyra-mcp models use FOLDER`"
)
PROGRESS_S = 0.5


class PullRefused(Exception):
    """The model was not pulled; the message names the next step."""


@dataclass(frozen=True)
class HubFile:
    name: str
    size_bytes: int
    #: SHA-256 of large files; the git object id (SHA-1) of small ones.
    sha256: str | None
    git_sha1: str


def say(line: PullProgress | PullDone | PullFailed) -> None:
    sys.stdout.write(line.model_dump_json() + "\n")
    sys.stdout.flush()


def look_up(name: str, revision: str | None) -> tuple[str, list[HubFile]]:
    """The commit, and the files of it that we want.

    Raises:
        PullRefused: it has no safetensors or no config.json.
    """
    info = HfApi().model_info(name, revision=revision, files_metadata=True)
    files = [
        HubFile(
            sibling.rfilename, sibling.size or 0, sibling.lfs.sha256 if sibling.lfs else None, sibling.blob_id or ""
        )
        for sibling in info.siblings or []
        if sibling.rfilename.endswith(SUFFIXES) and "/" not in sibling.rfilename
    ]
    names = [file.name for file in files]
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise PullRefused(
            f"{name} has no config.json with safetensors weights, and others are not read; choose another model"
        )
    return str(info.sha), files


def is_published(path: Path, file: HubFile) -> bool:
    """Whether the bytes are those that the hub announced."""
    if path.stat().st_size != file.size_bytes:
        return False
    if file.sha256:
        return sha256(path) == file.sha256
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == file.git_sha1  # noqa: S324  # git's own


@contextmanager
def telling_progress(folder: Path, total_bytes: int) -> Iterator[None]:
    """Count what lies in the folder, finished or not: true whatever way the client takes the bytes."""
    ended = threading.Event()

    def count() -> None:
        while not ended.wait(PROGRESS_S):
            try:
                say(PullProgress(done_bytes=min(size_of(folder), total_bytes), total_bytes=total_bytes))
            except BrokenPipeError:  # who asked is gone
                os._exit(1)

    thread = threading.Thread(target=count, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # renamed between two looks
            total += path.stat().st_size if path.is_file() else 0
    return total


def standing(folder: Path, revision: str) -> PulledModel | None:
    """What was pulled earlier, if it is this revision and every byte is still right."""
    try:
        model = PulledModel.model_validate_json((folder / PULLED).read_bytes())
        whole = all(sha256(folder / name) == file.sha256 for name, file in model.files.items())
    except (OSError, ValueError):
        return None
    return model if whole and model.revision == revision else None


def pull(name: str, root: Path, revision: str | None = None) -> PullDone:
    """
    Raises:
        PullRefused: it cannot be pulled, or its bytes are not the published ones.
        OSError, httpx2.HTTPError: as the client raises them (`explain`).
    """
    commit, files = look_up(name, revision)
    folder, partial = root / folder_name(name), root / f".{folder_name(name)}.partial"
    if found := standing(folder, commit):
        return PullDone(folder=str(folder), model=found, downloaded=False)
    total = sum(file.size_bytes for file in files)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with alone(root):
        partial.mkdir(mode=0o700, exist_ok=True)
        for orphan in partial.rglob("*.incomplete"):  # of a killed run; the client never takes them up again
            orphan.unlink()
        if total > (free := shutil.disk_usage(partial).free):
            raise PullRefused(f"{name} needs {total / 1e6:.0f} MB and {free / 1e6:.0f} MB are free; make room")
        with telling_progress(partial, total):
            snapshot_download(name, revision=commit, local_dir=partial, allow_patterns=[file.name for file in files])
        model = check(name, commit, files, partial)
        finish(partial, folder, model)
    return PullDone(folder=str(folder), model=model, downloaded=True)


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold the folder of models; the kernel lets go of it when we die.

    Raises:
        PullRefused: another pull is under way.
    """
    descriptor = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise PullRefused("another pull is under way; wait for its end and pull again") from error
    finally:
        os.close(descriptor)


def check(name: str, commit: str, files: list[HubFile], partial: Path) -> PulledModel:
    """
    Raises:
        PullRefused: a byte is not the published one; what was downloaded is thrown away.
    """
    if wrong := [file.name for file in files if not is_published(partial / file.name, file)]:
        shutil.rmtree(partial)
        raise PullRefused(f"{', '.join(wrong)} of {name} did not arrive as published and was thrown away; pull again")
    return PulledModel(
        name=name,
        revision=commit,
        pulled_at=datetime.now(UTC),
        files={f.name: PulledFile(size_bytes=f.size_bytes, sha256=sha256(partial / f.name)) for f in files},
    )


def finish(partial: Path, folder: Path, model: PulledModel) -> None:
    """Make a complete folder of a partial one, in the place of whatever stood there."""
    shutil.rmtree(partial / ".cache", ignore_errors=True)  # the client's bookkeeping
    for extra in {path.name for path in partial.iterdir()} - set(model.files):  # of an earlier revision
        (partial / extra).unlink()
    (partial / PULLED).write_text(model.model_dump_json(indent=1) + "\n", encoding="utf-8")
    for path in partial.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old)
    else:
        partial.rename(folder)


def explain(name: str, error: Exception) -> str:
    """In words, with the next step."""
    hub = constants.ENDPOINT
    if isinstance(error, GatedRepoError):
        return f"{name} is given only to those who agreed to its terms; agree on its page and set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return f"{hub} has no model {name!r} that may be read; check the name (owner/model), or set HF_TOKEN"
    if isinstance(error, RevisionNotFoundError):
        return f"{name} has no such revision; leave --revision out or name a commit"
    if isinstance(error, HFValidationError):
        return f"{name!r} is no model name; write owner/model"
    if isinstance(error, OfflineModeIsEnabled):
        return f"HF_HUB_OFFLINE forbids a download; unset it, or {NO_HUB_NEXT}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full; make room and pull again: what has arrived is kept"
    if isinstance(error, httpx2.TransportError | LocalEntryNotFoundError | ConnectionError):
        return f"{hub} cannot be reached or broke off ({type(error).__name__}); {NO_HUB_NEXT}"
    if isinstance(error, HfHubHTTPError):
        return f"{hub} answered with status {error.response.status_code}; pull again later, or {NO_HUB_NEXT}"
    return f"{type(error).__name__}: {error}; pull again"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--revision")
    options = parser.parse_args()
    try:
        say(pull(options.name, options.root, options.revision))
    except PullRefused as error:
        say(PullFailed(problem=str(error)))
        return 1
    except (OSError, httpx2.HTTPError, HFValidationError, HfHubHTTPError) as error:
        say(PullFailed(problem=explain(options.name, error)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
