"""Every table has its place in an export or a reason to be left out: a new one fails here until somebody decides."""

import pytest

from lyra_mcp.storage import tables
from lyra_mcp.storage.database import Database


@pytest.fixture
async def database(tmp_path):
    opened = Database(tmp_path / "users" / "local")
    yield opened
    await opened.close()


async def test_every_table_is_exported_or_left_out_with_a_reason(database):
    async with database.transaction() as tx:
        found = await tables.list_tables(tx)

    assert sorted(found) == sorted([*tables.EXPORTED, *tables.INTERNAL, *tables.EXCLUDED])
    assert all([*tables.INTERNAL.values(), *tables.EXCLUDED.values()])


async def test_every_column_that_is_left_out_exists(database):
    async with database.transaction() as tx:
        for table, column in tables.EXCLUDED_COLUMNS:
            cursor = await tx.execute("SELECT count(*) FROM pragma_table_info(?) WHERE name = ?", (table, column))
            assert (await cursor.fetchone())[0] == 1


async def test_a_row_is_exported_as_it_reads(database):
    async with database.transaction() as tx:
        await tx.execute(
            "INSERT INTO memories (memory_id, kind, text, text_digest, created_at)"
            " VALUES ('mem_1', 'fact', 'ダークモード', 'd', 'now')"
        )
        await tx.execute(
            "INSERT INTO facts VALUES ('mem_1', 'ui', 'theme', '{\"dark\": true}', 0.5, NULL, 'now', NULL)"
        )

        [memory] = await tables.dump_table(tx, "memories")
        [fact] = await tables.dump_table(tx, "facts")
        counts = await tables.count_rows(tx)
    assert (memory["text"], fact["value"]) == ("ダークモード", {"dark": True})
    assert counts == {"memories": 1, "facts": 1}
