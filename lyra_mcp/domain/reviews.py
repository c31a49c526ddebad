"""Which edges are worth a person's look next, and how the reviews that came back speak for all edges."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lyra_mcp.domain.edges import Triple
from lyra_mcp.domain.statistics import top
from schema.vocabulary import LABELS, SelectedBy

Strategy = Literal["mixed", "uncertain", "random"]

#: An edge counts as this much less uncertain for every edge of its claim that goes before it.
_CLAIM_SPREAD = 0.2
_RANDOM_WHY = (
    "Drawn at random, like a spot check: such reviews show how often the model is right over all edges, "
    "and a confirmation counts as much as a correction."
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An NLI edge nobody has reviewed."""

    edge_id: str
    claim_id: str
    pair_digest: str
    #: Calibrated, in the order of `schema.vocabulary.LABELS`.
    probabilities: Triple
    #: Uniform in [0, 1), drawn when the edge was made, independent of everything.
    audit_draw: float


@dataclass(frozen=True, slots=True)
class Offer:
    edge_id: str
    #: One sentence for a person.
    why: str
    selected_by: SelectedBy
    #: The chance of an edge to be in the random audit; null for one that was picked for its uncertainty.
    selection_probability: float | None


@dataclass(frozen=True, slots=True)
class Reviewed:
    """An NLI edge with an active review."""

    audit_draw: float
    #: How its review came about.
    selected_by: SelectedBy


@dataclass(frozen=True, slots=True)
class AuditWeight:
    selection_probability: float
    #: How many edges of the population this one speaks for: 1 / selection_probability.
    weight: float


def choose(
    candidates: Iterable[Candidate],
    *,
    strategy: Strategy,
    limit: int,
    audit_share: float,
    audit_threshold: float,
    random_share: float = 0.2,
    offered_before: int = 0,
) -> list[Offer]:
    """Choose at most `limit` edges to review, no pair of texts twice.

    The audit sample is every edge with a draw up to tau, the larger of `audit_share` and `audit_threshold` (the
    largest draw ever offered at random). `random` takes edges in the order of their draws, through the audit sample and
    beyond; `uncertain` takes edges outside it, smallest margin first, balanced over labels and claims; `mixed` is
    `uncertain` with every fifth slot from the audit sample, and fills up from one where the other has run out.
    `offered_before` continues the count of slots over calls, so that calls of one edge reach the fifth slot too.
    """
    by_draw = sorted(candidates, key=lambda candidate: (candidate.audit_draw, candidate.edge_id))
    tau = max(audit_share, audit_threshold)
    if strategy == "random":
        drawn = _first_of_each_pair(by_draw, limit)
        return [_random_offer(edge, max([tau, *(edge.audit_draw for edge in drawn)])) for edge in drawn]
    uncertain = _balanced([edge for edge in by_draw if edge.audit_draw > tau])
    if strategy == "uncertain":
        return [_uncertain_offer(edge) for edge in _first_of_each_pair(uncertain, limit)]
    members = [edge for edge in by_draw if edge.audit_draw <= tau]
    slots = [_is_random_slot(offered_before + index, random_share) for index in range(limit)]
    return [
        _random_offer(edge, tau) if edge.audit_draw <= tau else _uncertain_offer(edge)
        for edge in _interleaved(members, uncertain, slots)
    ]


def audit_weights(
    reviewed: Sequence[Reviewed], unreviewed_draws: Iterable[float]
) -> tuple[AuditWeight | None, ...] | None:
    """Weigh reviews so that they speak for all edges, although people mostly review what looks wrong.

    Every edge got its draw by a coin, before anybody saw it. So all edges with a draw below some tau are a fair
    sample, however they came to be reviewed, if nearly all of them were. The random route works through the edges in
    the order of their draws; tau is the draw of the first edge it has yet to reach. Below tau some edges were reviewed
    by somebody's own choice: they are known, and each stands for itself. The rest were nobody's choice; those of them
    that came through the random route stand also for the few it has passed over. Beyond tau, where only chosen edges
    are known, reviews carry no weight. A `tau` that moved with the chosen reviews would be biased; this one stops
    before an edge that nobody has looked at, as Haldane's inverse sampling requires.

    Edges that arrive later with a draw below tau count as passed over until review_queue() has offered them.

    Returns one entry for each review, null for those outside the sample; null instead of all where nothing came
    through the random route although edges are left: then there is no honest estimate.
    Source: Horvitz and Thompson 1952 (weights), Haldane 1945 (where to stop); post-stratification: Cochran 1977, 5A.9.
    """
    left = sorted(unreviewed_draws)
    at_random = [edge.audit_draw for edge in reviewed if edge.selected_by == "random"]
    if not reviewed or (left and not at_random):
        return None
    reach = max(at_random, default=0.0)
    tau = next((draw for draw in left if draw > reach), 1.0)
    passed_over = sum(draw < tau for draw in left)
    drawn = len(at_random)
    chosen_weight = AuditWeight(tau, 1.0 / tau)
    share = drawn / (drawn + passed_over) if drawn else 1.0
    random_weight = AuditWeight(tau * share, 1.0 / (tau * share))
    return tuple(
        None if edge.audit_draw >= tau else random_weight if edge.selected_by == "random" else chosen_weight
        for edge in reviewed
    )


def _is_random_slot(position: int, share: float) -> bool:
    """Spread a share of slots evenly: with .2, the fifth, the tenth, and so on."""
    rounding = 1e-9
    return int((position + 1) * share + rounding) > int(position * share + rounding)


def _first_of_each_pair(edges: Iterable[Candidate], limit: int) -> list[Candidate]:
    taken: dict[str, Candidate] = {}
    for edge in edges:
        if len(taken) >= limit:
            break
        taken.setdefault(edge.pair_digest, edge)
    return list(taken.values())


def _interleaved(
    members: Sequence[Candidate], uncertain: Sequence[Candidate], slots: Sequence[bool]
) -> list[Candidate]:
    """Fill each slot from its own queue, or from the other where that is empty."""
    taken: dict[str, Candidate] = {}
    # A pair that is due at random is offered as that: what is uncertain must not empty the audit sample.
    due = {edge.pair_digest for edge in _first_of_each_pair(members, sum(slots))}
    queues = {True: iter(members), False: (edge for edge in uncertain if edge.pair_digest not in due)}
    for is_random in slots:
        edge = _next_new(queues[is_random], taken) or _next_new(queues[not is_random], taken)
        if edge is None:
            break
        taken[edge.pair_digest] = edge
    return list(taken.values())


def _next_new(edges: Iterator[Candidate], taken: dict[str, Candidate]) -> Candidate | None:
    return next((edge for edge in edges if edge.pair_digest not in taken), None)


def _balanced(edges: Iterable[Candidate]) -> list[Candidate]:
    """Take turns between the predicted labels; within each, the smallest margins first, spread over claims."""
    of_claim: Counter[str] = Counter()
    queues: dict[int, list[tuple[float, float, Candidate]]] = {index: [] for index in range(len(LABELS))}
    for edge in sorted(edges, key=lambda edge: (_margin(edge), edge.audit_draw)):
        urgency = _margin(edge) + _CLAIM_SPREAD * of_claim[edge.claim_id]
        of_claim[edge.claim_id] += 1
        queues[top(edge.probabilities)].append((urgency, edge.audit_draw, edge))
    ordered = [sorted(queue, key=lambda entry: entry[:2]) for queue in queues.values()]
    longest = max(map(len, ordered))
    return [queue[turn][2] for turn in range(longest) for queue in ordered if turn < len(queue)]


def _margin(edge: Candidate) -> float:
    _, second, first = sorted(edge.probabilities)
    return first - second


def _random_offer(edge: Candidate, tau: float) -> Offer:
    return Offer(edge.edge_id, _RANDOM_WHY, "random", tau)


def _uncertain_offer(edge: Candidate) -> Offer:
    ranked = sorted(zip(edge.probabilities, LABELS, strict=True), key=lambda entry: -entry[0])
    (first, first_label), (second, second_label), _ = ranked
    why = f"The model wavers between {first_label} ({first:.0%}) and {second_label} ({second:.0%})."
    return Offer(edge.edge_id, why, "uncertain", None)
