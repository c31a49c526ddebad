"""The keys of a user, as a person handles them: where they lie, new ones, a copy for the day the disk is gone."""

from dataclasses import dataclass
from pathlib import Path

import anyio

from lyra_mcp.errors import Conflict, Invalid, NotFound, StorageFailed
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import audit_log
from lyra_mcp.storage.connections import DatabaseError, connector
from lyra_mcp.storage.database import translate
from lyra_mcp.storage.files import refuse_existing, write_private
from lyra_mcp.storage.master_keys import Source

PASSPHRASE_CHARS_MIN = 8

#: What each place of the master key means for the person.
MEANING: dict[Source, str] = {
    "keyring": "the master key lies in the system's keyring, which is open while you are logged in",
    "file": "the master key is a file readable by you alone: whoever can read your files can read the database",
    "passphrase": "the master key comes from your passphrase; without it nothing can be read",
}


@dataclass(frozen=True, slots=True)
class KeyStatus:
    #: None before the first use.
    source: Source | None
    wanted: str
    key_file: Path
    meaning: str


async def read_status(services: Services) -> KeyStatus:
    store = services.database.keys
    source = await anyio.to_thread.run_sync(store.source)
    meaning = MEANING[source] if source else "there is no key yet; the first use makes one"
    wanted = services.settings.key_source
    if source and wanted not in ("auto", source):
        meaning += f"; LYRA_KEY_SOURCE wants {wanted}: `lyra-mcp key rotate` moves it"
    return KeyStatus(source, wanted, store.path, meaning)


async def rotate(services: Services) -> KeyStatus:
    """A new key for the database, and a new master key from the source of the settings.

    Raises:
        Conflict: another server has the database open; nothing was changed.
    """
    await services.database.rekey()
    try:
        source = await anyio.to_thread.run_sync(services.database.keys.rotate_master)
    except OSError as error:
        raise translate(error) from error
    async with services.database.transaction() as tx:
        await audit_log.append(tx, "key_rotated", services.actor, {"source": source}, created_at=services.now())
    return await read_status(services)


async def export(services: Services, path: Path, passphrase: str) -> Path:
    """Write the keys in a form that a passphrase opens; with it backups can be read on any machine."""
    if len(passphrase) < PASSPHRASE_CHARS_MIN:
        raise Invalid(f"a passphrase needs {PASSPHRASE_CHARS_MIN} characters; choose a longer one")
    await anyio.to_thread.run_sync(refuse_existing, path)
    keys = await services.database.unlocked()
    written = await anyio.to_thread.run_sync(services.database.keys.export, keys, passphrase)
    try:
        await anyio.to_thread.run_sync(write_private, path, written)
    except OSError as error:
        raise translate(error, path=path) from error
    async with services.database.transaction() as tx:
        await audit_log.append(tx, "key_exported", services.actor, {}, created_at=services.now())
    return path


async def import_(services: Services, path: Path, passphrase: str) -> KeyStatus:
    """Put an exported key in the place of one that is lost; a database that is there must open with it.

    Raises:
        NotFound: no such file.
        Invalid: it is no exported key of this user, or the passphrase is another.
        Conflict: the key that is here works, or the database here has another key.
    """
    try:
        written = await anyio.to_thread.run_sync(path.read_bytes)
    except OSError as error:
        raise NotFound(f"{path} cannot be read ({error.strerror}); name the file that `key export` wrote") from error
    database, store = services.database, services.database.keys
    keys = await anyio.to_thread.run_sync(store.read_export, written, passphrase)
    if await _works(services):
        raise Conflict("the key that is here works; nothing needs to be imported")
    if database.path.exists():
        try:
            connector(database.path, keys.database)().close()
        except DatabaseError as error:
            raise Conflict(
                "the exported key does not open the database here; export and database must be of one time, or move"
                " the database away and restore a backup"
            ) from error
    await anyio.to_thread.run_sync(store.save, keys)
    return await read_status(services)


async def _works(services: Services) -> bool:
    """Whether there are keys and they can be read; a database that they do not open is looked at by its own error."""
    try:
        found = await anyio.to_thread.run_sync(services.database.keys.find)
    except StorageFailed:
        return False
    if found is None or not services.database.path.exists():
        return False
    try:
        await services.database.unlocked()
    except StorageFailed:
        return False
    return True
