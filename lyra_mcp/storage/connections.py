"""The connection itself: an encrypted SQLite file, opened with its key and set up as the whole house expects it."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiosqlite
from sqlcipher3 import dbapi2 as sqlite  # never the standard library's module beside it: its exceptions differ

from lyra_mcp.domain.audit import Head

Row = sqlite.Row
DatabaseError = sqlite.DatabaseError

#: Pages kept decrypted in memory; with less, a scan of vectors decrypts the table again at every query.
CACHE_KIB = 65_536
BUSY_TIMEOUT_S = 5.0


class Transaction(aiosqlite.Connection):
    """The one connection, as statements inside a transaction see it."""

    #: Seals what is appended to the audit.
    audit_key: bytes
    #: The audit's last entry where this transaction appended one: written outside the database when it ends.
    audit_head: Head | None = None


def connector(path: Path, key: bytes) -> Callable[[], Any]:
    """Open a database with its key; raises DatabaseError where it does not fit."""

    def connect() -> Any:
        connection = sqlite.connect(str(path), isolation_level=None, timeout=BUSY_TIMEOUT_S)
        connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        connection.execute("PRAGMA cipher_log_level = NONE")
        connection.execute("SELECT count(*) FROM sqlite_master")  # a wrong key fails here
        set_up(connection)
        return connection

    return connect


def set_up(connection: Any) -> None:
    """What every connection needs beside its key."""
    connection.enable_load_extension(True)
    connection.load_extension(_vector_extension())
    connection.enable_load_extension(False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a reply promises that its review survives a power cut
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA secure_delete = ON")
    connection.row_factory = sqlite.Row


def _vector_extension() -> str:
    """Where sqlite-vec keeps its library. Importing the package would import numpy, 0.2 s of every start."""
    spec = find_spec("sqlite_vec")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return str(Path(spec.submodule_search_locations[0]) / "vec0")


async def first_value(cursor: aiosqlite.Cursor) -> Any:
    """The one value of a query that always gives one."""
    row = await cursor.fetchone()
    assert row is not None, "an aggregate always has a row"
    return row[0]
