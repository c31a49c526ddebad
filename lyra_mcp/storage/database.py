"""The one encrypted SQLite file of a user: opening, migrating, and one transaction at a time."""

import fcntl
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from pathlib import Path

import anyio
from sqlcipher3 import dbapi2 as sqlite  # never the standard library's module beside it: its exceptions differ

from lyra_mcp.domain.audit import GENESIS, Head
from lyra_mcp.errors import Conflict, DiskFull, LyraError, StorageFailed
from lyra_mcp.storage import audit_log
from lyra_mcp.storage.audit_head import HeadFile
from lyra_mcp.storage.connections import Row, Transaction, connector, first_value
from lyra_mcp.storage.erasure import finish_erasure, forget_order, read_order
from lyra_mcp.storage.keys import KeyStore, UserKeys, settled, with_pending
from lyra_mcp.storage.master_keys import KEY_BYTES

__all__ = ["Database", "Row", "Transaction", "first_value", "migrations", "schema_version", "translate"]

log = logging.getLogger(__name__)


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


def translate(error: Exception, *, path: Path | None = None) -> LyraError:
    """What an error of the database means for the caller; `path`: a file in a place that a person chose."""
    text = str(error).lower()
    for said, kind, next_step in _NEXT_STEPS:
        if any(words in text for words in said):
            return kind(next_step)
    if isinstance(error, OSError) and path is not None:
        return StorageFailed(f"{path} cannot be written ({error.strerror}); choose another place")
    if isinstance(error, OSError):
        return StorageFailed(f"the data folder cannot be used ({error.strerror}); set LYRA_HOME to a folder you own")
    return StorageFailed(f"the database failed ({type(error).__name__}: {error}); nothing was written; call again")


class Database:
    """One user's database, opened at first use so that a server starts whatever the disk is like."""

    def __init__(self, folder: Path, keys: KeyStore | None = None) -> None:
        """`folder` is `home/users/<user>`; without `keys` the master key is a file in the home."""
        self._folder = folder
        self.keys = keys or KeyStore(folder.parent.parent, folder.name)
        self.head_file = HeadFile(folder)
        self._connection: Transaction | None = None
        self._unlocked: UserKeys | None = None
        #: Shared by every server that has the database open; held alone by whoever replaces it.
        self._presence: int | None = None
        self._lock = anyio.Lock()
        self._is_warned = False
        #: How often the data were replaced: what somebody keeps in memory belongs to one generation.
        self.generation = 0

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
        async with self._connected() as connection:
            try:
                connection.audit_head = None
                await connection.execute(begin)
                yield connection
                await connection.commit()
            except BaseException:
                # Also when the caller was cancelled while it began: the thread of the database goes on.
                await connection.rollback()
                raise
            if connection.audit_head is not None:
                await anyio.to_thread.run_sync(self.head_file.advance, connection.audit_head)

    @asynccontextmanager
    async def outside_transaction(self) -> AsyncIterator[Transaction]:
        """For the few statements that SQLite refuses inside one; nobody else of this process is in between."""
        async with self._connected() as connection:
            yield connection

    async def scrub(self) -> None:
        """Leave nothing of deleted rows in the write-ahead log; the pages themselves were overwritten."""
        async with self.outside_transaction() as connection:
            await connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Transaction]:
        """No other server has the database open, and none opens it meanwhile.

        Raises:
            Conflict: another one has.
        """
        async with self._connected() as connection, self._opening():
            assert self._presence is not None
            try:
                fcntl.flock(self._presence, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                fcntl.flock(self._presence, fcntl.LOCK_SH)
                raise Conflict(
                    "another server of this user has the database open; close the other programs that use Lyra and"
                    " call again"
                ) from error
            try:
                yield connection
            finally:
                if self._presence is not None:
                    fcntl.flock(self._presence, fcntl.LOCK_SH)

    async def rekey(self) -> None:
        """Give the database a new key. At every moment the key file holds the one that fits."""
        async with self.alone() as connection:
            assert self._unlocked is not None
            new = secrets.token_bytes(KEY_BYTES)
            await anyio.to_thread.run_sync(self.keys.save, with_pending(self._unlocked, new))
            await connection.execute(f"PRAGMA rekey = \"x'{new.hex()}'\"")
            await connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._unlocked = settled(self._unlocked, new)
            await anyio.to_thread.run_sync(self.keys.save, self._unlocked)

    async def unlocked(self) -> UserKeys:
        """The keys, once they have opened the database."""
        async with self._connected():
            assert self._unlocked is not None
            return self._unlocked

    async def replace(self, change: Callable[[UserKeys], None]) -> None:
        """Close the database, let `change` put other files in its place, and open it again at the next use.

        Raises:
            Conflict: another server has it open.
        """
        async with self.alone():
            keys = self._unlocked
            assert keys is not None
            await self._disconnect()
            self.generation += 1
            await anyio.to_thread.run_sync(change, keys)

    async def close(self) -> None:
        await self._disconnect()
        if self._presence is not None:
            os.close(self._presence)
            self._presence = None

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Transaction]:
        with anyio.CancelScope(shield=True):
            async with self._lock:
                with _translated():
                    yield await self._open()

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
            self._unlocked = None

    @asynccontextmanager
    async def _opening(self) -> AsyncIterator[None]:
        """Two servers may start at once: one of them makes the key and the tables, the other waits."""
        with (self._folder / "lyra.lock").open("w") as lock:
            await anyio.to_thread.run_sync(fcntl.flock, lock, fcntl.LOCK_EX)
            yield

    async def _open(self) -> Transaction:
        if self._connection is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            async with self._opening():
                await anyio.to_thread.run_sync(finish_erasure, self._folder)
                _refuse_plain_text(self.path)
                connection, keys = await self._unlock()
                try:
                    await _migrate(connection)
                    _refuse_plain_text(self.path)
                    connection.audit_key = keys.audit
                    await self._begin_audit(connection)
                    if self._presence is None:
                        self._presence = os.open(
                            self._folder / "lyra.open", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
                        )
                        fcntl.flock(self._presence, fcntl.LOCK_SH)
                except BaseException:
                    await connection.close()
                    raise
            self._connection, self._unlocked = connection, keys
            if self.keys.fell_back() and not self._is_warned:
                self._is_warned = True
                log.warning(
                    "no system keyring answers, so the master key is a file; `lyra-mcp key status` says what that means"
                )
        return self._connection

    async def _begin_audit(self, connection: Transaction) -> None:
        """Write the first head, and what an erasure left to be recorded."""
        cursor = await connection.execute("SELECT count(*) FROM sqlite_sequence WHERE name = 'audit_log'")
        is_new = not await first_value(cursor)
        if is_new and not self.head_file.exists():
            await anyio.to_thread.run_sync(self.head_file.write, Head(0, GENESIS))
        order = read_order(self._folder)
        if order is None:
            return
        if is_new:
            await connection.execute("BEGIN IMMEDIATE")
            await audit_log.append(connection, "erased", order.actor, order.detail, created_at=order.created_at)
            await connection.commit()
            assert connection.audit_head is not None
            await anyio.to_thread.run_sync(self.head_file.advance, connection.audit_head)
        await anyio.to_thread.run_sync(forget_order, self._folder)

    async def _unlock(self) -> tuple[Transaction, UserKeys]:
        """Connect with the key that fits, and bring the key file in order if that is not its plain first one."""
        found = await anyio.to_thread.run_sync(self.keys.find)
        if found is None:
            if self.path.exists():
                raise StorageFailed("the key file is missing beside the database; restore lyra.key from a backup")
            keys = await anyio.to_thread.run_sync(self.keys.create)
            return await self._connect(keys.database), keys
        keys = found.keys
        try:
            connection = await self._connect(keys.database)
        except sqlite.DatabaseError as error:
            if keys.pending is None or "not a database" not in str(error):
                raise
            connection = await self._connect(keys.pending)
            keys = settled(keys, keys.pending)
        if found.is_old or keys.pending or keys != found.keys:
            keys = settled(keys, keys.database)
            await anyio.to_thread.run_sync(self.keys.save, keys)
        return connection, keys

    async def _connect(self, key: bytes) -> Transaction:
        connection = Transaction(connector(self.path, key), 64)
        try:
            await connection
        except BaseException:
            # It was told to stop, and its last word must find this loop running.
            await anyio.to_thread.run_sync(connection._thread.join)  # noqa: SLF001 - aiosqlite has no way to wait for it
            raise
        return connection


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the world become ours; a broken constraint is our own bug and stays what it is."""
    try:
        yield
    except sqlite.IntegrityError:
        raise
    except (sqlite.DatabaseError, OSError) as error:
        raise translate(error) from error


async def schema_version(tx: Transaction) -> int:
    return int(await first_value(await tx.execute("PRAGMA user_version")))


async def _migrate(connection: Transaction) -> None:
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
