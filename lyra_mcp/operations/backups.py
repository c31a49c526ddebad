"""Backups of a user's database, and the way back."""

from dataclasses import dataclass
from pathlib import Path

import anyio

from lyra_mcp.domain.audit import Head
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import audit_log, backups
from lyra_mcp.storage.backups import Backup
from lyra_mcp.storage.database import translate
from lyra_mcp.storage.files import refuse_existing, sync_folder
from lyra_mcp.storage.keys import UserKeys, with_pending


@dataclass(frozen=True, slots=True)
class BackedUp:
    path: Path
    size_bytes: int
    #: Entries of the audit in it.
    entries: int


async def back_up(services: Services, path: Path) -> BackedUp:
    """Write the database as it is now; it stays encrypted, and other servers go on working.

    Raises:
        Conflict: there is a file of this name.
    """
    await anyio.to_thread.run_sync(refuse_existing, path)
    copy = services.settings.user_dir / "backup.partial"
    keys = await services.database.unlocked()
    now = services.now()
    async with services.database.transaction() as tx:
        await audit_log.append(tx, "backed_up", services.actor, {}, created_at=now)
    try:
        async with services.database.outside_transaction() as connection:
            copy.unlink(missing_ok=True)
            # SQLCipher keeps the copy encrypted with the same key; an online backup to a plain file is refused.
            await connection.execute("VACUUM INTO ?", (str(copy),))
            entries = await audit_log.list_entries(connection)
        head = Head(entries[-1].seq, entries[-1].mac)
        size = await anyio.to_thread.run_sync(
            lambda: backups.write_backup(path, copy, keys=keys, user=services.settings.user, created_at=now, head=head)
        )
    except OSError as error:
        raise translate(error, path=path) from error
    finally:
        copy.unlink(missing_ok=True)
    return BackedUp(path, size, len(entries))


async def restore(services: Services, path: Path) -> Backup:
    """Put a backup in the place of the database; what came after it is lost.

    Raises:
        Invalid, StorageFailed: it cannot be used, and nothing was changed.
        Conflict: another server has the database open.
    """
    keys = await services.database.unlocked()
    backup = await anyio.to_thread.run_sync(lambda: backups.read_backup(path, keys, user=services.settings.user))
    fresh = services.settings.user_dir / "restored.partial"
    try:
        await anyio.to_thread.run_sync(backups.extract_database, path, fresh, backup.database_key)

        def change(now: UserKeys) -> None:
            store, target = services.database.keys, services.database.path
            store.save(with_pending(now, backup.database_key))  # from here on either database can be opened
            fresh.replace(target)
            sync_folder(target.parent)
            # The chain continues from what the backup holds: the entries after it are lost with their rows.
            services.database.head_file.write(backup.head)

        await services.index.forget()
        await services.database.replace(change)
    finally:
        fresh.unlink(missing_ok=True)
    async with services.database.transaction() as tx:
        detail = {"entries": backup.head.seq, "backup_at": backup.created_at}
        await audit_log.append(tx, "restored", services.actor, detail, created_at=services.now())
    return backup
