"""The tokens that may ask over HTTP, in one file of mode 0600: their digests, never themselves."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lyra_mcp.domain.roles import Role
from lyra_mcp.errors import StorageFailed
from lyra_mcp.storage.database import translate

FILE = "tokens.json"


class Token(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    token_id: str = Field(pattern=r"^[0-9a-f]{12}$")
    #: Of the whole token; 256 random bits need no salt and no slow hash.
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    user: str
    role: Role
    created_at: AwareDatetime
    #: Null: never.
    expires_at: AwareDatetime | None


_TOKENS = TypeAdapter(list[Token])


def path_of(home: Path) -> Path:
    return home / FILE


def read_tokens(home: Path) -> list[Token] | None:
    """What the file holds; None where there is none, which is not the same as an empty one.

    Raises:
        StorageFailed: it is open to others, damaged, or cannot be read.
    """
    path = path_of(home)
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            written = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise translate(error) from error
    if mode & 0o077:
        raise StorageFailed(f"{FILE} is open to other users (mode {mode:o}); run chmod 600 on it")
    try:
        return _TOKENS.validate_json(written)
    except ValidationError as error:
        raise StorageFailed(f"{FILE} is damaged; mend it, or remove it and give out new tokens") from error


def write_tokens(home: Path, tokens: list[Token]) -> None:
    """A reader sees the old file or the new one. Raises DiskFull, StorageFailed."""
    path = path_of(home)
    partial = path.with_suffix(".partial")
    try:
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(_TOKENS.dump_json(tokens, indent=1) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise translate(error) from error


@contextmanager
def held(home: Path) -> Iterator[None]:
    """Be the only one who changes the file. Raises StorageFailed."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(home / f".{FILE}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise translate(error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
