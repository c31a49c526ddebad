"""Erasure, export and backup: what is planted everywhere is in the one, and in no byte after the other."""

import io
import json
import zipfile

import pytest
from pydantic import SecretStr

from lyra_mcp.domain.memories import NewEpisode, NewFact, NewWorkflow
from lyra_mcp.errors import Conflict, Invalid, StorageFailed
from lyra_mcp.operations import auditing, backups, consent, erasing, exporting, keys, redacting
from lyra_mcp.operations.remembering import remember
from lyra_mcp.storage.erasure import Order, write_order
from lyra_mcp.storage.exports import open_sealed

SECRET = "zebrafish-4711-quartz"


def planted(folder):
    """Files with the secret in them, also as UTF-16 and inside a zip."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            written = path.read_bytes()
            if zipfile.is_zipfile(io.BytesIO(written)):
                with zipfile.ZipFile(path) as archive:
                    written += b"".join(archive.read(name) for name in archive.namelist())
            if SECRET.encode() in written or SECRET.encode("utf-16-le") in written:
                found.append(path.relative_to(folder).as_posix())
    return sorted(found)


@pytest.fixture
async def full(lyra, services, settings, train, activate):
    """The secret in claims, evidence, corrections, memories, consent, patterns, a job's files, a log, an export."""
    edge = await lyra.add_edge(f"A claim of {SECRET}.", f"evidence of {SECRET}", url=f"https://example.org/{SECRET}")
    await lyra.correct(edge.edge_id, "refutes", reason=f"because {SECRET}")
    await remember(services, NewFact(category="work", key="codeword", value=SECRET))
    await consent.record(services, "store", provider=None, granted=True, reason=f"said {SECRET}")
    await redacting.put_pattern(services, name="codeword", pattern=SECRET.replace("quartz", "[a-z]+x"))
    job_id = await train()
    await activate(1, force=True, reason=f"for {SECRET}")
    for place in (settings.jobs_root / job_id / "log", settings.adapters_root / job_id / "README.md"):
        place.write_text(SECRET)
    settings.log_dir.mkdir()
    (settings.log_dir / "worker.log").write_text(SECRET)
    return job_id


async def texts_of(services):
    async with services.database.transaction() as tx:
        cursor = await tx.execute("SELECT text FROM memories UNION ALL SELECT text FROM claims")
        return [row["text"] for row in await cursor.fetchall()]


async def test_the_database_holds_nothing_readable(full, settings):
    assert not any(name.startswith("users/") for name in planted(settings.home))


async def test_after_an_erasure_no_byte_of_it_is_left_and_the_server_goes_on(full, services, settings, lyra):
    await exporting.export(services, name="mine.zip")
    assert planted(settings.home)
    head = services.database.head_file.read()

    done = await erasing.erase(services)

    assert planted(settings.home) == []
    assert [(model.version, model.samples) for model in done.stale_models] == [(1, 11)]
    assert done.erased["memories"] == 1
    assert done.erased["files"] > 5
    assert await texts_of(services) == []
    verdict, [record] = await auditing.check(services)
    assert verdict.valid, verdict.problem
    assert (record.event, record.actor) == ("erased", "erased-person")
    said = json.loads(record.detail)
    assert (said["versions"], said["head_before"], said["entries_before"]) == ([1], head.mac, head.seq)
    # The same process goes on: everything works, in an empty database.
    await remember(services, NewFact(category="work", key="codeword", value="another"))
    await lyra.review(corrected=1)
    assert len(await texts_of(services)) == 2
    assert not any((settings.user_dir / name).exists() for name in ("erasure.json", "erasure.json.done"))


async def test_what_is_remembered_after_an_erasure_is_found_by_meaning_again(services):
    await remember(services, NewFact(category="work", key="codeword", value=SECRET))
    await services.index.idle()
    await erasing.erase(services)

    await remember(services, NewFact(category="work", key="codeword", value="another"))
    await services.index.idle()

    async with services.database.transaction() as tx:
        cursor = await tx.execute(
            "SELECT (SELECT count(*) FROM memory_vectors), (SELECT count(*) FROM memories_waiting)"
        )
        assert tuple(await cursor.fetchone()) == (1, 0)


async def test_another_user_of_the_home_loses_nothing(full, services, settings, build_services):
    other = build_services(settings.model_copy(update={"user": "other"}))
    await remember(other, NewFact(category="work", key="codeword", value="kept"))
    (settings.jobs_root / "job_of_another").mkdir()

    await erasing.erase(services)

    assert len(await texts_of(other)) == 1
    assert (settings.jobs_root / "job_of_another").is_dir()
    assert (settings.log_dir / "worker.log").exists()  # it is shared, and holds ids
    await other.database.close()


async def test_an_erasure_that_was_killed_is_finished_at_the_next_start(full, services, settings, build_services):
    await services.database.close()
    write_order(
        settings.user_dir, Order([f"jobs/{full}", f"adapters/{full}", "logs"], "erased-person", {"rows": 9}, "t")
    )

    again = build_services(settings)
    assert await texts_of(again) == []
    assert planted(settings.home) == []
    verdict, [record] = await auditing.check(again)
    assert (verdict.valid, record.detail) == (True, '{"rows":9}')
    await again.database.close()


async def test_nothing_is_erased_while_another_server_has_the_database_open(services, settings, build_services, full):
    other = build_services(settings)
    await texts_of(other)

    with pytest.raises(Conflict, match="another server of this user has the database open"):
        await erasing.erase(services)

    assert await texts_of(services)
    await other.database.close()
    await erasing.erase(services)


async def test_a_training_that_does_not_end_keeps_the_data(lyra, services, machine, ready, start, monkeypatch):
    job = await start(force=True)
    monkeypatch.setattr(erasing, "STOP_WAIT_S", 0.05)

    with machine.living(job.job_id), pytest.raises(Conflict, match="is still training and nothing was erased"):
        await erasing.erase(services)

    assert ("cancel", job.job_id) in machine.asked
    assert len(await texts_of(services)) == 10
    await erasing.erase(services)
    assert await texts_of(services) == []


# Export


async def test_an_export_holds_everything_in_folders_that_are_documented(full, services, settings):
    done = await exporting.export(services, name=None)

    assert done.path.parent == settings.home / "exports" / "local"
    with zipfile.ZipFile(done.path) as archive:
        names = archive.namelist()
        documents = {
            name: json.loads(archive.read(name)) for name in names if name.endswith(".json") and "jobs/" not in name
        }
    assert {name for name in documents if full not in name} == {
        "export.json",
        "personalization/local/preferences.json",
        "personalization/local/interactions.json",
        "models/local/training_data.json",
        "models/local/intent_classifier.json",
        "memory/local/memory.json",
        "model_repo/versions.json",
        "model_repo/jobs.json",
        "performance/metrics.json",
        "evidence/local/evidence.json",
        "privacy/local/privacy.json",
    }
    assert f"model_repo/{full}/adapter_model.safetensors" in names
    assert f"model_repo/jobs/{full}/samples.jsonl" in names
    [fact] = documents["memory/local/memory.json"]["facts"]
    assert fact["value"] == SECRET
    rows = {
        table: len(rows)
        for document in documents.values()
        for table, rows in document.items()
        if isinstance(rows, list)
    }
    assert {table: count for table, count in rows.items() if count} == done.rows


async def test_an_export_keeps_facts_episodes_and_workflows_apart(services):
    for memory in (
        NewFact(category="work", key="role", value="nurse"),
        NewEpisode(event_type="meeting", description="The weekly round."),
        NewWorkflow(name="morning", steps=["wash hands", "read the board"]),
    ):
        await remember(services, memory)

    done = await exporting.export(services, name=None)

    with zipfile.ZipFile(done.path) as archive:
        memory = json.loads(archive.read("memory/local/memory.json"))
    assert [fact["value"] for fact in memory["facts"]] == ["nurse"]
    assert [episode["description"] for episode in memory["episodes"]] == ["The weekly round."]
    assert [workflow["steps"] for workflow in memory["workflows"]] == [["wash hands", "read the board"]]


@pytest.mark.parametrize("name", ["../up.zip", "/tmp/away.zip", "a/../../up.zip", "."])
async def test_an_export_stays_in_its_folder(services, name):
    with pytest.raises(Invalid, match="an export goes inside"):
        await exporting.export(services, name=name)


async def test_an_export_takes_the_place_of_nothing(services, settings):
    await exporting.export(services, name="a.zip")

    with pytest.raises(Conflict, match=r"a\.zip exists already"):
        await exporting.export(services, name="a.zip")
    assert [path.name for path in settings.exports_root.iterdir()] == ["a.zip"]


async def test_a_sealed_export_is_readable_with_its_passphrase_alone(services, settings, build_services, tmp_path):
    await remember(services, NewFact(category="work", key="codeword", value=SECRET))
    await services.index.close()
    await services.database.close()
    sealing = build_services(settings.model_copy(update={"encrypt_files": True}))
    with pytest.raises(Conflict, match="needs a passphrase; set LYRA_PASSPHRASE"):
        await exporting.export(sealing, name="a.sealed")
    await sealing.database.close()

    sealing = build_services(settings.model_copy(update={"encrypt_files": True, "passphrase": SecretStr("right one")}))
    done = await exporting.export(sealing, name="a.sealed")
    await sealing.database.close()

    assert done.encrypted
    assert planted(settings.home) == []
    with pytest.raises(Invalid, match="the passphrase is another"):
        open_sealed(done.path, tmp_path / "no.zip", "wrong one")
    assert not (tmp_path / "no.zip").exists()
    open_sealed(done.path, tmp_path / "yes.zip", "right one")
    assert planted(tmp_path / "home") == []
    with zipfile.ZipFile(tmp_path / "yes.zip") as archive:
        assert SECRET.encode() in archive.read("memory/local/memory.json")
    cut = done.path.with_name("cut.sealed")
    cut.write_bytes(done.path.read_bytes()[:-20])
    with pytest.raises(Invalid, match="changed or cut"):
        open_sealed(cut, tmp_path / "no.zip", "right one")


# Backup


async def keep(services, value):
    await remember(services, NewFact(category="work", key=value, value=value))


async def test_a_backup_is_restored_with_its_audit(services, settings, tmp_path):
    await keep(services, "before")
    done = await backups.back_up(services, tmp_path / "b.lyra")
    await keep(services, "after")
    assert (done.entries, len(await texts_of(services))) == (1, 2)

    await backups.restore(services, tmp_path / "b.lyra")

    assert len(await texts_of(services)) == 1
    verdict, entries = await auditing.check(services)
    assert (verdict.valid, [entry.event for entry in entries]) == (True, ["backed_up", "restored"])
    assert SECRET.encode() not in (tmp_path / "b.lyra").read_bytes()
    assert not list(settings.user_dir.glob("*.partial"))


async def test_a_backup_from_before_a_rotation_is_restored(services, tmp_path):
    await keep(services, "before")
    await backups.back_up(services, tmp_path / "b.lyra")
    await keys.rotate(services)
    await keep(services, "after")

    await backups.restore(services, tmp_path / "b.lyra")

    assert len(await texts_of(services)) == 1
    assert (await auditing.check(services))[0].valid


async def test_after_an_erasure_a_backup_cannot_be_read(services, tmp_path):
    await keep(services, SECRET)
    await backups.back_up(services, tmp_path / "b.lyra")
    await erasing.erase(services)

    with pytest.raises(StorageFailed, match="if its owner was erased it cannot be read any more"):
        await backups.restore(services, tmp_path / "b.lyra")
    assert await texts_of(services) == []


async def test_on_a_new_machine_an_exported_key_opens_a_backup(services, settings, build_services, tmp_path):
    await keep(services, "before")
    await backups.back_up(services, tmp_path / "b.lyra")
    await keys.export(services, tmp_path / "key.json", "long enough")

    elsewhere = build_services(settings.model_copy(update={"home": tmp_path / "elsewhere"}))
    await keys.import_(elsewhere, tmp_path / "key.json", "long enough")
    await backups.restore(elsewhere, tmp_path / "b.lyra")

    assert len(await texts_of(elsewhere)) == 1
    await elsewhere.database.close()


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
async def test_what_is_no_backup_changes_nothing(services, tmp_path, content):
    await keep(services, "before")
    (tmp_path / "b.lyra").write_bytes(content)

    with pytest.raises(Invalid, match="is no backup of Lyra"):
        await backups.restore(services, tmp_path / "b.lyra")
    assert len(await texts_of(services)) == 1


async def test_a_damaged_backup_changes_nothing(services, tmp_path):
    await keep(services, "before")
    path = tmp_path / "b.lyra"
    await backups.back_up(services, path)
    written = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("lyra.db").header_offset
    written[start + 20_000 : start + 20_032] = bytes(32)
    path.write_bytes(written)

    with pytest.raises(StorageFailed, match="the backup's database is damaged"):
        await backups.restore(services, path)
    assert len(await texts_of(services)) == 1


async def test_what_never_became_a_version_or_a_job_is_erased_too(services, settings, machine, ready, start):
    job = await start()
    machine.finish(job.job_id)
    root = settings.adapters_root / job.job_id
    root.mkdir(parents=True)
    (root / "adapter_model.safetensors").write_bytes(b"published, and not registered")
    (settings.jobs_root / "job_unrecorded").mkdir()
    (settings.jobs_root / "job_unrecorded" / "samples.jsonl").write_text("its server died before it had recorded it")

    await erasing.erase(services)

    assert not root.exists()
    assert not list(settings.jobs_root.iterdir())
