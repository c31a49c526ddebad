"""A backup: the encrypted database as it is, and its key under the user's backup key, which an erasure destroys."""

import json
import os
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lyra_mcp.domain.audit import Head
from lyra_mcp.errors import Invalid, StorageFailed
from lyra_mcp.storage.connections import DatabaseError, connector
from lyra_mcp.storage.files import sync_folder
from lyra_mcp.storage.keys import UserKeys, unwrap, wrap

DATABASE = "lyra.db"
FACTS = "backup.json"
COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Backup:
    user: str
    created_at: str
    #: Of the audit when the backup was made.
    head: Head
    database_key: bytes


def write_backup(path: Path, database: Path, *, keys: UserKeys, user: str, created_at: str, head: Head) -> int:
    """Returns the size in bytes; the file is whole or not there."""
    sealed = wrap(keys.backup, keys.database, about=_about(user, created_at))
    facts = {"format": 1, "user": user, "created_at": created_at, "seq": head.seq, "mac": head.mac, **sealed}
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("xb") as file:
            partial.chmod(0o600)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # noise does not shrink
                archive.writestr(FACTS, json.dumps(facts))
                archive.write(database, DATABASE)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return path.stat().st_size


def read_backup(path: Path, keys: UserKeys, *, user: str) -> Backup:
    """What a backup holds.

    Raises:
        Invalid: it is no backup, or of another user.
        StorageFailed: this user's backup key does not open it: it was erased, or another home's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            facts: dict[str, Any] = json.loads(archive.read(FACTS))
        if facts["user"] != user:
            raise Invalid(f"this is a backup of the user {facts['user']!r}; set LYRA_USER to restore it")
        head = Head(facts["seq"], facts["mac"])
        about = _about(user, facts["created_at"])
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        raise Invalid(f"{path} is no backup of Lyra; `lyra-mcp privacy backup FILE` writes one") from error
    try:
        key = unwrap(keys.backup, facts, about=about)
    except StorageFailed as error:
        raise StorageFailed(
            "the backup was made with a key that is not here; if its owner was erased it cannot be read any more,"
            " else run `lyra-mcp key import` with the key exported then"
        ) from error
    return Backup(user, facts["created_at"], head, key)


def extract_database(path: Path, target: Path, key: bytes) -> None:
    """Unpack the database beside its place, and read all of it once.

    Raises:
        StorageFailed: it is damaged; nothing is left of it.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(DATABASE) as source, target.open("wb") as file:
            target.chmod(0o600)
            while piece := source.read(COPY_BYTES):
                file.write(piece)
        connection = connector(target, key)()
        try:
            broken = connection.execute("PRAGMA cipher_integrity_check").fetchall()
            found = connection.execute("PRAGMA quick_check").fetchone()[0]
        finally:
            connection.close()
        if broken or found != "ok":
            raise StorageFailed("the backup's database is damaged; take another backup")
    except (OSError, zipfile.BadZipFile, KeyError, DatabaseError) as error:
        target.unlink(missing_ok=True)
        raise StorageFailed("the backup's database is damaged; take another backup") from error


def _about(user: str, created_at: str) -> str:
    return f"backup of {user} at {created_at}"
