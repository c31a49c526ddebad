"""The database file: upgrades, keys, locks, a full disk, and callers who leave."""

import asyncio
import os
import stat
from contextlib import asynccontextmanager

import anyio
import pytest
from sqlcipher3 import dbapi2 as sqlite

from lyra_mcp.errors import DiskFull, StorageFailed
from lyra_mcp.storage import connections
from lyra_mcp.storage import database as module
from lyra_mcp.storage.database import Database, schema_version, translate

ALL = module.migrations()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "users" / "local"


@asynccontextmanager
async def opened(folder):
    database = Database(folder)
    try:
        yield database
    finally:
        await database.close()


async def insert_claim(database, claim_id="claim_1", text="A claim."):
    async with database.transaction() as tx:
        await tx.execute(
            "INSERT INTO claims (claim_id, text, text_digest, created_at) VALUES (?, ?, ?, 'now')",
            (claim_id, text, claim_id),
        )


async def claim_ids(database):
    async with database.transaction() as tx:
        return [row["claim_id"] for row in await (await tx.execute("SELECT * FROM claims ORDER BY seq")).fetchall()]


async def stored(folder):
    async with opened(folder) as database:
        return await claim_ids(database)


@pytest.fixture
async def one_claim(folder):
    """A database with one claim in it, closed."""
    async with opened(folder) as database:
        await insert_claim(database)


async def test_a_new_database_is_private_encrypted_and_durable(folder):
    async with opened(folder) as database:
        await insert_claim(database, text="Nobody reads this sentence.")
        async with database.transaction() as tx:
            pragmas = {}
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete"):
                pragmas[name] = (await (await tx.execute(f"PRAGMA {name}")).fetchone())[0]

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "lyra.key")]
    assert modes == [0o700, 0o600]
    written = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"Nobody reads" not in written
    assert b"SQLite format" not in written


# Versions


@pytest.mark.parametrize("version", range(1, len(ALL)))
async def test_every_earlier_version_upgrades_with_its_rows(folder, monkeypatch, version):
    with monkeypatch.context() as earlier:
        earlier.setattr(module, "migrations", lambda: ALL[:version])
        async with opened(folder) as database:
            await insert_claim(database)
            async with database.transaction() as tx:
                assert await schema_version(tx) == version
                await tx.execute(
                    "INSERT INTO claim_events (claim_id, status, source_type, created_at)"
                    " VALUES ('claim_1', 'rejected', 'human', 'now')"
                )

    async with opened(folder) as database:
        async with database.transaction() as tx:
            assert await schema_version(tx) == len(ALL)
            event = await (await tx.execute("SELECT claim_id, status, source_type FROM claim_events")).fetchone()
        assert (await claim_ids(database), tuple(event)) == (["claim_1"], ("claim_1", "rejected", "human"))


@pytest.mark.parametrize("fault", ["INSERT INTO nowhere VALUES (1);", "SELECT RAISE(;"])
async def test_a_migration_that_fails_leaves_the_old_version_intact(folder, one_claim, monkeypatch, fault):
    script = f"BEGIN; CREATE TABLE half (a TEXT) STRICT; DELETE FROM claims; {fault} PRAGMA user_version = 99; COMMIT;"
    with monkeypatch.context() as broken:
        broken.setattr(module, "migrations", lambda: [*ALL, script])
        async with opened(folder) as database:
            with pytest.raises(StorageFailed, match="nothing was written"):
                await claim_ids(database)

    async with opened(folder) as database:
        async with database.transaction() as tx:
            assert await schema_version(tx) == len(ALL)
            half = await (await tx.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'")).fetchone()
        assert (half, await claim_ids(database)) == (None, ["claim_1"])


async def test_a_database_from_the_future_is_refused_and_kept(folder, one_claim):
    async with opened(folder) as database, database.transaction() as tx:
        await tx.execute("PRAGMA user_version = 99")

    async with opened(folder) as database:
        with pytest.raises(
            StorageFailed, match=rf"version 99 and this program knows {len(ALL)}; install the newer lyra-mcp"
        ):
            await claim_ids(database)

    async with opened(folder) as database:
        key = database.keys.find().keys.database
        connection = connections.connector(database.path, key)()
        connection.execute(f"PRAGMA user_version = {len(ALL)}")
        connection.close()
    assert await stored(folder) == ["claim_1"]


# Keys and files


async def test_a_wrong_key_is_refused_and_nothing_is_lost(folder, one_claim):
    key = (folder / "lyra.key").read_text()
    before = (folder / "lyra.db").read_bytes()
    (folder / "lyra.key").write_text("00" * 32)

    with pytest.raises(StorageFailed, match="the key does not fit the database; restore the key file"):
        await stored(folder)

    assert (folder / "lyra.db").read_bytes() == before
    (folder / "lyra.key").write_text(key)
    assert await stored(folder) == ["claim_1"]


async def test_a_missing_key_file_is_never_replaced_by_a_new_key(folder, one_claim):
    (folder / "lyra.key").rename(folder / "elsewhere")

    with pytest.raises(StorageFailed, match=r"the key file is missing beside the database; restore lyra.key"):
        await stored(folder)

    assert not (folder / "lyra.key").exists()
    (folder / "elsewhere").rename(folder / "lyra.key")
    assert await stored(folder) == ["claim_1"]


@pytest.mark.parametrize("written", [b"", b"zz" * 32, b"ab" * 16, "ключ".encode()])
async def test_a_damaged_key_file_is_named(folder, one_claim, written):
    (folder / "lyra.key").write_bytes(written)

    with pytest.raises(StorageFailed, match=r"the key file is damaged; restore lyra\.key from a backup"):
        await stored(folder)


@pytest.mark.parametrize("has_key", [True, False])
async def test_a_plain_sqlite_file_is_refused_and_not_touched(folder, has_key):
    folder.mkdir(parents=True)
    if has_key:
        (folder / "lyra.key").write_text("00" * 32)
    connection = sqlite.connect(str(folder / "lyra.db"))
    connection.executescript("CREATE TABLE mine (a TEXT)")
    connection.close()
    before = (folder / "lyra.db").read_bytes()

    with pytest.raises(StorageFailed, match=r"the database is not encrypted; move lyra\.db away or restore a backup"):
        await stored(folder)

    assert (folder / "lyra.db").read_bytes() == before
    assert (folder / "lyra.key").exists() == has_key


async def test_a_damaged_file_is_an_error_with_a_next_step(folder, one_claim):
    with (folder / "lyra.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\0" * 8192)

    with pytest.raises(StorageFailed, match="restore"):
        await stored(folder)


@pytest.fixture
def no_rights():
    """Root may write everywhere; this test's process must not."""
    if os.geteuid() == 0:
        os.seteuid(65_534)
        yield
        os.seteuid(0)
    else:
        yield


async def test_a_folder_without_rights_is_refused_and_nothing_is_lost(folder, one_claim, request):
    folder.chmod(0o500)
    (folder / "lyra.lock").chmod(0o400)
    request.getfixturevalue("no_rights")

    with pytest.raises(StorageFailed, match="the data folder cannot be written; set LYRA_HOME to a folder you own"):
        await stored(folder)


async def test_a_home_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "home").write_text("not a folder")

    with pytest.raises(StorageFailed, match=r"the data folder cannot be used \(Not a directory\); set LYRA_HOME"):
        await stored(tmp_path / "home" / "users")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(30, "Read-only file system"), "E_STORAGE: the data folder cannot be written"),
        (OSError(28, "No space left on device"), "E_DISK_FULL: the disk is full"),
        (sqlite.OperationalError("attempt to write a readonly database"), "E_STORAGE: the data folder cannot be"),
        (sqlite.OperationalError("unable to open database file"), "E_STORAGE: the data folder cannot be written"),
        (sqlite.OperationalError("no such table: x"), "E_STORAGE: the database failed (OperationalError: no such"),
    ],
)
def test_what_the_system_says_becomes_a_next_step(error, expected):
    assert str(translate(error)).startswith(expected)


# A full disk, a lock


async def test_a_full_disk_writes_nothing_and_loses_nothing(folder, one_claim):
    async with opened(folder) as database:
        async with database.transaction() as tx:
            pages = (await (await tx.execute("PRAGMA page_count")).fetchone())[0]
            await tx.execute(f"PRAGMA max_page_count = {pages + 2}")

        with pytest.raises(DiskFull, match="the disk is full and nothing was written; free some space"):
            await insert_claim(database, "claim_2", "many words " * 10_000)
        assert await claim_ids(database) == ["claim_1"]

        async with database.transaction() as tx:
            await tx.execute("PRAGMA max_page_count = 100000")
        await insert_claim(database, "claim_3")
        assert await claim_ids(database) == ["claim_1", "claim_3"]


async def test_a_lock_that_stays_is_an_error_that_says_so(folder, one_claim, monkeypatch):
    monkeypatch.setattr(connections, "BUSY_TIMEOUT_S", 0.05)
    async with opened(folder) as holder, opened(folder) as waiting:
        await claim_ids(waiting)
        async with holder.transaction():
            with pytest.raises(StorageFailed, match="another process keeps the database locked; call again"):
                await insert_claim(waiting, "claim_2")

        await insert_claim(waiting, "claim_3")

    assert await stored(folder) == ["claim_1", "claim_3"]


# Callers who leave


async def test_a_fault_in_the_middle_leaves_nothing_of_the_transaction(folder, one_claim):
    async with opened(folder) as database:
        with pytest.raises(RuntimeError, match="our own bug"):
            await _fail_after_writing(database)
        assert await claim_ids(database) == ["claim_1"]


async def _fail_after_writing(database):
    async with database.transaction() as tx:
        await tx.execute("DELETE FROM claims")
        raise RuntimeError("our own bug")


async def test_a_caller_cancelled_inside_leaves_no_open_transaction(folder, one_claim):
    async with opened(folder) as database:
        inside = asyncio.Event()

        async def delete_and_wait():
            async with database.transaction() as tx:
                await tx.execute("DELETE FROM claims")
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(delete_and_wait())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await claim_ids(database) == ["claim_1"]


async def test_a_caller_cancelled_while_it_begins_leaves_no_open_transaction(folder, one_claim, monkeypatch):
    """Another process holds the lock, so that BEGIN is still waiting in the database's thread."""
    async with opened(folder) as holder, opened(folder) as database:
        await claim_ids(database)
        begins = asyncio.Event()
        execute = database._connection.execute

        def noted(*statement):
            begins.set()
            return execute(*statement)

        async with holder.transaction():
            with monkeypatch.context() as watched:
                watched.setattr(database._connection, "execute", noted)
                task = asyncio.create_task(insert_claim(database, "claim_2"))
                await begins.wait()
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        await insert_claim(database, "claim_3")
        assert await claim_ids(database) == ["claim_1", "claim_3"]


async def test_what_a_client_began_before_it_left_is_finished(folder):
    """The SDK cancels the scope of a call whose client has gone."""
    async with opened(folder) as database:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await insert_claim(database)

        assert await claim_ids(database) == ["claim_1"]
