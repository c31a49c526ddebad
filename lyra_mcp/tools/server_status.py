"""The tool `server_status`."""

from typing import Literal

from mcp.types import ToolAnnotations

from lyra_mcp.operations.status import read_status
from lyra_mcp.tools._shared import AdapterName, Answer, Call, Result, services
from lyra_mcp.version import VERSION

TITLE = "Server status"
PROFILE = "core"
ANNOTATIONS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


class Models(Result):
    nli: str
    embedding: str


class Queue(Result):
    pairs_waiting: int
    pairs_max: int


class Worker(Result):
    state: str
    pid: int | None
    device: str | None
    models: Models | None
    fingerprint: str | None
    adapter: AdapterName
    queue: Queue | None


class Database(Result):
    state: str
    schema_version: int | None
    size_bytes: int | None
    claims: int | None
    reviews: int | None
    corrections: int | None
    unreviewed: int | None
    memories: int | None
    memories_waiting: int | None
    key_source: str | None


class StatusAnswer(Answer):
    version: str
    protocol: str
    worker: Worker
    database: Database
    profile: Literal["core", "full"]
    problems: list[str]


async def server_status(call: Call) -> StatusAnswer:
    """Versions, the worker's state, the database, and what does not work and why. Starts nothing."""
    lyra = services(call)
    status = await read_status(lyra)
    return StatusAnswer(
        version=VERSION,
        protocol=call.protocol_version or "unknown",
        worker=Worker.model_validate(status.worker),
        database=Database.model_validate(status.database),
        profile=lyra.settings.tools,
        problems=status.problems,
        next_step="The first judge(), add_evidence() or recall() starts the worker."
        if status.worker.state == "stopped"
        else "",
    )
