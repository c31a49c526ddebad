"""The operations as short sentences: what a test does stands in one line."""

import hashlib
from dataclasses import dataclass
from typing import Any

import pytest

from lyra_mcp.domain.evidence import Edge
from lyra_mcp.operations import adapters, claims, feedback, finetuning, judging, watching
from lyra_mcp.operations.claims import NewFragment, ScoredClaim
from lyra_mcp.operations.feedback import Action, Feedback
from lyra_mcp.operations.reconciling import reconcile
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import memory_index
from lyra_mcp.storage.database import first_value
from schema.wire import Pair


@dataclass
class Lyra:
    services: Services

    async def add(self, claim: str | None, *texts: str, url: str | None = None, **more: Any) -> ScoredClaim:
        kind, claim_id = more.get("kind", "nli"), more.get("claim_id")
        new = [NewFragment(text, url, more.get("page_id"), kind) for text in texts]
        return await claims.add_evidence(self.services, claim=claim, claim_id=claim_id, new_fragments=new)

    async def add_edge(self, claim: str, text: str, url: str | None = None) -> Edge:
        [edge] = (await self.add(claim, text, url=url)).edges
        return edge

    async def edge(self, edge_id: str) -> Edge:
        [row] = await self.sql("SELECT claim_id FROM edges WHERE edge_id = ?", edge_id)
        opened = await claims.open_claim(self.services, row["claim_id"])
        return next(edge for edge in opened.edges if edge.edge_id == edge_id)

    async def judge(self, premise: str, hypothesis: str) -> judging.Judged:
        return await judging.judge(self.services, [Pair(premise=premise, hypothesis=hypothesis)])

    async def do(self, action: Action, key: str | None = None, **request: Any) -> Feedback:
        return await feedback.give_feedback(self.services, action, request=request, idempotency_key=key)

    async def correct(self, edge_id: str, label: Any, key: str | None = None, reason: str | None = None) -> Feedback:
        action = feedback.correct_edge(
            self.services, edge_id=edge_id, correct_label=label, reason=reason, source_type="human"
        )
        return await self.do(action, key, edge_id=edge_id, label=label)

    async def review(self, *, corrected: int = 0, confirmed: int = 0, **source: Any) -> None:
        """So many edges of their own premise, corrected to "refutes" or confirmed as "supports", by a person."""
        for number in range(corrected + confirmed):
            edge = await self.add_edge(f"Claim {self.fresh()}.", f"text {self.fresh()}", **source)
            await self.correct(edge.edge_id, "refutes" if number < corrected else "supports")

    def fresh(self) -> str:
        """A word that was not used before."""
        return self.services.new_id("word")

    async def retract(self, review_id: str | None = None, edge_id: str | None = None) -> Feedback:
        return await self.do(
            feedback.retract_review(
                self.services, review_id=review_id, edge_id=edge_id, reason=None, source_type="human"
            )
        )

    async def rule(self, decision: Any, pattern: str) -> Feedback:
        return await self.do(
            feedback.rule_domain(
                self.services, decision, domain_pattern=pattern, reason="unreliable", source_type="human"
            )
        )

    async def clear(self, pattern: str) -> Feedback:
        return await self.do(
            feedback.clear_domain(self.services, domain_pattern=pattern, reason="again", source_type="human")
        )

    async def score(self, claim_id: str) -> tuple[float, int]:
        """(support ratio to three places, edges that count)."""
        score = (await claims.open_claim(self.services, claim_id)).score
        return round(score.support_ratio, 3), score.supports + score.refutes + score.neutral

    async def sql(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        async with self.services.database.transaction() as tx:
            cursor = await tx.execute(statement, values)
            return [dict(row) for row in await cursor.fetchall()]

    async def count(self, table: str) -> int:
        [row] = await self.sql(f"SELECT count(*) AS n FROM {table}")
        return row["n"]


@pytest.fixture
def settings(settings):
    """A few reviews are enough to train on."""
    return settings.model_copy(update={"training_samples_min": 10, "trigger_corrections": 5})


@pytest.fixture
def lyra(services) -> Lyra:
    return Lyra(services)


@pytest.fixture
async def ready(lyra):
    """Ten corrections: enough for every trigger and for a training."""
    await lyra.review(corrected=10)


@pytest.fixture
def start(services):
    async def start(services=services, *, force=False):
        return await finetuning.start(services, recipe_name="seed", force=force)

    return start


@pytest.fixture
def state(services):
    async def state(job):
        watched = await watching.watch(services, job.job_id)
        return watched.job.state, watched.job.problem

    return state


@pytest.fixture
async def train(lyra, services, machine):
    """Make the next version; returns its job's id, which is also its adapter's path."""
    await lyra.review(corrected=10)

    async def train(**scores):
        job = await finetuning.start(services, recipe_name="seed", force=True)
        machine.finish(job.job_id, **scores)
        await reconcile(services)
        return job.job_id

    return train


@pytest.fixture
def activate(services):
    async def activate(number, *, force=False, reason=None):
        return await adapters.activate(services, number, reason=reason, force=force)

    return activate


@pytest.fixture
def serving(services):
    """The version that serves by the registry, and the adapter that answers."""

    async def serving():
        now = await adapters.read_serving(services)
        return now.version, now.adapter

    return serving


@pytest.fixture
def memorise(services):
    """Store a memory as rows, as the operations do; returns its number."""

    async def memorise(text: str, *, kind: str = "episode", topic: str | None = None, rating: int | None = None) -> int:
        digest = hashlib.sha256(text.encode()).hexdigest()
        memory_id = services.new_id("mem")
        async with services.database.transaction() as tx:
            cursor = await tx.execute(
                "INSERT INTO memories (memory_id, kind, text, text_digest, topic, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?) RETURNING seq",
                (memory_id, kind, text, digest, topic, services.now()),
            )
            seq = int(await first_value(cursor))
            if kind == "conversation":
                await tx.execute(
                    "INSERT INTO conversations (memory_id, messages, response, rating) VALUES (?, '[]', ?, ?)",
                    (memory_id, text, rating),
                )
            await memory_index.add_words(tx, seq, text)
        return seq

    return memorise
