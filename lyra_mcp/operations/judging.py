"""Judge pairs: what people said first, then what the model says, at the calibration in force."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from lyra_mcp.domain.calibrations import ServedModel
from lyra_mcp.domain.corrections import Review
from lyra_mcp.domain.edges import Triple, pair_digest, softmax
from lyra_mcp.domain.evidence import Prediction
from lyra_mcp.errors import NotFound, Unavailable
from lyra_mcp.operations import sealing
from lyra_mcp.operations.services import Services
from lyra_mcp.operations.serving import BASE, Serving, find_serving
from lyra_mcp.storage import calibrations, corrections
from lyra_mcp.storage.database import Transaction
from schema.vocabulary import LABELS, Label
from schema.wire import PAIRS_MAX, JudgeReply, Pair, PerLabel

#: Corrections read again in one go when the model has changed.
REREAD_MAX = PAIRS_MAX


@dataclass(frozen=True, slots=True)
class Remembered:
    """A review that bears on a pair: of the same pair (exact), or of a similar one."""

    label: Label
    exact: bool
    similarity: float
    review_id: str
    at: str
    premise: str
    hypothesis: str


@dataclass(frozen=True, slots=True)
class JudgedPair:
    pair_digest: str
    label: Label
    confidence: float
    prediction: Prediction
    #: Calibrated, in the order of `LABELS`.
    probabilities: Triple
    remembered: Remembered | None
    #: (H,) float32, little endian; None when no model was asked.
    representation: bytes | None


@dataclass(frozen=True, slots=True)
class Server:
    """What served a judgement."""

    base_model: str
    fingerprint: str
    adapter: str | None
    calibration: int
    device: str


@dataclass(frozen=True, slots=True)
class Judged:
    pairs: list[JudgedPair]
    served_by: Server
    #: What could not be asked, and why; empty when all was.
    degraded_reason: str


async def judge(services: Services, pairs: Sequence[Pair]) -> Judged:
    """Judge up to `PAIRS_MAX` pairs; an exact pair is answered with the label a person gave it.

    Raises:
        Unavailable: no worker can answer, and not every pair has been reviewed before.
    """
    digests = [pair_digest(pair.premise, pair.hypothesis) for pair in pairs]
    async with services.database.transaction() as tx:
        reviews = await corrections.find_current_reviews(tx, digests)
        serving = await find_serving(services, tx)
    try:
        reply, degraded_reason = await _ask(services, pairs, serving)
    except Unavailable as error:
        if any(digest not in reviews for digest in digests):
            raise
        return _from_memory([reviews[digest] for digest in digests], reason=str(error))
    served = ServedModel(
        reply.served_by.fingerprint,
        reply.served_by.adapter or "",
        reply.served_by.base_model,
        reply.served_by.temperature,
    )
    reread_problem = await _reread_corrections(services, served)
    async with services.database.transaction() as tx:
        if await calibrations.find_served_model(tx, served.fingerprint, served.adapter) != served:
            await calibrations.upsert_served_model(tx, served)
        calibration = await calibrations.find_active_calibration(tx, served.fingerprint, served.adapter)
        version = calibration.version if calibration else 0
        temperature = calibration.temperature if calibration else served.temperature
        judged = [
            await _judged_pair(
                tx,
                services,
                digest=digest,
                reply=reply,
                index=index,
                review=reviews.get(digest),
                version=version,
                temperature=temperature,
            )
            for index, digest in enumerate(digests)
        ]
    server = Server(served.base_model, served.fingerprint, reply.served_by.adapter, version, reply.served_by.device)
    return Judged(judged, server, degraded_reason="; ".join(filter(None, [degraded_reason, reread_problem])))


async def _ask(services: Services, pairs: Sequence[Pair], serving: Serving) -> tuple[JudgeReply, str]:
    """Ask the adapter; where it is not what was registered, or fits its base no more, the base alone, and say so."""
    try:
        reply = await _ask_adapter(services, pairs, serving.adapter)
    except NotFound as error:
        if serving.adapter == BASE:
            raise
        problem = str(error)
    else:
        if serving.sha256 in (None, reply.served_by.adapter_sha256):
            return reply, ""
        problem = f"the files of version {serving.version} were changed; adapters(action='rollback') goes back"
    reason = f"answered by the base alone: {problem}; adapters(action='list') shows versions"
    return await _ask_adapter(services, pairs, BASE), reason


async def _ask_adapter(services: Services, pairs: Sequence[Pair], adapter: str) -> JudgeReply:
    key = None if adapter == BASE else await sealing.key_of_adapter(services, adapter)
    return await services.worker.judge(list(pairs), adapter=adapter, representation=True, key=key)


async def _judged_pair(
    tx: Transaction,
    services: Services,
    *,
    digest: str,
    reply: JudgeReply,
    index: int,
    review: Review | None,
    version: int,
    temperature: float,
) -> JudgedPair:
    judgement = reply.judgements[index]
    assert judgement.representation is not None, "we asked for it"
    vector = base64.b64decode(judgement.representation)
    logits = in_label_order(judgement.logits)
    calibrated = softmax(logits, temperature)
    confidence = max(calibrated)
    label = LABELS[calibrated.index(confidence)]
    prediction = Prediction(
        label=label,
        confidence=confidence,
        probabilities=softmax(logits, 1.0),
        base_model=reply.served_by.base_model,
        fingerprint=reply.served_by.fingerprint,
        adapter=reply.served_by.adapter or "",
        calibration_version=version,
        truncated=judgement.truncated,
    )
    if review:
        remembered: Remembered | None = _exact(review)
        label, confidence = review.correct_label, 1.0
    else:
        remembered = await _similar(tx, services, prediction, vector)
    return JudgedPair(digest, label, confidence, prediction, calibrated, remembered, vector)


async def _similar(tx: Transaction, services: Services, prediction: Prediction, vector: bytes) -> Remembered | None:
    near = await corrections.find_nearest_correction(
        tx, fingerprint=prediction.fingerprint, adapter=prediction.adapter, vector=vector
    )
    if near is None or near.similarity < services.settings.near_similarity_min:
        return None
    return Remembered(
        near.label, False, near.similarity, near.review_id, near.created_at, near.premise, near.hypothesis
    )


async def _reread_corrections(services: Services, served: ServedModel) -> str:
    """After a change of model, let it read the corrections it has not seen, so that similar ones are found.

    Returns why similar corrections may be missing; the judgements are no worse for it. Empty when all is well.
    """
    async with services.database.transaction() as tx:
        unread = await corrections.list_without_vector(
            tx, fingerprint=served.fingerprint, adapter=served.adapter, limit=REREAD_MAX
        )
    if not unread:
        return ""
    pairs = [Pair(premise=review.premise, hypothesis=review.hypothesis) for review in unread]
    try:
        reply = await _ask_adapter(services, pairs, served.adapter or BASE)
    except (Unavailable, NotFound) as error:
        return f"similar corrections were not all looked up; {error}"
    async with services.database.transaction() as tx:
        for review, judgement in zip(unread, reply.judgements, strict=True):
            assert judgement.representation is not None, "we asked for it"
            await corrections.insert_vector(
                tx,
                review.review_id,
                fingerprint=reply.served_by.fingerprint,
                adapter=reply.served_by.adapter or "",
                vector=base64.b64decode(judgement.representation),
            )
    return ""


def _exact(review: Review) -> Remembered:
    return Remembered(
        review.correct_label,
        exact=True,
        similarity=1.0,
        review_id=review.review_id,
        at=review.created_at,
        premise=review.premise,
        hypothesis=review.hypothesis,
    )


def _from_memory(reviews: Sequence[Review], *, reason: str) -> Judged:
    """Answer with the labels people gave and what the model said when they did."""
    pairs = [
        JudgedPair(
            pair_digest=review.pair_digest,
            label=review.correct_label,
            confidence=1.0,
            prediction=review.prediction,
            probabilities=review.prediction.probabilities,
            remembered=_exact(review),
            representation=None,
        )
        for review in reviews
    ]
    said = reviews[-1].prediction
    server = Server(said.base_model, said.fingerprint, said.adapter or None, said.calibration_version, "none")
    return Judged(pairs, server, degraded_reason=f"answered from reviews alone; {reason}")


def in_label_order(values: PerLabel) -> Triple:
    supports, refutes, neutral = (values.of(label) for label in LABELS)
    return supports, refutes, neutral
