"""A server as the worker sees it, run as a real process so that a test can kill it: it needs the worker, then waits."""

import asyncio
import sys
from pathlib import Path

from lyra_mcp.settings import Settings
from lyra_mcp.worker_client import WorkerProcess
from lyra_mcp.worker_client.spawn import Command


async def main(settings: str, *argv: str) -> None:
    async with WorkerProcess(Settings.model_validate_json(settings), command=Command(argv)) as process:
        await process.ensure()
        while not process._presence.is_held:  # noqa: ASYNC110 - the task that holds it sends no event
            await asyncio.sleep(0.01)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).read_text(), *sys.argv[2:]))
