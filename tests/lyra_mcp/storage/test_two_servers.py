"""Two servers of one user, for example a desktop host and an IDE, that start at the same moment."""

import asyncio
import sys

from lyra_mcp.storage.database import Database

SERVER = """
import asyncio, sys
from pathlib import Path
from lyra_mcp.storage.database import Database

async def main():
    database = Database(Path(sys.argv[1]))
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO claims (claim_id, text, text_digest, created_at) VALUES (?, 'x', ?, 'now')",
                         (sys.argv[2], sys.argv[2]))
    await database.close()

asyncio.run(main())
"""


async def test_two_processes_that_open_a_fresh_database_at_once_both_succeed(tmp_path):
    servers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVER, str(tmp_path / "users" / "new"), f"claim_{number}"
        )
        for number in range(2)
    ]
    async with asyncio.timeout(30):
        assert [await server.wait() for server in servers] == [0, 0]

    database = Database(tmp_path / "users" / "new")
    async with database.transaction() as tx:
        rows = await (await tx.execute("SELECT claim_id FROM claims ORDER BY claim_id")).fetchall()
    await database.close()
    assert [row["claim_id"] for row in rows] == ["claim_0", "claim_1"]
