"""Forget a person: every row, every file, and the key that makes backups readable."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import anyio

from lyra_mcp.errors import Conflict, LyraError, Unavailable
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import audit_log, job_folders, jobs, model_versions, tables
from lyra_mcp.storage.database import Transaction
from lyra_mcp.storage.erasure import Order, finish_erasure, write_order
from lyra_mcp.storage.keys import UserKeys

JOBS_MAX = 1_000_000
#: How long a training that was told to end is waited for.
STOP_WAIT_S = 20.0
STOP_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class StaleModel:
    """A version that learned from what was erased; its files are gone with it."""

    kind: str
    version: int
    adapter_path: str
    samples: int


@dataclass(frozen=True, slots=True)
class Erased:
    #: Rows by table, and `files` for what lay beside the database.
    erased: dict[str, int]
    stale_models: list[StaleModel]
    #: What no program can reach from here.
    not_reached: list[str]


async def plan(services: Services) -> Erased:
    """What would be erased. Changes nothing."""
    async with services.database.transaction() as tx:
        return await _read(services, tx)


async def erase(services: Services) -> Erased:
    """Erase this user's data, and go on with an empty database.

    Raises:
        Conflict: another server has the database open, or a training does not end; nothing was erased.
    """
    await _stop_training(services)
    await _unload(services)
    async with services.database.transaction() as tx:
        erased = await _read(services, tx)
        order = await _order(services, tx, erased)
    await services.index.forget()
    await services.database.replace(partial(_carry_out, services, order))
    services.last_conversations.clear()
    async with services.database.transaction():
        pass  # the empty database is made, and its audit begins with the erasure
    return erased


def _carry_out(services: Services, order: Order, _: UserKeys) -> None:
    write_order(services.settings.user_dir, order)
    finish_erasure(services.settings.user_dir)


async def _read(services: Services, tx: Transaction) -> Erased:
    counts = await tables.count_rows(tx)
    # Records of jobs and versions are rows like others; what somebody looks for afterwards are the models.
    versions = [
        StaleModel(version.kind, version.version, version.adapter_path, version.samples)
        for version in await model_versions.list_versions(tx, "nli_lora")
    ]
    places = await _places(services, tx)
    files = sum(1 for place in places for _ in _files(services, place))
    return Erased({**counts, "files": files}, versions, NOT_REACHED)


async def _places(services: Services, tx: Transaction) -> list[str]:
    """Folders of the home that hold this user's data, relative to it; over HTTP nothing that others share."""
    places = [f"exports/{services.settings.user}"]
    found = [job.job_id for job in await jobs.list_jobs(tx, limit=JOBS_MAX)]
    for job_id in found:
        places += [f"jobs/{job_id}", f"jobs/.{job_id}.partial"]
    if services.tenant:
        return [*places, f"adapters/{services.adapters_place}".rstrip("/")]
    # Also what was published for a job that never became a version.
    paths = [version.adapter_path for version in await model_versions.list_versions(tx, "nli_lora")]
    for path in dict.fromkeys([*paths, *(f"{services.adapters_place}{job_id}" for job_id in found)]):
        folder, _, name = path.rpartition("/")
        inside = f"adapters/{folder}/" if folder else "adapters/"
        places += [f"{inside}{name}", f"{inside}.{name}.partial", f"{inside}.{name}.pruned"]
    if _is_only_user(services):
        places.append("logs")  # ids and counts, of everybody who shares the worker
        places += _unrecorded(services, found)
    return places


def _unrecorded(services: Services, found: list[str]) -> list[str]:
    """Folders of jobs whose server died before it had recorded them."""
    root = services.settings.jobs_root
    names = [path.name for path in root.iterdir()] if root.is_dir() else []
    return [f"jobs/{name}" for name in names if name.removeprefix(".").removesuffix(".partial") not in found]


def _files(services: Services, place: str) -> list[object]:
    folder = services.settings.home / place
    return [path for path in folder.rglob("*") if path.is_file()]


def _is_only_user(services: Services) -> bool:
    folders = [path.name for path in (services.settings.home / "users").iterdir() if path.is_dir()]
    return folders == [services.settings.user]


async def _order(services: Services, tx: Transaction, erased: Erased) -> Order:
    entries = await audit_log.list_entries(tx)
    detail = {
        "rows": sum(count for table, count in erased.erased.items() if table != "files"),
        "files": erased.erased["files"],
        "versions": [model.version for model in erased.stale_models],
        "entries_before": len(entries),
        "head_before": entries[-1].mac if entries else "",
    }
    return Order(await _places(services, tx), "erased-person", detail, services.now())


async def _stop_training(services: Services) -> None:
    async with services.database.transaction() as tx:
        found = await jobs.list_jobs(tx, limit=JOBS_MAX)
    root = services.settings.jobs_root
    for job in found:
        if not job_folders.is_training(root, job.job_id):
            continue
        with suppress(LyraError):  # whether it trains on is looked at below
            await services.jobs.cancel(job.job_id)
        with anyio.move_on_after(STOP_WAIT_S):
            while job_folders.is_training(root, job.job_id):  # noqa: ASYNC110 - another process's state
                await anyio.sleep(STOP_POLL_S)
        if job_folders.is_training(root, job.job_id):
            raise Conflict(
                f"job {job.job_id!r} is still training and nothing was erased;"
                f" finetune(action='cancel', job_id='{job.job_id}'), then call again"
            )


async def _unload(services: Services) -> None:
    """Nobody is to be answered by a model that learned from what is erased."""
    services.by_hand.adapter = None
    try:
        loaded = (await services.worker.adapter_status()).adapter_path
        if loaded and services.owns_adapter(loaded):
            await services.worker.unload_adapter()
    except Unavailable:
        return  # no worker runs, so none holds it


NOT_REACHED = [
    "copies of exports, and keys written by `lyra-mcp key export`, wherever you put them: delete them yourself",
    "backups by `lyra-mcp privacy backup` are noise without the key that was destroyed, unless you exported that key",
    "copies of the whole home that another program made, as long as they hold lyra.key and the master key",
    "blocks that a flash disk or a file system with snapshots keeps of overwritten files",
]
