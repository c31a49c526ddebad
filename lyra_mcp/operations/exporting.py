"""Everything a person's data are, in files they can read and take along."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from lyra_mcp.errors import Conflict
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import audit_log, exports, model_versions, sealed_jobs, tables
from lyra_mcp.storage.database import Transaction, translate
from lyra_mcp.version import VERSION
from schema.sealing import SUFFIX, WEIGHTS, is_sealed


@dataclass(frozen=True, slots=True)
class Exported:
    path: Path
    size_bytes: int
    encrypted: bool
    #: Rows by table.
    rows: dict[str, int]
    #: What is left out, and why.
    excluded: dict[str, str]


async def export(services: Services, *, name: str | None, encrypt: bool = False) -> Exported:
    """Write a zip below the user's folder of exports.

    Raises:
        Invalid: the name leads out of that folder.
        Conflict: a file of that name exists, or it shall be encrypted and there is no passphrase.
    """
    settings = services.settings
    encrypt = encrypt or settings.encrypt_files
    passphrase = settings.passphrase.get_secret_value() if encrypt and settings.passphrase else None
    if encrypt and passphrase is None:
        raise Conflict("an encrypted export needs a passphrase; set LYRA_PASSPHRASE and call again")
    stamp = services.clock().strftime("%Y%m%d-%H%M%S")
    default = f"lyra-{settings.user}-{stamp}.zip{'.sealed' if encrypt else ''}"
    path = exports.place_of(settings.exports_root, name or default)
    keys = await services.database.unlocked()
    async with services.database.transaction() as tx:
        counts = await tables.count_rows(tx)
        contents = await _read(services, tx, counts, keys.files)
    try:
        size = await anyio.to_thread.run_sync(lambda: exports.write_export(path, contents, passphrase=passphrase))
    except OSError as error:
        raise translate(error) from error
    async with services.database.transaction() as tx:
        detail = {"rows": sum(counts.values()), "files": len(contents.files), "encrypted": encrypt}
        await audit_log.append(tx, "exported", services.actor, detail, created_at=services.now())
    return Exported(path, size, encrypt, counts, _excluded())


async def _read(services: Services, tx: Transaction, counts: dict[str, int], key: bytes) -> exports.Contents:
    user, settings = services.settings.user, services.settings
    documents: dict[str, Any] = {
        "export.json": {
            "user": user,
            "created_at": services.now(),
            "program": f"lyra-mcp {VERSION}",
            "rows": counts,
            "excluded": {**tables.INTERNAL, **_excluded()},
        }
    }
    for table, place in tables.EXPORTED.items():
        document = documents.setdefault(place.format(user=user), {})
        document[table] = await tables.dump_table(tx, table)
    files: dict[str, Path | bytes] = {}
    for version in await model_versions.list_versions(tx, "nli_lora"):
        folder = settings.adapters_root / version.adapter_path
        files |= _adapter_files(folder, f"model_repo/{version.job_id}", key)
    for job in documents["model_repo/jobs.json"]["jobs"]:
        files |= _job_files(settings.jobs_root, job["job_id"], key)
    return exports.Contents(documents, files)


def _adapter_files(folder: Path, inside: str, key: bytes) -> dict[str, Path | bytes]:
    """Weights that are sealed at rest are readable in the export."""
    found: dict[str, Path | bytes] = dict(exports.files_below(folder, inside))
    if found.pop(f"{inside}/{WEIGHTS}{SUFFIX}", None) is not None:
        found[f"{inside}/{WEIGHTS}"] = sealed_jobs.read_weights(folder, key)
    return found


def _job_files(root: Path, job_id: str, key: bytes) -> dict[str, Path | bytes]:
    """What is sealed at rest is readable in the export."""
    found: dict[str, Path | bytes] = {}
    for name in exports.JOB_FILES:
        place = f"model_repo/jobs/{job_id}/{name}"
        if sealed_jobs.has_file(root, job_id, name):
            plain = root / job_id / name
            found[place] = sealed_jobs.read_file(root, job_id, name, key) if is_sealed(plain) else plain
    return found


def _excluded() -> dict[str, str]:
    """Without the names of tables that mean nothing to a person; the file itself lists them too."""
    columns = {f"{table}.{column}": reason for (table, column), reason in tables.EXCLUDED_COLUMNS.items()}
    return {
        "indexes and vectors": "computed from the texts, which are there",
        **tables.EXCLUDED,
        **columns,
        "jobs/*/checkpoints": "states of an optimizer, of use to no other program",
    }
