"""The status counts what is stored, and what does not work is in it instead of an error."""

from lyra_mcp.errors import WorkerGone
from lyra_mcp.operations.status import DatabaseStatus, read_status


async def test_the_status_counts_what_is_stored(lyra):
    scored = await lyra.add("A claim.", "it is so", "it is not so")
    await lyra.correct(scored.edges[0].edge_id, "refutes")

    status = await read_status(lyra.services)

    [version] = await lyra.sql("PRAGMA user_version")
    assert status.database == DatabaseStatus(
        state="open",
        schema_version=version["user_version"],
        size_bytes=lyra.services.database.path.stat().st_size,
        claims=1,
        reviews=1,
        corrections=1,
        unreviewed=1,
        memories=0,
        memories_waiting=0,
        key_source="file",
    )
    assert (status.worker.state, status.problems) == ("ready", [])


async def test_problems_of_the_worker_and_the_database_are_listed(lyra, worker, settings):
    worker.problem = WorkerGone("it died")
    settings.user_dir.mkdir(parents=True)
    (settings.user_dir / "lyra.key").write_text("no key")

    status = await read_status(lyra.services)

    assert status.problems == [
        "worker: E_WORKER: it died",
        "E_STORAGE: the key file is damaged; restore lyra.key from a backup",
    ]
    assert status.database == DatabaseStatus("unavailable")
