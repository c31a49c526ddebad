"""A real MCP client in both protocol eras, in front of the real server with a worker that reads keywords."""

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from mcp import Client
from mcp.types import ElicitResult

from lyra_mcp.app import build_server


@dataclass
class Agent:
    client: Client

    async def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """The structured result of a call that works."""
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result.content[0].text
        return result.structured_content

    async def refused(self, tool: str, /, **arguments: Any) -> str:
        """The text of a call that is refused."""
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error, result.structured_content
        assert result.structured_content is None
        return result.content[0].text

    async def add(self, *texts: str, claim: str = "A claim.", url: str | None = None) -> dict[str, Any]:
        source = {} if url is None else {"source_url": url}
        return await self.call("add_evidence", claim=claim, fragments=[{"text": text, **source} for text in texts])

    async def add_edge(self, text: str = "it is so") -> str:
        return (await self.add(text))["edges"][0]["edge_id"]

    async def correct(self, count: int = 10, url: str | None = None) -> None:
        """A person's corrections, each of a premise of its own."""
        added = await self.add(*[f"text number {number} from {url}" for number in range(count)], url=url)
        for edge in added["edges"]:
            await self.call("feedback", action="edge_correct", edge_id=edge["edge_id"], correct_label="refutes")

    async def train(self, machine: Any, **scores: Any) -> dict[str, Any]:
        """A version, whatever its gate says; returns its job."""
        job_id = (await self.call("finetune", action="start", confirm=True, force=True))["job_id"]
        machine.finish(job_id, **scores)
        [job] = (await self.call("finetune_status", job_id=job_id))["jobs"]
        return job


@pytest.fixture(params=["auto", "legacy"])
def era(request) -> str:
    """`auto` ends in the newest protocol, `legacy` in the handshake of 2025."""
    return request.param


@pytest.fixture
def connect(settings, build_services, era):
    @asynccontextmanager
    async def connected(**options: Any):
        async with Client(build_server(settings, services=build_services), mode=era, **options) as client:
            yield Agent(client)

    return connected


@pytest.fixture
def questions():
    return []


@pytest.fixture
def person(questions):
    """A client that shows the person a form, and a person who gives one answer."""

    def answering(action, content=None):
        async def answer(_context, asked):
            questions.append(asked.message)
            return ElicitResult(action=action, content=content)

        return {"elicitation_callback": answer}

    return answering
