"""Which version serves: activated by a person, taken back in one call, never half loaded, never lost."""

import pytest
from sqlcipher3 import dbapi2 as sqlite

from lyra_mcp.domain.versions import AliasEvent
from lyra_mcp.errors import Conflict, NotFound, StorageFailed, WorkerGone
from lyra_mcp.operations import adapters, calibration, finetuning

NEW = ("a new text", "a new claim")


async def states(lyra):
    return [row["state"] for row in await lyra.sql("SELECT state FROM jobs ORDER BY seq")]


# Versions


async def test_numbers_go_up_and_each_version_knows_the_champion_it_was_compared_with(train, activate, services):
    jobs = [await train(), await train()]
    await activate(1)
    jobs.append(await train())

    versions = [view.version for view in (await adapters.read_registry(services)).versions]

    assert [(v.version, v.job_id, v.adapter_path, v.parent_version) for v in versions[::-1]] == [
        (1, jobs[0], jobs[0], None),
        (2, jobs[1], jobs[1], None),
        (3, jobs[2], jobs[2], 1),
    ]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE model_versions SET samples = 0", "a version is immutable"),
        ("DELETE FROM model_versions", "never reused"),
        ("DELETE FROM alias_events", "append-only"),
    ],
)
async def test_the_registry_only_grows(lyra, train, activate, statement, said):
    await train()
    await activate(1)
    with pytest.raises(Exception, match=said):
        await lyra.sql(statement)


async def test_the_database_refuses_a_second_champion(lyra, train, activate):
    for _ in range(2):
        await train()
    await activate(1)
    with pytest.raises(sqlite.IntegrityError, match=r"UNIQUE constraint failed: aliases\.kind, aliases\.alias"):
        await lyra.sql("INSERT INTO aliases (kind, alias, version) VALUES ('nli_lora', 'champion', 2)")

    assert await lyra.sql("SELECT version FROM aliases WHERE alias = 'champion'") == [{"version": 1}]


async def test_the_database_refuses_a_version_number_twice(lyra, train):
    for _ in range(2):
        await train()
    columns = await lyra.sql("SELECT name FROM pragma_table_info('model_versions') WHERE name <> 'seq'")
    names = [column["name"] for column in columns]
    changed = {"job_id": "'another'", "adapter_path": "'another'", "version": "1"}
    values = ", ".join(changed.get(name, name) for name in names)

    with pytest.raises(sqlite.IntegrityError, match=r"model_versions\.kind, model_versions\.version"):
        await lyra.sql(
            f"INSERT INTO model_versions ({', '.join(names)}) SELECT {values} FROM model_versions WHERE version = 2"
        )


async def test_a_version_that_was_loaded_by_hand_is_no_champion_to_be_compared_with(
    train, activate, services, machine, settings
):
    job_id = await train()
    await activate(1)
    await adapters.unload(services)
    job = await finetuning.start(services, recipe_name="seed", force=True)

    assert job.champion_version == 1
    assert f'"champion": "{job_id}"' in (settings.jobs_root / job.job_id / "request.json").read_text()


async def test_a_champion_of_another_base_is_not_compared_with(train, activate, services, worker, machine):
    await train()
    await activate(1)
    worker.fingerprint = "second"

    assert (await finetuning.start(services, recipe_name="seed", force=True)).champion_version is None


# Activation


async def test_an_activated_version_answers_the_next_call_and_says_so(lyra, train, activate, serving, worker):
    job_id = await train()
    before = (await lyra.judge(*NEW)).served_by.adapter
    assert await activate(1, reason="better") == (None, 1)

    assert (before, (await lyra.judge(*NEW)).served_by.adapter, await serving()) == (None, job_id, (1, job_id))
    assert (worker.loaded, await states(lyra)) == (None, ["champion"])


async def test_what_serves_survives_a_restart(train, activate, build_services, settings):
    job_id = await train()
    await activate(1)
    restarted = build_services(settings)

    now = await adapters.read_serving(restarted)
    await restarted.database.close()
    assert (now.version, now.adapter) == (1, job_id)


async def test_a_version_that_failed_the_gate_needs_force_which_is_recorded(train, activate, services, serving):
    await train(candidate_right=0.5)
    with pytest.raises(Conflict, match=r"version 1 did not pass the gate \(holdout_accuracy\); .*force=true"):
        await activate(1)
    assert await serving() == (None, "base")

    await activate(1, force=True, reason="I know")
    [event] = (await adapters.read_registry(services)).events
    assert event == AliasEvent("activate", None, 1, True, "I know", event.created_at)


async def test_a_version_that_was_not_compared_with_what_serves_needs_force(lyra, train, activate, services, serving):
    """Both beat the base; which of them is better nobody has measured."""
    first, second = await train(), await train()
    await activate(2)

    with pytest.raises(
        Conflict, match=r"version 1 was compared with the base alone, and version 2 serves now; .*force"
    ):
        await activate(1)
    assert await serving() == (2, second)
    await activate(1, force=True)
    assert await serving() == (1, first)
    assert [event.forced for event in (await adapters.read_registry(services)).events] == [False, True]


async def test_force_is_recorded_only_where_it_was_needed(train, activate, services):
    await train()
    await activate(1, force=True)
    assert [event.forced for event in (await adapters.read_registry(services)).events] == [False]


async def test_an_unknown_version_and_the_one_that_serves_are_refused(train, activate):
    with pytest.raises(NotFound, match=r"no version 9; adapters\(action='list'\) shows versions"):
        await activate(9)
    await train()
    await activate(1)
    with pytest.raises(Conflict, match="version 1 serves already"):
        await activate(1)


@pytest.mark.parametrize("change", ["overwritten", "deleted"])
async def test_an_adapter_whose_files_were_changed_is_refused_and_what_served_goes_on(
    train, activate, serving, settings, change
):
    first = await train()
    await activate(1)
    second = await train()
    weights = settings.adapters_root / second / "adapter_model.safetensors"
    weights.unlink() if change == "deleted" else weights.write_bytes(b"others")

    with pytest.raises(StorageFailed, match="activate another version"):
        await activate(2)
    assert await serving() == (1, first)


async def test_an_adapter_the_worker_refuses_does_not_serve(train, activate, serving, worker):
    first = await train()
    await activate(1)
    second = await train()
    worker.refused[second] = "the adapter belongs to another base"

    with pytest.raises(Conflict, match="the worker refuses version 2, what served before goes on: the adapter belongs"):
        await activate(2)
    assert await serving() == (1, first)


async def test_without_a_worker_nothing_is_activated(train, activate, serving, worker):
    await train()
    worker.problem = WorkerGone("no worker")

    with pytest.raises(WorkerGone):
        await activate(1)
    assert await serving() == (None, "base")


async def test_after_a_change_of_base_the_base_answers_and_says_why(lyra, train, activate, worker):
    job_id = await train()
    await activate(1)
    worker.refused[job_id] = "the adapter belongs to a base with another fingerprint"

    judged = await lyra.judge(*NEW)

    assert judged.served_by.adapter is None
    assert "answered by the base alone: E_NOT_FOUND: the adapter belongs to a base with" in judged.degraded_reason


async def test_a_champion_whose_weights_are_not_the_registered_ones_does_not_answer(lyra, train, activate, worker):
    path = await train()
    await activate(1)
    assert (await lyra.judge(*NEW)).served_by.adapter == path
    worker.changed.add(path)

    judged = await lyra.judge(*NEW)

    assert (judged.served_by.adapter, judged.pairs[0].prediction.adapter) == (None, "")
    assert judged.degraded_reason.startswith("answered by the base alone: the files of version 1 were changed;")


async def test_a_new_version_begins_with_a_calibration_of_its_own(lyra, train, activate, services):
    for number in range(20):
        edge = await lyra.add_edge(f"Claim {number}.", f"text number {number} margin=4")
        await lyra.correct(edge.edge_id, "supports" if number % 5 < 3 else "refutes")
    assert (await calibration.fit(services, adapter=None))[0].is_kept
    await train()
    before = (await lyra.judge(*NEW)).served_by.calibration

    await activate(1)
    after = (await lyra.judge(*NEW)).served_by.calibration
    await adapters.roll_back(services, reason=None)

    assert (before, after, (await lyra.judge(*NEW)).served_by.calibration) == (1, 0, 1)


async def test_aliases_name_what_serves_what_waits_and_what_a_rollback_brings(train, activate, services):
    for number in (1, 2):
        await train()
        await activate(number)
    await train()

    aliases = {view.version.version: view.aliases for view in (await adapters.read_registry(services)).versions}
    assert aliases == {1: ["previous"], 2: ["champion"], 3: ["candidate"]}


# By hand


async def test_what_is_loaded_by_hand_serves_until_it_is_unloaded(lyra, train, activate, services, serving):
    first, second = await train(), await train()
    await activate(1)

    assert await adapters.load(services, second) == second
    assert (await serving(), (await lyra.judge(*NEW)).served_by.adapter) == ((None, second), second)
    await adapters.unload(services)
    await adapters.unload(services)
    assert (await serving(), (await lyra.judge(*NEW)).served_by.adapter) == ((None, "base"), None)

    assert await activate(1) == (1, 1)
    assert await serving() == (1, first)


async def test_a_load_that_is_refused_changes_nothing(train, activate, services, serving, worker):
    first = await train()
    await activate(1)
    worker.refused["else"] = "there is no adapter 'else'"

    with pytest.raises(Conflict, match=r"there is no adapter 'else'; .*what served before goes on"):
        await adapters.load(services, "else")
    assert await serving() == (1, first)


async def test_unloading_works_without_a_worker(services, serving, worker):
    worker.problem = WorkerGone("no worker")
    assert await adapters.unload(services) == "no worker is running; the next one begins with the base alone"
    assert await adapters.read_worker_status(services) is None


async def test_the_default_of_the_settings_serves_where_there_is_no_champion(build_services, settings):
    own = build_services(settings.model_copy(update={"default_adapter": "mine"}))
    now = await adapters.read_serving(own)
    await own.database.close()
    assert (now.version, now.adapter) == (None, "mine")
