"""Versions and what serves: activate, roll back, compare, prune; load and unload by hand."""

from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from lyra_mcp.domain.audit import Event
from lyra_mcp.domain.versions import AliasEvent, HoldoutScores, ModelVersion, objection, prunable, rollback_target
from lyra_mcp.errors import Conflict, Invalid, LyraError, NotFound, StorageFailed, Unavailable
from lyra_mcp.operations import sealing
from lyra_mcp.operations.services import Services
from lyra_mcp.operations.serving import BASE, Serving, find_serving
from lyra_mcp.storage import audit_log, corrections, job_folders, jobs, model_versions
from lyra_mcp.storage.database import Transaction
from schema.vocabulary import Alias, JobKind, JobState
from schema.wire import AdapterStatus

KIND: JobKind = "nli_lora"


@dataclass(frozen=True, slots=True)
class VersionView:
    version: ModelVersion
    aliases: list[Alias]
    #: Pairs people reviewed while it served, and how many of them they corrected.
    reviewed: int
    corrected: int


@dataclass(frozen=True, slots=True)
class Activation:
    version: ModelVersion
    #: What it replaces; None: the base alone.
    champion: int | None
    #: What speaks against it, as "did not pass ..."; empty where nothing does.
    objection: str


@dataclass(frozen=True, slots=True)
class Registry:
    versions: list[VersionView]
    events: list[AliasEvent]
    serving: Serving
    #: Reviewed and corrected pairs of each base alone, by its fingerprint.
    bases: dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Change:
    name: str
    before: float
    after: float
    change: float
    #: Null where the value before is zero.
    change_percent: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    version: int
    other: int | None
    #: Numbers on different hold-outs say little about each other.
    same_data: bool
    changes: list[Change]


async def read_registry(services: Services) -> Registry:
    async with services.database.transaction() as tx:
        versions = await model_versions.list_versions(tx, KIND)
        named = await model_versions.find_aliases(tx, KIND)
        counted = {
            fingerprint: await corrections.count_by_adapter(tx, fingerprint)
            for fingerprint in {version.fingerprint for version in versions}
        }
        return Registry(
            [_view(version, named, counted[version.fingerprint]) for version in versions],
            await model_versions.list_alias_events(tx, KIND),
            await find_serving(services, tx),
            {fingerprint: counts.get("", (0, 0)) for fingerprint, counts in counted.items()},
        )


async def read_serving(services: Services) -> Serving:
    async with services.database.transaction() as tx:
        return await find_serving(services, tx)


async def activate(services: Services, number: int, *, reason: str | None, force: bool) -> tuple[int | None, int]:
    """Let a version serve; returns the versions before and after.

    Raises:
        Conflict: something speaks against it and `force` is not set, it serves already, its files are pruned, or the
            worker refuses it, as it does on another base; what served before goes on.
        Unavailable: no worker answers, or the files are missing or were changed; likewise.
    """
    await _prove_loadable(services, (await plan_activation(services, number, force=force)).version)
    async with services.database.transaction() as tx:
        planned = await _plan_activation(services, tx, number, force=force)
        before = planned.champion
        if before == number:  # it was the champion all along, and something loaded by hand served instead
            services.by_hand.adapter = None
            return before, number
        event = AliasEvent("activate", before, number, bool(planned.objection), reason, services.now())
        await _move_champion(services, tx, event, previous=before)
    services.by_hand.adapter = None
    return before, number


async def plan_activation(services: Services, number: int, *, force: bool) -> Activation:
    """What would change; raises what `activate` would raise before it asks the worker."""
    async with services.database.transaction() as tx:
        return await _plan_activation(services, tx, number, force=force)


async def plan_rollback(services: Services) -> tuple[int, int | None]:
    """The champion, and what would serve after a rollback (None: the base alone)."""
    keys, base = await services.database.unlocked(), await _find_fingerprint(services)
    async with services.database.transaction() as tx:
        return await _rollback(services, tx, keys.files, base)


async def roll_back(services: Services, *, reason: str | None) -> tuple[int, int | None]:
    """Let what served before serve again, as a new event."""
    keys, base = await services.database.unlocked(), await _find_fingerprint(services)
    async with services.database.transaction() as tx:
        champion, target = await _rollback(services, tx, keys.files, base)
        event = AliasEvent("rollback", champion, target, False, reason, services.now())
        events = [*await model_versions.list_alias_events(tx, KIND), event]
        previous = await _rollback_target(services, tx, events, keys.files, base)
        await _move_champion(services, tx, event, previous=previous)
    services.by_hand.adapter = None
    return champion, target


async def load(services: Services, adapter_path: str | None) -> str:
    """Serve an adapter by hand until it is unloaded or this server ends; without a path the default of the settings.

    Raises:
        NotFound: the path is another user's.
        Invalid: a user over HTTP has no default.
        Conflict: the worker refuses it; what served before goes on.
    """
    _refuse_foreign(services, adapter_path)
    await services.worker.ready()
    key = await sealing.key_of_adapter(services, adapter_path or services.settings.default_adapter)
    loaded = await services.worker.load_adapter(adapter_path, key=key)
    if not loaded.ok or loaded.adapter_path is None:
        raise Conflict(f"{loaded.message}; adapters(action='list') shows versions, what served before goes on")
    services.by_hand.adapter = loaded.adapter_path
    return loaded.adapter_path


async def unload(services: Services) -> str:
    """Serve the base alone, by hand; unloading twice is no error."""
    services.by_hand.adapter = BASE
    try:
        return (await services.worker.unload_adapter()).message
    except Unavailable:
        return "no worker is running; the next one begins with the base alone"


async def read_worker_status(services: Services) -> AdapterStatus | None:
    """What the worker has loaded by hand; None where none runs."""
    try:
        status = await services.worker.adapter_status()
    except Unavailable:
        return None
    if status.adapter_path is not None and not services.owns_adapter(status.adapter_path):
        return status.model_copy(update={"adapter_loaded": False, "adapter_path": None})
    return status


async def compare(services: Services, number: int, other: int | None) -> Comparison:
    """How a version's hold-out scores differ from another's, or from the base's on the same pairs."""
    async with services.database.transaction() as tx:
        version = await find_version(tx, number)
        if other is None:
            return Comparison(number, None, True, _changes(version.base, version.candidate))
        against = await find_version(tx, other)
        held_out = [await jobs.find_holdout_pairs(tx, one.job_id) for one in (version, against)]
    same = held_out[0] == held_out[1]
    return Comparison(number, other, same, _changes(against.candidate, version.candidate))


async def plan_prune(services: Services) -> list[ModelVersion]:
    async with services.database.transaction() as tx:
        return await _prunable(services, tx)


async def prune(services: Services) -> list[int]:
    """Delete the files of versions nobody needs; their records stay, and no number is given again."""
    async with services.database.transaction() as tx:
        doomed = await _prunable(services, tx)
        for version in doomed:
            await model_versions.insert_pruned(tx, KIND, version.version, created_at=services.now())
        if doomed:
            detail = {"kind": KIND, "versions": [version.version for version in doomed]}
            await audit_log.append(tx, "adapters_pruned", services.actor, detail, created_at=services.now())
        pruned = [version for version in await model_versions.list_versions(tx, KIND) if version.is_pruned]
    for version in pruned:  # also one whose server died before its files were gone
        await anyio.to_thread.run_sync(
            job_folders.remove_adapter, services.settings.adapters_root, version.adapter_path
        )
    return [version.version for version in doomed]


async def find_version(tx: Transaction, number: int) -> ModelVersion:
    version = await model_versions.find_version(tx, KIND, number)
    if version is None:
        raise NotFound(
            f"no version {number}; adapters(action='list') shows versions, finetune(action='start') makes one"
        )
    return version


def _refuse_foreign(services: Services, adapter_path: str | None) -> None:
    if adapter_path is None:
        if services.tenant is not None:
            raise Invalid("load needs adapter_path; adapters(action='list') shows versions with theirs")
    elif not services.owns_adapter(adapter_path):
        raise NotFound(f"no adapter {adapter_path[:80]!r}; adapters(action='list') shows versions with their paths")


async def _plan_activation(services: Services, tx: Transaction, number: int, *, force: bool) -> Activation:
    version = await find_version(tx, number)
    champion = (await model_versions.find_aliases(tx, KIND)).get("champion")
    if champion == number and services.by_hand.adapter is None:
        raise Conflict(f"version {number} serves already; adapters(action='list') shows the others")
    if version.is_pruned:
        raise Conflict(f"the files of version {number} were pruned; train again")
    serving = None if champion is None else await find_version(tx, champion)
    # A champion of another base does not serve: there the base answers alone.
    spoken = objection(version, serving if serving and serving.fingerprint == version.fingerprint else None)
    if spoken and not force:
        raise Conflict(
            f"version {number} {spoken}; adapters(action='compare') shows the numbers,"
            " force=true with a reason activates it anyway and is kept on record"
        )
    return Activation(version, champion, spoken)


async def _prove_loadable(services: Services, version: ModelVersion) -> None:
    """Verify the files and let the worker read them, before anything points to them."""
    path = version.adapter_path
    await verify_files(services, version, (await services.database.unlocked()).files)
    await services.worker.ready()
    before = services.by_hand.adapter
    loaded = await services.worker.load_adapter(path, key=await sealing.key_of_adapter(services, path))
    if not loaded.ok:
        raise Conflict(f"the worker refuses version {version.version}, what served before goes on: {loaded.message}")
    # Requests name their adapter; the worker's own "loaded" one is for calls by hand.
    if before in (None, BASE):
        await services.worker.unload_adapter()


async def _move_champion(services: Services, tx: Transaction, event: AliasEvent, *, previous: int | None) -> None:
    await model_versions.set_alias(tx, KIND, "champion", event.to_version)
    await model_versions.set_alias(tx, KIND, "previous", previous)
    await model_versions.insert_alias_event(tx, KIND, event)
    detail = {"kind": KIND, "from": event.from_version, "to": event.to_version, "forced": event.forced}
    said: Event = "adapter_activated" if event.action == "activate" else "adapter_rolled_back"
    await audit_log.append(tx, said, services.actor, detail, created_at=event.created_at)
    moves: tuple[tuple[int | None, JobState], ...] = ((event.from_version, "retired"), (event.to_version, "champion"))
    for number, state in moves:
        if number is not None:
            version = await find_version(tx, number)
            await jobs.update_state(tx, version.job_id, state, updated_at=services.now())
    if (await model_versions.find_aliases(tx, KIND)).get("candidate") == event.to_version:
        await model_versions.set_alias(tx, KIND, "candidate", None)


async def _rollback(services: Services, tx: Transaction, key: bytes, base: str | None) -> tuple[int, int | None]:
    champion = (await model_versions.find_aliases(tx, KIND)).get("champion")
    if champion is None:
        raise Conflict("the base alone serves; there is nothing to go back to")
    return champion, await _rollback_target(services, tx, await model_versions.list_alias_events(tx, KIND), key, base)


async def _rollback_target(
    services: Services, tx: Transaction, events: Sequence[AliasEvent], key: bytes, base: str | None
) -> int | None:
    """What served before, serves no more and still can; versions of another base than `base` are passed over, too."""
    versions = {version.version: version for version in await model_versions.list_versions(tx, KIND)}
    present = events[-1].to_version
    gone = {one.version for one in versions.values() if one.is_pruned or one.version == present}
    gone |= {one.version for one in versions.values() if base is not None and one.fingerprint != base}
    while (target := rollback_target(events, pruned=gone)) is not None:
        try:
            await verify_files(services, versions[target], key)
        except StorageFailed:
            gone.add(target)
        else:
            break
    return target


async def _find_fingerprint(services: Services) -> str | None:
    """Of the base that answers; None where no worker runs, for going back needs none."""
    try:
        return (await services.worker.health()).fingerprint
    except LyraError:
        return None


async def verify_files(services: Services, version: ModelVersion, key: bytes) -> None:
    """`key` opens them where they are sealed. Raises StorageFailed unless they are those that were registered."""
    root = services.settings.adapters_root
    await anyio.to_thread.run_sync(
        lambda: job_folders.verify_adapter(root, version.adapter_path, sha256=version.adapter_sha256, key=key)
    )


async def _prunable(services: Services, tx: Transaction) -> list[ModelVersion]:
    versions = await model_versions.list_versions(tx, KIND)
    needed = set((await model_versions.find_aliases(tx, KIND)).values())
    needed |= await jobs.find_compared_with(tx, KIND)
    # What serves without an alias: loaded by hand, or as the settings say.
    unnamed = (services.by_hand.adapter, services.settings.default_adapter)
    needed |= {version.version for version in versions if version.adapter_path in unnamed}
    return prunable(versions, aliased=needed)


def _view(version: ModelVersion, named: dict[Alias, int], counted: dict[str, tuple[int, int]]) -> VersionView:
    aliases = [alias for alias, number in named.items() if number == version.version]
    return VersionView(version, aliases, *counted.get(version.adapter_path, (0, 0)))


def _changes(before: HoldoutScores, after: HoldoutScores) -> list[Change]:
    return [
        _change(name, getattr(before, name), getattr(after, name))
        for name in ("accuracy", "macro_f1", "brier", "nll", "ece")
    ]


def _change(name: str, before: float, after: float) -> Change:
    change = after - before
    return Change(name, before, after, change, 100 * change / before if before else None)


def correction_rate(counts: Sequence[int]) -> float | None:
    reviewed, corrected = counts
    return corrected / reviewed if reviewed else None
