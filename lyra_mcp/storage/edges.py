"""Edges from a fragment to a claim: what the model said of the pair, and what counts now."""

import json

from lyra_mcp.domain.corrections import Settled
from lyra_mcp.domain.edges import Triple
from lyra_mcp.domain.evidence import Edge, NewEdge, Prediction
from lyra_mcp.storage.database import Row, Transaction, first_value
from schema.vocabulary import LABELS, EdgeKind


def dump_probabilities(probabilities: Triple) -> str:
    return json.dumps(dict(zip(LABELS, probabilities, strict=True)))


def load_probabilities(text: str) -> Triple:
    by_label = json.loads(text)
    supports, refutes, neutral = (float(by_label[label]) for label in LABELS)
    return supports, refutes, neutral


def prediction_of(row: Row) -> Prediction | None:
    if row["predicted_label"] is None:
        return None
    return Prediction(
        label=row["predicted_label"],
        confidence=row["predicted_confidence"],
        probabilities=load_probabilities(row["predicted_probabilities"]),
        base_model=row["base_model"],
        fingerprint=row["fingerprint"],
        adapter=row["adapter"],
        calibration_version=row["calibration_version"],
        truncated=bool(row["truncated"]),
    )


def _edge(row: Row) -> Edge:
    return Edge(
        seq=row["seq"],
        edge_id=row["edge_id"],
        claim_id=row["claim_id"],
        fragment_id=row["fragment_id"],
        kind=row["kind"],
        pair_digest=row["pair_digest"],
        premise=row["premise"],
        hypothesis=row["hypothesis"],
        source_url=row["source_url"],
        domain=row["domain"],
        page_id=row["page_id"],
        prediction=prediction_of(row),
        label=row["label"],
        confidence=row["confidence"],
        label_source=row["label_source"],
        memory_review_id=row["memory_review_id"],
        audit_draw=row["audit_draw"],
        representation=row["representation"],
    )


_SELECT = """
    SELECT edges.*, fragments.text AS premise, claims.text AS hypothesis,
        fragments.source_url, fragments.domain, fragments.page_id
    FROM edges JOIN fragments USING (fragment_id) JOIN claims USING (claim_id)
"""


async def find_edge(tx: Transaction, edge_id: str) -> Edge | None:
    cursor = await tx.execute(f"{_SELECT} WHERE edge_id = ?", (edge_id,))
    row = await cursor.fetchone()
    return _edge(row) if row else None


async def find_edge_between(tx: Transaction, claim_id: str, fragment_id: str, kind: EdgeKind) -> Edge | None:
    cursor = await tx.execute(
        f"{_SELECT} WHERE claim_id = ? AND fragment_id = ? AND kind = ?", (claim_id, fragment_id, kind)
    )
    row = await cursor.fetchone()
    return _edge(row) if row else None


async def list_edges_of_claim(tx: Transaction, claim_id: str) -> list[Edge]:
    cursor = await tx.execute(f"{_SELECT} WHERE claim_id = ? ORDER BY edges.seq", (claim_id,))
    return [_edge(row) for row in await cursor.fetchall()]


async def list_edges_of_pair(tx: Transaction, pair_digest: str) -> list[Edge]:
    """NLI edges with the same texts: the same claim, and the same words from any source."""
    cursor = await tx.execute(f"{_SELECT} WHERE pair_digest = ? AND kind = 'nli' ORDER BY edges.seq", (pair_digest,))
    return [_edge(row) for row in await cursor.fetchall()]


async def insert_edge(tx: Transaction, edge: NewEdge, *, created_at: str) -> None:
    said = edge.prediction
    await tx.execute(
        "INSERT INTO edges (edge_id, claim_id, fragment_id, kind, pair_digest, predicted_label, predicted_confidence,"
        " predicted_probabilities, base_model, fingerprint, adapter, calibration_version, truncated, representation,"
        " label, confidence, label_source, memory_review_id, audit_draw, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            edge.edge_id,
            edge.claim_id,
            edge.fragment_id,
            edge.kind,
            edge.pair_digest,
            said and said.label,
            said and said.confidence,
            said and dump_probabilities(said.probabilities),
            said and said.base_model,
            said and said.fingerprint,
            said.adapter if said else "",
            said and said.calibration_version,
            int(said.truncated) if said else 0,
            edge.representation,
            edge.label,
            edge.confidence,
            edge.label_source,
            edge.memory_review_id,
            edge.audit_draw,
            created_at,
        ),
    )


async def update_label(tx: Transaction, edge_id: str, settled: Settled) -> None:
    now = settled.effective
    await tx.execute(
        "UPDATE edges SET label = ?, confidence = ?, label_source = ?, memory_review_id = ? WHERE edge_id = ?",
        (now.label, now.confidence, now.label_source, settled.memory_review_id, edge_id),
    )


async def list_unreviewed(tx: Transaction, *, claim_id: str | None, limit: int) -> list[Edge]:
    """NLI edges of adopted claims whose pair nobody has reviewed, newest first."""
    only_claim = "AND edges.claim_id = :claim_id" if claim_id else ""
    cursor = await tx.execute(
        f"""{_SELECT} WHERE edges.kind = 'nli' AND claims.status = 'adopted' {only_claim}
            AND NOT EXISTS (SELECT 1 FROM active_reviews WHERE active_reviews.pair_digest = edges.pair_digest)
            ORDER BY edges.seq DESC LIMIT :limit""",  # noqa: S608 - only our own condition
        {"claim_id": claim_id, "limit": limit},
    )
    return [_edge(row) for row in await cursor.fetchall()]


async def count_unreviewed(tx: Transaction, *, claim_id: str | None) -> int:
    only_claim = "AND edges.claim_id = :claim_id" if claim_id else ""
    cursor = await tx.execute(
        f"""SELECT count(*) FROM edges JOIN claims USING (claim_id)
            WHERE edges.kind = 'nli' AND claims.status = 'adopted' {only_claim}
            AND NOT EXISTS (SELECT 1 FROM active_reviews WHERE active_reviews.pair_digest = edges.pair_digest)""",  # noqa: S608 - only our own condition
        {"claim_id": claim_id},
    )
    return int(await first_value(cursor))


async def list_unreviewed_draws(tx: Transaction, *, fingerprint: str, adapter: str) -> list[float]:
    """Audit draws of the NLI edges one model judged and nobody has reviewed."""
    cursor = await tx.execute(
        """SELECT audit_draw FROM edges WHERE kind = 'nli' AND fingerprint = ? AND adapter = ?
            AND NOT EXISTS (SELECT 1 FROM active_reviews WHERE active_reviews.pair_digest = edges.pair_digest)""",
        (fingerprint, adapter),
    )
    return [row["audit_draw"] for row in await cursor.fetchall()]
