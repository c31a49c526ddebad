"""Reviews: every time somebody said what a pair's label really is; append-only, retracted by a second event."""

from collections.abc import Sequence

from lyra_mcp.domain.corrections import Neighbour, Review
from lyra_mcp.storage.database import Row, Transaction, first_value
from lyra_mcp.storage.edges import dump_probabilities, prediction_of
from schema.vocabulary import SelectedBy, SourceType


def _review(row: Row) -> Review:
    prediction = prediction_of(row)
    assert prediction is not None
    return Review(
        seq=row["seq"],
        review_id=row["review_id"],
        edge_id=row["edge_id"],
        claim_id=row["claim_id"],
        pair_digest=row["pair_digest"],
        premise=row["premise"],
        hypothesis=row["hypothesis"],
        source_url=row["source_url"],
        domain=row["domain"],
        page_id=row["page_id"],
        prediction=prediction,
        previous_label=row["previous_label"],
        correct_label=row["correct_label"],
        is_correction=bool(row["is_correction"]),
        reason=row["reason"],
        source_type=row["source_type"],
        selected_by=row["selected_by"],
        selection_probability=row["selection_probability"],
        audit_draw=row["audit_draw"],
        created_at=row["created_at"],
    )


async def insert_review(tx: Transaction, review: Review) -> None:
    """Append a review; `review.seq` is given by the database."""
    said = review.prediction
    await tx.execute(
        "INSERT INTO nli_corrections (review_id, edge_id, claim_id, pair_digest, premise, hypothesis, source_url,"
        " domain, page_id, predicted_label, predicted_confidence, predicted_probabilities, base_model, fingerprint,"
        " adapter, calibration_version, truncated, previous_label, correct_label, is_correction, reason, source_type,"
        " selected_by, selection_probability, audit_draw, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            review.review_id,
            review.edge_id,
            review.claim_id,
            review.pair_digest,
            review.premise,
            review.hypothesis,
            review.source_url,
            review.domain,
            review.page_id,
            said.label,
            said.confidence,
            dump_probabilities(said.probabilities),
            said.base_model,
            said.fingerprint,
            said.adapter,
            said.calibration_version,
            int(said.truncated),
            review.previous_label,
            review.correct_label,
            int(review.is_correction),
            review.reason,
            review.source_type,
            review.selected_by,
            review.selection_probability,
            review.audit_draw,
            review.created_at,
        ),
    )


async def find_review(tx: Transaction, review_id: str) -> Review | None:
    cursor = await tx.execute("SELECT * FROM nli_corrections WHERE review_id = ?", (review_id,))
    row = await cursor.fetchone()
    return _review(row) if row else None


async def is_retracted(tx: Transaction, review_id: str) -> bool:
    cursor = await tx.execute("SELECT 1 FROM review_retractions WHERE review_id = ?", (review_id,))
    return await cursor.fetchone() is not None


async def insert_retraction(
    tx: Transaction, review_id: str, *, reason: str | None, source_type: SourceType, created_at: str
) -> None:
    await tx.execute(
        "INSERT INTO review_retractions (review_id, reason, source_type, created_at) VALUES (?, ?, ?, ?)",
        (review_id, reason, source_type, created_at),
    )


async def list_reviews_of_edge(tx: Transaction, edge_id: str) -> list[Review]:
    """Not retracted, oldest first."""
    cursor = await tx.execute("SELECT * FROM active_reviews WHERE edge_id = ? ORDER BY seq", (edge_id,))
    return [_review(row) for row in await cursor.fetchall()]


async def list_reviews_of_pair(tx: Transaction, pair_digest: str) -> list[Review]:
    """Not retracted, of whatever edge and model, oldest first."""
    cursor = await tx.execute("SELECT * FROM active_reviews WHERE pair_digest = ? ORDER BY seq", (pair_digest,))
    return [_review(row) for row in await cursor.fetchall()]


async def list_reviewed_edges(tx: Transaction, claim_id: str) -> frozenset[str]:
    cursor = await tx.execute("SELECT DISTINCT edge_id FROM active_reviews WHERE claim_id = ?", (claim_id,))
    return frozenset([row["edge_id"] for row in await cursor.fetchall()])


async def find_current_reviews(tx: Transaction, pair_digests: Sequence[str]) -> dict[str, Review]:
    """The newest review that stands, for each pair that has one."""
    marks = ", ".join("?" * len(pair_digests))
    cursor = await tx.execute(
        f"SELECT * FROM active_reviews WHERE pair_digest IN ({marks}) ORDER BY seq",  # noqa: S608 - only marks
        tuple(pair_digests),
    )
    return {row["pair_digest"]: _review(row) for row in await cursor.fetchall()}


async def list_current_reviews(
    tx: Transaction, *, fingerprint: str, adapter: str, since: str | None = None
) -> list[Review]:
    """The newest review that stands of each pair one model judged, oldest first."""
    cursor = await tx.execute(
        "SELECT * FROM current_reviews WHERE fingerprint = ? AND adapter = ? AND created_at >= ? ORDER BY seq",
        (fingerprint, adapter, since or ""),
    )
    return [_review(row) for row in await cursor.fetchall()]


async def list_last_words(tx: Transaction, *, source_type: SourceType | None = None) -> list[Review]:
    """The newest review that stands of each pair, by anybody or by one kind of source, oldest first.

    Whichever model judged the pair.
    """
    cursor = await tx.execute(
        "SELECT * FROM active_reviews AS review WHERE (:source IS NULL OR source_type = :source)"
        " AND NOT EXISTS (SELECT 1 FROM active_reviews AS later WHERE later.pair_digest = review.pair_digest"
        " AND (:source IS NULL OR later.source_type = :source) AND later.seq > review.seq) ORDER BY seq",
        {"source": source_type},
    )
    return [_review(row) for row in await cursor.fetchall()]


async def count_by_adapter(tx: Transaction, fingerprint: str) -> dict[str, tuple[int, int]]:
    """Reviewed and corrected pairs of each adapter of a base; the empty name is the base alone."""
    cursor = await tx.execute(
        "SELECT adapter, count(*), sum(is_correction) FROM current_reviews WHERE fingerprint = ? GROUP BY adapter",
        (fingerprint,),
    )
    return {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}


async def find_newest_review(tx: Transaction, *, adapter: str | None) -> Review | None:
    """The newest review that stands, of any model or of one adapter (empty: the base alone)."""
    cursor = await tx.execute(
        "SELECT * FROM active_reviews WHERE :adapter IS NULL OR adapter = :adapter ORDER BY seq DESC LIMIT 1",
        {"adapter": adapter},
    )
    row = await cursor.fetchone()
    return _review(row) if row else None


async def count_reviews(tx: Transaction) -> tuple[int, int]:
    """(reviews that stand, pairs whose newest review differs from the model's prediction)."""
    cursor = await tx.execute(
        "SELECT (SELECT count(*) FROM active_reviews), (SELECT coalesce(sum(is_correction), 0) FROM current_reviews)"
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


async def insert_vector(tx: Transaction, review_id: str, *, fingerprint: str, adapter: str, vector: bytes) -> None:
    await tx.execute(
        "INSERT OR REPLACE INTO correction_vectors (review_id, fingerprint, adapter, vector) VALUES (?, ?, ?, ?)",
        (review_id, fingerprint, adapter, vector),
    )


async def list_without_vector(tx: Transaction, *, fingerprint: str, adapter: str, limit: int) -> list[Review]:
    """Corrections that the serving model has not read yet, newest first."""
    cursor = await tx.execute(
        "SELECT * FROM current_reviews WHERE is_correction = 1 AND NOT EXISTS (SELECT 1 FROM correction_vectors"
        " WHERE correction_vectors.review_id = current_reviews.review_id AND correction_vectors.fingerprint = ?"
        " AND correction_vectors.adapter = ?) ORDER BY seq DESC LIMIT ?",
        (fingerprint, adapter, limit),
    )
    return [_review(row) for row in await cursor.fetchall()]


async def find_nearest_correction(
    tx: Transaction, *, fingerprint: str, adapter: str, vector: bytes
) -> Neighbour | None:
    cursor = await tx.execute(
        "SELECT review_id, correct_label, 1 - vec_distance_cosine(vector, ?) AS similarity, created_at, premise,"
        " hypothesis FROM correction_vectors JOIN current_reviews USING (review_id)"
        " WHERE correction_vectors.fingerprint = ? AND correction_vectors.adapter = ? AND is_correction = 1"
        # Another model's review of the same pair may have come later and say otherwise.
        " AND NOT EXISTS (SELECT 1 FROM active_reviews AS later WHERE later.pair_digest = current_reviews.pair_digest"
        " AND later.seq > current_reviews.seq AND later.correct_label <> current_reviews.correct_label)"
        " ORDER BY similarity DESC LIMIT 1",
        (vector, fingerprint, adapter),
    )
    row = await cursor.fetchone()
    return Neighbour(*row) if row else None


async def insert_offer(
    tx: Transaction, edge_id: str, *, selected_by: SelectedBy, selection_probability: float | None, created_at: str
) -> None:
    await tx.execute(
        "INSERT INTO review_offers (edge_id, selected_by, selection_probability, created_at) VALUES (?, ?, ?, ?)",
        (edge_id, selected_by, selection_probability, created_at),
    )


async def find_offer(tx: Transaction, edge_id: str) -> tuple[SelectedBy, float | None] | None:
    """How the queue last offered an edge."""
    cursor = await tx.execute(
        "SELECT selected_by, selection_probability FROM review_offers WHERE edge_id = ? ORDER BY seq DESC LIMIT 1",
        (edge_id,),
    )
    row = await cursor.fetchone()
    return (row[0], row[1]) if row else None


async def count_offers(tx: Transaction) -> int:
    cursor = await tx.execute("SELECT count(*) FROM review_offers")
    return int(await first_value(cursor))


async def largest_audited_draw(tx: Transaction) -> float:
    """The largest draw the random route has offered; 0 before the first."""
    cursor = await tx.execute(
        "SELECT coalesce(max(audit_draw), 0) FROM review_offers JOIN edges USING (edge_id) WHERE selected_by = 'random'"
    )
    return float(await first_value(cursor))
