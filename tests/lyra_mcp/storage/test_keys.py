"""Where the keys lie: wrapped, upgraded, rotated, exported; and what happens when one of the parts is missing."""

import json
import os
import stat

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring

from lyra_mcp.errors import Conflict, Invalid, StorageFailed
from lyra_mcp.storage import database as module
from lyra_mcp.storage.connections import connector
from lyra_mcp.storage.database import Database
from lyra_mcp.storage.keys import KeyStore, with_pending

OLD_KEY = "5a" * 32


class MemoryKeyring(KeyringBackend):
    """The system's keyring, as its clients see it."""

    priority = 0.1  # below whatever the system has

    def __init__(self):
        super().__init__()
        self.kept = {}

    def set_password(self, service, username, password):
        self.kept[service, username] = password

    def get_password(self, service, username):
        return self.kept.get((service, username))

    def delete_password(self, service, username):
        del self.kept[service, username]


@pytest.fixture
def in_keyring(monkeypatch):
    before = keyring.get_keyring()
    backend = MemoryKeyring()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


@pytest.fixture
def no_keyring():
    before = keyring.get_keyring()
    keyring.set_keyring(NoKeyring())
    yield
    keyring.set_keyring(before)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def folder_of(home, user="local"):
    return home / "users" / user


async def use(home, *, user="local", write=None, **source):
    """Open a user's database as a new process would; returns its claims, and writes one first if asked to."""
    database = Database(folder_of(home, user), KeyStore(home, user, **source))
    try:
        async with database.transaction() as tx:
            if write:
                await tx.execute(
                    "INSERT INTO claims (claim_id, text, text_digest, created_at) VALUES (?, ?, ?, 'now')",
                    (write, write, write),
                )
            return [row["claim_id"] for row in await (await tx.execute("SELECT claim_id FROM claims")).fetchall()]
    finally:
        await database.close()


def written_below(home):
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


async def test_without_a_keyring_the_master_key_is_a_private_file(home, no_keyring):
    await use(home, write="one", source="auto")

    ring = json.loads((home / "master.key").read_bytes())
    assert [entry["source"] for entry in ring["masters"].values()] == ["file"]
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (home / "master.key", folder_of(home) / "lyra.key")]
    assert modes == [0o600, 0o600]
    assert await use(home, source="auto") == ["one"]


async def test_falling_back_to_a_file_is_said_and_choosing_one_is_not(home, no_keyring, caplog):
    await use(home, write="one", source="auto")
    assert [record.message for record in caplog.records] == [
        "no system keyring answers, so the master key is a file; `lyra-mcp key status` says what that means"
    ]

    caplog.clear()
    await use(home, source="file")
    assert caplog.records == []


async def test_the_key_of_the_database_is_nowhere_in_plain(home):
    await use(home, write="one")
    keys = KeyStore(home, "local").find().keys

    everything = written_below(home)
    assert not any(form in everything for form in (keys.database, keys.database.hex().encode(), keys.root))


async def test_with_a_keyring_nothing_in_the_home_opens_the_database(home, in_keyring):
    await use(home, write="one", source="auto")
    assert await use(home, source="auto") == ["one"]
    assert len(in_keyring.kept) == 1

    in_keyring.kept.clear()

    with pytest.raises(StorageFailed, match="the system keyring no longer holds the master key"):
        await use(home, source="auto")


async def test_a_keyring_that_was_asked_for_and_is_missing_is_never_a_file_instead(home, no_keyring):
    with pytest.raises(StorageFailed, match="no system keyring answers"):
        await use(home, source="keyring")

    assert not (home / "master.key").exists()
    assert not (folder_of(home) / "lyra.db").exists()


async def test_a_passphrase_opens_and_another_does_not(home):
    secret = {"source": "passphrase", "passphrase": "correct horse"}
    await use(home, write="one", **secret)

    assert await use(home, **secret) == ["one"]
    with pytest.raises(StorageFailed, match="the passphrase is not the one of this key"):
        await use(home, source="passphrase", passphrase="wrong horse")
    with pytest.raises(StorageFailed, match="the key needs the passphrase; set LYRA_PASSPHRASE"):
        await use(home, source="auto")


async def test_a_passphrase_is_taken_where_nothing_else_is_said(home, in_keyring):
    await use(home, write="one", source="auto", passphrase="correct horse")

    assert in_keyring.kept == {}
    assert await use(home, source="auto", passphrase="correct horse") == ["one"]


async def test_one_users_key_file_is_no_use_to_another(home):
    await use(home, user="a", write="one")
    await use(home, user="b", write="two")
    (folder_of(home, "b") / "lyra.key").write_bytes((folder_of(home, "a") / "lyra.key").read_bytes())

    with pytest.raises(StorageFailed, match="the key file is damaged"):
        await use(home, user="b")


# Homes of the first releases


@pytest.fixture
def old_home(home):
    folder = folder_of(home)
    folder.mkdir(parents=True)
    (folder / "lyra.key").write_text(OLD_KEY)
    connection = connector(folder / "lyra.db", bytes.fromhex(OLD_KEY))()
    for script in module.migrations():
        connection.executescript(script)
    connection.execute(
        "INSERT INTO claims (claim_id, text, text_digest, created_at) VALUES ('old', 'x', 'x', 'before')"
    )
    connection.close()
    return home


async def test_an_old_home_opens_and_its_bare_key_is_wrapped(old_home):
    assert await use(old_home) == ["old"]

    assert OLD_KEY.encode() not in written_below(old_home)
    assert await use(old_home) == ["old"]


async def test_an_old_key_file_stays_as_it_is_until_it_has_opened_the_database(old_home):
    (folder_of(old_home) / "lyra.key").write_text("00" * 32)

    with pytest.raises(StorageFailed, match="the key does not fit the database"):
        await use(old_home)

    assert (folder_of(old_home) / "lyra.key").read_text() == "00" * 32


# Rotation


async def rotate(home, **source):
    database = Database(folder_of(home), KeyStore(home, "local", **source))
    try:
        await database.rekey()
        database.keys.rotate_master()
    finally:
        await database.close()


async def test_a_rotation_changes_every_key_and_loses_nothing(home):
    await use(home, write="one")
    before = KeyStore(home, "local").find().keys
    master = (home / "master.key").read_bytes()

    await rotate(home)

    after = KeyStore(home, "local").find().keys
    assert await use(home) == ["one"]
    assert after.database != before.database
    assert after.root == before.root  # else the audit and the backups could not be read any more
    assert (home / "master.key").read_bytes() != master
    with pytest.raises(Exception, match="not a database"):
        connector(folder_of(home) / "lyra.db", before.database)()


async def test_a_rotation_wraps_the_keys_of_every_user_anew(home):
    await use(home, write="one")
    await use(home, user="other", write="two")

    await rotate(home)

    assert (await use(home), await use(home, user="other")) == (["one"], ["two"])


async def test_a_rotation_moves_the_master_key_to_another_place(home, in_keyring):
    await use(home, write="one", source="file")

    await rotate(home, source="keyring")

    assert [entry["source"] for entry in json.loads((home / "master.key").read_bytes())["masters"].values()] == [
        "keyring"
    ]
    assert await use(home, source="keyring") == ["one"]


@pytest.mark.parametrize("is_rekeyed", [False, True])
async def test_a_rotation_that_was_killed_opens_with_the_key_that_fits(home, is_rekeyed):
    await use(home, write="one")
    store = KeyStore(home, "local")
    keys, new = store.find().keys, os.urandom(32)
    store.save(with_pending(keys, new))
    if is_rekeyed:
        connection = connector(folder_of(home) / "lyra.db", keys.database)()
        connection.execute(f"PRAGMA rekey = \"x'{new.hex()}'\"")
        connection.close()

    assert await use(home) == ["one"]
    settled = store.find().keys
    assert (settled.database, settled.pending) == (new if is_rekeyed else keys.database, None)


async def test_a_rotation_of_the_master_that_was_killed_leaves_both_readable(home):
    await use(home, write="one")
    KeyStore(home, "local")._masters.add()

    assert await use(home) == ["one"]
    await rotate(home)
    assert len(json.loads((home / "master.key").read_bytes())["masters"]) == 1
    assert await use(home) == ["one"]


async def test_nothing_is_rotated_while_another_server_has_the_database_open(home):
    other = Database(folder_of(home), KeyStore(home, "local"))
    async with other.transaction():
        pass
    try:
        with pytest.raises(Conflict, match="another server of this user has the database open"):
            await rotate(home)
    finally:
        await other.close()
    await rotate(home)


# Exported keys


async def test_an_exported_key_opens_with_its_passphrase_alone(home, tmp_path):
    store = KeyStore(home, "local")
    await use(home, write="one")
    written = store.export(store.find().keys, "long enough")

    assert KeyStore(tmp_path / "elsewhere", "local").read_export(written, "long enough") == store.find().keys
    with pytest.raises(Invalid, match="the passphrase is another"):
        store.read_export(written, "another one")
    with pytest.raises(Invalid, match="no exported key of the user 'other'"):
        KeyStore(home, "other").read_export(written, "long enough")


@pytest.mark.parametrize("written", [b"{}", b"[]", b"not json", b'{"masters": {}, "current": "x"}'])
async def test_a_damaged_master_key_file_is_named(home, written):
    await use(home, write="one")
    (home / "master.key").write_bytes(written)

    with pytest.raises(StorageFailed, match=r"the master key file is damaged; restore .*master\.key from a backup"):
        await use(home)
