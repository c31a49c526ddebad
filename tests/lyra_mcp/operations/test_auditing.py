"""The audit in the database: what is recorded, and what tampering looks like from outside."""

import shutil

import pytest

from lyra_mcp.domain.audit import Head
from lyra_mcp.operations import adapters, auditing, consent
from lyra_mcp.storage import audit_log
from lyra_mcp.storage.database import Database


async def agree(services, count=1):
    for _ in range(count):
        await consent.record(services, "store", provider=None, granted=True, reason=None)


async def problem(services):
    verdict, _ = await auditing.check(services)
    return verdict.problem


async def test_a_new_database_has_an_empty_and_valid_audit(services):
    verdict, entries = await auditing.check(services)

    assert (verdict.valid, verdict.entries, entries) == (True, 0, [])


async def test_what_was_done_can_be_read_and_no_row_can_be_changed(services, lyra):
    await agree(services, 3)

    verdict, entries = await auditing.check(services)
    assert (verdict.valid, [entry.seq for entry in entries]) == (True, [1, 2, 3])
    for statement in ("UPDATE audit_log SET event = 'x'", "DELETE FROM audit_log"):
        with pytest.raises(Exception, match="append-only"):
            await lyra.sql(statement)


async def test_a_transaction_that_fails_leaves_no_entry_and_no_head(services):
    await agree(services)
    before = services.database.head_file.read()
    with pytest.raises(RuntimeError, match="our own bug"):
        await _fail(services)

    assert services.database.head_file.read() == before
    assert await problem(services) == ""


async def _fail(services):
    async with services.database.transaction() as tx:
        await audit_log.append(tx, "exported", "mcp", {}, created_at="now")
        raise RuntimeError("our own bug")


async def test_an_entry_changed_under_the_triggers_is_found(services, lyra):
    await agree(services, 3)
    await lyra.sql("DROP TRIGGER audit_log_is_kept")
    await lyra.sql("UPDATE audit_log SET actor = 'nobody' WHERE seq = 2")

    assert "entry 2 was changed" in await problem(services)


async def test_a_cut_tail_is_found(services, lyra):
    await agree(services, 3)
    await lyra.sql("DROP TRIGGER audit_log_stays")
    await lyra.sql("DELETE FROM audit_log WHERE seq > 1")

    assert "its end was cut or replaced" in await problem(services)


async def test_an_older_database_in_the_place_of_the_newer_is_found(services, build_services, settings):
    await agree(services)
    await services.database.close()
    shutil.copy(settings.user_dir / "lyra.db", settings.home / "older.db")
    await agree(services)
    await services.database.close()
    shutil.copy(settings.home / "older.db", settings.user_dir / "lyra.db")

    other = build_services(settings)
    found = await problem(other)
    await other.database.close()
    assert "its end was cut or replaced" in found


async def test_a_removed_head_is_found_and_is_not_written_anew(services):
    await agree(services)
    services.database.head_file.path.unlink()
    await agree(services)

    assert "the head beside the database is missing" in await problem(services)


async def test_an_end_between_commit_and_head_is_no_alarm_and_heals(services):
    await agree(services, 2)
    _, entries = await auditing.check(services)
    services.database.head_file.write(Head(1, entries[0].mac))

    assert await problem(services) == ""
    await agree(services)
    assert services.database.head_file.read().seq == 3


async def test_two_servers_write_one_chain(services, build_services, settings):
    other = build_services(settings)
    await agree(services)
    await agree(other)
    await agree(services)
    await other.database.close()

    assert await problem(services) == ""
    verdict, _ = await auditing.check(services)
    assert verdict.entries == 3


async def test_the_chain_survives_a_new_key(services):
    await agree(services)
    await services.database.rekey()
    await agree(services)
    await services.database.close()

    verdict, _ = await auditing.check(services)
    assert (verdict.valid, verdict.entries) == (True, 2)


async def test_activations_forced_ones_too_rollbacks_and_prunings_are_recorded(services, train, activate):
    for _ in range(5):
        await train(candidate_right=0.0)
    await activate(1, force=True, reason="a private reason")
    await adapters.roll_back(services, reason=None)
    await adapters.prune(services)

    _, entries = await auditing.check(services)
    said = [(entry.event, entry.detail) for entry in entries if entry.event.startswith("adapter")]
    assert said[:2] == [
        ("adapter_activated", '{"forced":true,"from":null,"kind":"nli_lora","to":1}'),
        ("adapter_rolled_back", '{"forced":false,"from":1,"kind":"nli_lora","to":null}'),
    ]
    assert [event for event, _ in said[2:]] == ["adapters_pruned"]
    assert not any("private" in entry.detail for entry in entries)
    assert await problem(services) == ""


async def test_an_audit_in_another_process_goes_on_where_this_one_ended(services, settings):
    await agree(services)
    await services.database.close()
    other = Database(settings.user_dir)
    async with other.transaction() as tx:
        await audit_log.append(tx, "exported", "cli", {"rows": 1}, created_at="now")
    await other.close()

    assert await problem(services) == ""
