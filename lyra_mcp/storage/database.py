"""The one encrypted SQLite file of a user: opening, migrating, and one transaction at a time."""

import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiosqlite
import anyio
from sqlcipher3 import dbapi2 as sqlite  # never the standard library's module beside it: its exceptions differ

from lyra_mcp.errors import DiskFull, LyraError, StorageFailed

Row = sqlite.Row
Transaction = aiosqlite.Connection

#: Pages kept decrypted in memory; with less, a scan of vectors decrypts the table again at every query.
CACHE_KIB = 65_536
BUSY_TIMEOUT_S = 5.0
KEY_BYTES = 32


def migrations() -> list[str]:
    """The migration scripts in order; number n brings a database from version n - 1 to n."""
    folder = files("schema") / "migrations"
    return [path.read_text(encoding="utf-8") for path in sorted(folder.iterdir(), key=lambda path: path.name)]


#: What SQLite and the system say, in lower case, and what the caller can do.
_NEXT_STEPS: tuple[tuple[tuple[str, ...], type[LyraError], str], ...] = (
    (
        ("disk is full", "no space left"),
        DiskFull,
        "the disk is full and nothing was written; free some space and call again",
    ),
    (
        ("locked", "busy"),
        StorageFailed,
        "another process keeps the database locked; call again, or stop the other server",
    ),
    (
        ("readonly", "read-only", "unable to open", "permission denied", "not permitted"),
        StorageFailed,
        "the data folder cannot be written; set LYRA_HOME to a folder you own",
    ),
    (
        ("not a database",),
        StorageFailed,
        "the key does not fit the database; restore the key file that belongs to it",
    ),
    (("malformed",), StorageFailed, "the database is damaged; restore lyra.db and lyra.key from a backup"),
)


def translate(error: Exception) -> LyraError:
    """What an error of the database means for the caller."""
    text = str(error).lower()
    for said, kind, next_step in _NEXT_STEPS:
        if any(words in text for words in said):
            return kind(next_step)
    if isinstance(error, OSError):
        return StorageFailed(f"the data folder cannot be used ({error.strerror}); set LYRA_HOME to a folder you own")
    return StorageFailed(f"the database failed ({type(error).__name__}: {error}); nothing was written; call again")


class Database:
    """One user's database, opened at first use so that a server starts whatever the disk is like."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._connection: aiosqlite.Connection | None = None
        self._lock = anyio.Lock()

    @property
    def path(self) -> Path:
        return self._folder / "lyra.db"

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Everything inside becomes true together and is on the disk afterwards, or nothing does.

        A caller who leaves does not interrupt it: what was begun is finished or rolled back.

        Raises:
            DiskFull: nothing was written.
            StorageFailed: the file cannot be opened, read or written.
        """
        async with self._within("BEGIN IMMEDIATE") as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        """One moment's view, for statements that only read; it does not wait for another server that writes.

        Raises:
            StorageFailed: the file cannot be opened or read.
        """
        async with self._within("BEGIN") as connection:
            yield connection

    @asynccontextmanager
    async def _within(self, begin: str) -> AsyncIterator[Transaction]:
        with anyio.CancelScope(shield=True):
            async with self._lock:
                with _translated():
                    connection = await self._open()
                    try:
                        await connection.execute(begin)
                        yield connection
                        await connection.commit()
                    except BaseException:
                        # Also when the caller was cancelled while it began: the thread of the database goes on.
                        await connection.rollback()
                        raise

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _open(self) -> aiosqlite.Connection:
        if self._connection is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Two servers may start at once: one of them makes the key and the tables, the other waits.
            with (self._folder / "lyra.lock").open("w") as lock:
                await anyio.to_thread.run_sync(fcntl.flock, lock, fcntl.LOCK_EX)
                _refuse_plain_text(self.path)
                connection = aiosqlite.Connection(_connector(self.path, self._key()), 64)
                await connection
                try:
                    await _migrate(connection)
                    _refuse_plain_text(self.path)
                except BaseException:
                    await connection.close()
                    raise
            self._connection = connection
        return self._connection

    def _key(self) -> bytes:
        path = self._folder / "lyra.key"
        if path.exists():
            return _parse_key(path.read_bytes())
        if self.path.exists():
            raise StorageFailed("the key file is missing beside the database; restore lyra.key from a backup")
        key = secrets.token_bytes(KEY_BYTES)
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(key.hex())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(self._folder)  # else a power cut may leave a database whose key is gone
        return key


def _parse_key(written: bytes) -> bytes:
    try:
        key = bytes.fromhex(written.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise StorageFailed("the key file is damaged; restore lyra.key from a backup")
    return key


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the world become ours; a broken constraint is our own bug and stays what it is."""
    try:
        yield
    except sqlite.IntegrityError:
        raise
    except (sqlite.DatabaseError, OSError) as error:
        raise translate(error) from error


def _connector(path: Path, key: bytes) -> Callable[[], Any]:
    def connect() -> Any:
        connection = sqlite.connect(str(path), isolation_level=None, timeout=BUSY_TIMEOUT_S)
        connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        connection.execute("PRAGMA cipher_log_level = NONE")
        connection.execute("SELECT count(*) FROM sqlite_master")  # a wrong key fails here
        connection.enable_load_extension(True)
        connection.load_extension(_vector_extension())
        connection.enable_load_extension(False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a reply promises that its review survives a power cut
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA secure_delete = ON")
        connection.row_factory = sqlite.Row
        return connection

    return connect


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


async def schema_version(tx: Transaction) -> int:
    return int(await first_value(await tx.execute("PRAGMA user_version")))


async def _migrate(connection: aiosqlite.Connection) -> None:
    scripts = migrations()
    version = await schema_version(connection)
    if version > len(scripts):
        raise StorageFailed(
            f"the database has version {version} and this program knows {len(scripts)}; install the newer lyra-mcp"
        )
    for script in scripts[version:]:
        try:
            await connection.executescript(script)
        except BaseException:
            if connection.in_transaction:
                await connection.rollback()
            raise


def _refuse_plain_text(path: Path) -> None:
    """Several packages bring a module called sqlcipher3; one without encryption must not go unnoticed."""
    if not path.exists():
        return
    with path.open("rb") as file:
        if file.read(16).startswith(b"SQLite format 3"):
            raise StorageFailed(
                "the database is not encrypted; move lyra.db away or restore a backup, and reinstall sqlcipher3"
            )
