"""Calibration: how honest the confidences are, and the temperature that mends them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import anyio
from pydantic import TypeAdapter

from lyra_mcp.domain.calibration import Fit, cross_validate, is_degraded
from lyra_mcp.domain.calibrations import Calibration, CalibrationEvent, Evaluation, ServedModel
from lyra_mcp.domain.corrections import Review
from lyra_mcp.domain.edges import logits_of, softmax
from lyra_mcp.domain.reviews import Reviewed, audit_weights
from lyra_mcp.domain.statistics import Report, Sample
from lyra_mcp.domain.statistics import evaluate as measure
from lyra_mcp.errors import Conflict, Invalid, NotFound, TooFewReviews
from lyra_mcp.operations.services import Services, as_text
from lyra_mcp.storage import audit_log, calibrations, corrections, edges, jobs
from lyra_mcp.storage.database import Transaction
from schema.vocabulary import LABELS

_REPORT = TypeAdapter(Report)


@dataclass(frozen=True, slots=True)
class Current:
    """One model and the calibration it serves with."""

    model: ServedModel
    calibration: Calibration | None

    @property
    def version(self) -> int:
        return self.calibration.version if self.calibration else 0

    @property
    def temperature(self) -> float:
        return self.calibration.temperature if self.calibration else self.model.temperature


@dataclass(frozen=True, slots=True)
class Evaluated:
    evaluation: Evaluation
    all_reviews: Report
    audit_sample: Report | None
    previous: Evaluation | None
    degraded_vs_previous: bool | None
    in_sample: int
    holdout: int


@dataclass(frozen=True, slots=True)
class Stats:
    reviews: int
    corrections: int
    current: Current | None
    versions: list[Calibration]
    events: list[CalibrationEvent]
    latest: Evaluation | None


async def evaluate(services: Services, *, adapter: str | None, since: str | None) -> Evaluated:
    """Measure one model's confidences, at its present calibration, on the reviews it got; keep the result.

    Raises:
        TooFewReviews: nothing was reviewed; no row is written.
    """
    async with services.database.transaction() as tx:
        current = await _current(tx, adapter)
        reviews = await corrections.list_current_reviews(
            tx, fingerprint=current.model.fingerprint, adapter=current.model.adapter, since=_moment(since)
        )
        unreviewed = await edges.list_unreviewed_draws(
            tx, fingerprint=current.model.fingerprint, adapter=current.model.adapter
        )
        trained = await jobs.find_trained_pairs(tx, current.model.adapter)
        [*before] = await calibrations.list_evaluations(tx, limit=1)
    samples = [_sample(review, temperature=current.temperature) for review in reviews]
    reviewed = [Reviewed(review.audit_draw, review.selected_by) for review in reviews]
    # The audit speaks for all edges; a part of the time is no random sample of them.
    weights = None if since else audit_weights(reviewed, unreviewed)
    audited = [
        replace(sample, weight=weight.weight)
        for sample, weight in zip(samples, weights or [None] * len(samples), strict=True)
        if weight
    ]
    all_reviews = await anyio.to_thread.run_sync(_measure, samples)
    audit_sample = await anyio.to_thread.run_sync(_measure, audited) if audited else None
    fitted_until = current.calibration.review_seq_max if current.calibration else 0
    in_sample = sum(review.seq <= fitted_until or review.pair_digest in trained for review in reviews)
    evaluation = Evaluation(
        seq=0,
        evaluation_id=services.new_id("eval"),
        base_model=current.model.base_model,
        fingerprint=current.model.fingerprint,
        adapter=current.model.adapter,
        calibration_version=current.version,
        temperature=current.temperature,
        n=len(samples),
        brier=all_reviews.brier,
        report={
            "all_reviews": _REPORT.dump_python(all_reviews, mode="json"),
            "audit_sample": audit_sample and _REPORT.dump_python(audit_sample, mode="json"),
            "in_sample": in_sample,
            "holdout": len(samples) - in_sample,
        },
        created_at=services.now(),
    )
    async with services.database.transaction() as tx:
        await calibrations.insert_evaluation(tx, evaluation)
    previous = before[0] if before else None
    return Evaluated(
        evaluation,
        all_reviews,
        audit_sample,
        previous,
        is_degraded(previous.brier, evaluation.brier) if previous else None,
        in_sample,
        len(samples) - in_sample,
    )


async def fit(services: Services, *, adapter: str | None) -> tuple[Fit, Current]:
    """Fit a temperature and let it serve if its gain on unseen reviews is real; returns what serves afterwards.

    Raises:
        TooFewReviews: fewer than ten reviews of this model.
    """
    async with services.database.transaction() as tx:
        current = await _current(tx, adapter)
        reviews = await corrections.list_current_reviews(
            tx, fingerprint=current.model.fingerprint, adapter=current.model.adapter
        )
    samples = [_sample(review, temperature=1.0) for review in reviews]
    outcome = await anyio.to_thread.run_sync(_cross_validate, samples, current.temperature)
    if not outcome.is_kept:
        return outcome, current
    async with services.database.transaction() as tx:
        known = await calibrations.list_calibrations(tx, current.model.fingerprint, current.model.adapter)
        calibration = Calibration(
            fingerprint=current.model.fingerprint,
            adapter=current.model.adapter,
            version=len(known) + 1,
            temperature=outcome.temperature,
            samples=outcome.samples,
            review_seq_max=max(review.seq for review in reviews),
            nll_before=outcome.nll_before,
            nll_after=outcome.nll_after,
            gain=outcome.gain,
            gain_low=outcome.gain_low,
            gain_high=outcome.gain_high,
            created_at=services.now(),
        )
        await calibrations.insert_calibration(tx, calibration)
        # Another call may have fitted or rolled back meanwhile: this one replaces what serves now.
        replaced = await calibrations.find_active_calibration(tx, calibration.fingerprint, calibration.adapter)
        event = CalibrationEvent("fit", replaced.version if replaced else 0, calibration.version, None, services.now())
        await calibrations.insert_event(tx, calibration.fingerprint, calibration.adapter, event)
        detail = {"from": event.from_version, "to": event.to_version, "samples": calibration.samples}
        await audit_log.append(tx, "calibration_fitted", services.actor, detail, created_at=event.created_at)
    return outcome, Current(current.model, calibration)


async def plan_rollback(services: Services, *, version: int | None) -> tuple[int, int]:
    """The versions a rollback would go from and to.

    Raises:
        Conflict: there is nothing to go back to.
        NotFound: no such version.
    """
    async with services.database.transaction() as tx:
        current = await _current(tx, None)
        return current.version, await _target(tx, current, version)


async def roll_back(services: Services, *, version: int | None, reason: str | None) -> tuple[int, int]:
    """Let an earlier calibration serve again, as a new event; nothing is deleted and no number is reused."""
    async with services.database.transaction() as tx:
        current = await _current(tx, None)
        target = await _target(tx, current, version)
        event = CalibrationEvent("rollback", current.version, target, reason, services.now())
        await calibrations.insert_event(tx, current.model.fingerprint, current.model.adapter, event)
        detail = {"from": current.version, "to": target}
        await audit_log.append(tx, "calibration_rolled_back", services.actor, detail, created_at=event.created_at)
        return current.version, target


async def read_stats(services: Services, *, adapter: str | None) -> Stats:
    async with services.database.transaction() as tx:
        reviews_total, corrections_total = await corrections.count_reviews(tx)
        latest = await calibrations.list_evaluations(tx, adapter=adapter, limit=1)
        try:
            current = await _current(tx, adapter)
        except TooFewReviews:
            return Stats(reviews_total, corrections_total, None, [], [], latest[0] if latest else None)
        model = (current.model.fingerprint, current.model.adapter)
        return Stats(
            reviews_total,
            corrections_total,
            current,
            await calibrations.list_calibrations(tx, *model),
            await calibrations.list_events(tx, *model),
            latest[0] if latest else None,
        )


async def list_evaluations(
    services: Services, *, adapter: str | None, since: str | None, limit: int
) -> list[Evaluation]:
    async with services.database.transaction() as tx:
        return await calibrations.list_evaluations(tx, adapter=adapter, since=_moment(since), limit=limit)


async def find_evaluation(services: Services, evaluation_id: str | None) -> Evaluation:
    """One evaluation; without an id the newest."""
    async with services.database.transaction() as tx:
        if evaluation_id is not None:
            found = await calibrations.find_evaluation(tx, evaluation_id)
        else:
            found = next(iter(await calibrations.list_evaluations(tx, limit=1)), None)
    if found is None:
        asked = f"no evaluation {evaluation_id!r}" if evaluation_id else "nothing has been evaluated yet"
        raise NotFound(f"{asked}; calibration_metrics(action='get_evaluations') lists them, 'evaluate' makes one")
    return found


def report_of(evaluation: Evaluation) -> Report:
    """The column of all reviews, with its bins."""
    return _REPORT.validate_python(evaluation.report["all_reviews"])


async def _current(tx: Transaction, adapter: str | None) -> Current:
    """The model that was reviewed last (with this adapter: empty is the base alone), and its calibration."""
    newest = await corrections.find_newest_review(tx, adapter=adapter)
    if newest is None:
        of = "" if adapter is None else f" of adapter {adapter or 'base'!r}"
        raise TooFewReviews(
            f"there is no review{of} yet; review_queue() offers edges, feedback(action='edge_correct') takes answers"
        )
    fingerprint, adapter_path = newest.prediction.fingerprint, newest.prediction.adapter
    model = await calibrations.find_served_model(tx, fingerprint, adapter_path)
    assert model is not None, "every judgement records its model"
    return Current(model, await calibrations.find_active_calibration(tx, fingerprint, adapter_path))


async def _target(tx: Transaction, current: Current, version: int | None) -> int:
    model = (current.model.fingerprint, current.model.adapter)
    if version is None:
        if current.version == 0:
            raise Conflict("version 0, the model's own calibration, serves already; there is nothing to go back to")
        # What served before this version was fitted; a rollback to it is no reason to go forward again.
        fits = [event for event in await calibrations.list_events(tx, *model) if event.action == "fit"]
        return next(event.from_version for event in fits if event.to_version == current.version)
    if version == current.version:
        raise Conflict(f"version {version} serves already; calibration_metrics(action='get_stats') lists the versions")
    known = {0} | {calibration.version for calibration in await calibrations.list_calibrations(tx, *model)}
    if version not in known:
        raise NotFound(f"no calibration version {version}; there are {', '.join(map(str, sorted(known)))}")
    return version


def _moment(since: str | None) -> str | None:
    """A date or time as the database spells it; without an offset it is UTC."""
    if since is None:
        return None
    try:
        moment = datetime.fromisoformat(since)
        return as_text(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        raise Invalid("since is no date or time; write it as in 2026-03-31 or 2026-03-31T18:00:00Z") from error


def _sample(review: Review, *, temperature: float) -> Sample:
    probabilities = softmax(logits_of(review.prediction.probabilities), temperature)
    return Sample(probabilities, LABELS.index(review.correct_label))


def _measure(samples: Sequence[Sample]) -> Report:
    return measure(samples, chance=random.Random(0))  # noqa: S311 - the same reviews give the same interval


def _cross_validate(samples: Sequence[Sample], temperature: float) -> Fit:
    return cross_validate(samples, temperature, chance=random.Random(0))  # noqa: S311 - likewise
