"""The review queue, and the proof that weighted audit reviews are right where plain ones are wrong."""

import math
import random
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyra_mcp.domain.reviews import AuditWeight, Candidate, Offer, Reviewed, audit_weights, choose
from lyra_mcp.domain.statistics import Sample, brier_of, evaluate

PAIRS = st.integers(0, 25)
CANDIDATES = st.lists(
    st.tuples(PAIRS, st.integers(0, 4), st.tuples(*[st.integers(1, 20)] * 3), st.floats(0, 1, exclude_max=True)),
    max_size=40,
)


def edge(name, draw, probabilities=(0.5, 0.3, 0.2), claim="claim", pair=None):
    return Candidate(name, claim, pair or name, probabilities, draw)


def chosen(candidates, *, strategy="mixed", limit=10, audit_share=0.2, audit_threshold=0.0, **more):
    offers = choose(
        candidates,
        strategy=strategy,
        limit=limit,
        audit_share=audit_share,
        audit_threshold=audit_threshold,
        **more,
    )
    return [(offer.edge_id, offer.selected_by, offer.selection_probability) for offer in offers]


def test_an_uncertain_edge_says_between_what_the_model_wavers():
    offers = choose(
        [edge("e", 0.9, (0.41, 0.2, 0.39))], strategy="uncertain", limit=1, audit_share=0.2, audit_threshold=0.0
    )

    assert offers == [Offer("e", "The model wavers between supports (41%) and neutral (39%).", "uncertain", None)]


def test_a_random_edge_says_that_it_was_drawn_and_with_what_probability():
    (offer,) = choose([edge("e", 0.1)], strategy="random", limit=1, audit_share=0.2, audit_threshold=0.0)

    assert "at random" in offer.why
    assert (offer.edge_id, offer.selected_by, offer.selection_probability) == ("e", "random", 0.2)


def test_random_takes_the_lowest_draws_and_goes_beyond_the_audit_share_when_asked_for_more():
    candidates = [edge("far", 0.7), edge("near", 0.1), edge("middle", 0.4)]

    assert chosen(candidates, strategy="random", limit=1) == [("near", "random", 0.2)]
    assert chosen(candidates, strategy="random", limit=2) == [("near", "random", 0.4), ("middle", "random", 0.4)]


def test_an_audit_that_once_went_further_stays_there():
    candidates = [edge("a", 0.3), edge("b", 0.6), edge("c", 0.5)]

    assert chosen(candidates, strategy="uncertain", audit_threshold=0.5) == [("b", "uncertain", None)]
    assert chosen(candidates, strategy="random", audit_threshold=0.5, limit=1) == [("a", "random", 0.5)]


def test_uncertain_leaves_the_audit_sample_alone_and_begins_with_the_smallest_margin():
    candidates = [
        edge("sure", 0.5, (0.9, 0.05, 0.05), "c1"),
        edge("audit", 0.1, (0.34, 0.33, 0.33), "c2"),
        edge("torn", 0.8, (0.45, 0.44, 0.11), "c3"),
    ]

    assert chosen(candidates, strategy="uncertain") == [("torn", "uncertain", None), ("sure", "uncertain", None)]


def test_uncertain_takes_turns_between_the_predicted_labels():
    candidates = [edge(f"s{i}", 0.5 + i / 100, (0.4, 0.39, 0.21), f"c{i}") for i in range(9)]
    candidates += [edge("r", 0.9, (0.1, 0.8, 0.1), "cr"), edge("n", 0.95, (0.1, 0.0, 0.9), "cn")]

    order = [edge_id for edge_id, _, _ in chosen(candidates, strategy="uncertain", limit=5)]

    assert order == ["s0", "r", "n", "s1", "s2"]


def test_uncertain_spreads_over_claims():
    """Five torn edges of one claim do not push out slightly less torn ones of others."""
    candidates = [edge(f"same{i}", 0.5 + i / 100, (0.45, 0.44, 0.11), "same") for i in range(5)]
    candidates += [edge(f"other{i}", 0.6 + i / 100, (0.5, 0.4, 0.1), f"c{i}") for i in range(3)]

    order = [edge_id for edge_id, _, _ in chosen(candidates, strategy="uncertain", limit=4)]

    assert order == ["same0", "other0", "other1", "other2"]


def test_mixed_gives_every_fifth_slot_to_the_audit():
    candidates = [edge(f"m{i}", i / 1000, claim=f"c{i}") for i in range(20)]
    candidates += [edge(f"u{i}", 0.5 + i / 1000, claim=f"d{i}") for i in range(20)]

    routes = [selected_by for _, selected_by, _ in chosen(candidates, limit=15)]

    assert routes == (["uncertain"] * 4 + ["random"]) * 3


def test_calls_for_one_edge_at_a_time_reach_the_audit_too():
    candidates = [edge("m", 0.1), edge("u", 0.5)]

    routes = [chosen(candidates, limit=1, offered_before=before)[0][1] for before in range(10)]

    assert routes == (["uncertain"] * 4 + ["random"]) * 2


@pytest.mark.parametrize(
    ("draws", "routes"),
    [
        ([0.1, 0.11, 0.12, 0.5], ["uncertain", "random", "random", "random"]),
        ([0.5, 0.6, 0.7, 0.8, 0.9], ["uncertain"] * 5),
        ([0.1, 0.11], ["random"] * 2),
        ([], []),
    ],
)
def test_mixed_fills_up_from_one_route_when_the_other_runs_out(draws, routes):
    candidates = [edge(f"e{draw}", draw) for draw in draws]

    assert [selected_by for _, selected_by, _ in chosen(candidates)] == routes


def test_a_pair_that_is_due_at_random_is_not_offered_as_uncertain():
    candidates = [edge("member", 0.1, pair="same"), edge("other", 0.5, pair="same"), edge("u", 0.6, claim="d")]

    assert chosen(candidates, limit=5) == [("u", "uncertain", None), ("member", "random", 0.2)]


@given(
    CANDIDATES,
    st.sampled_from(["mixed", "uncertain", "random"]),
    st.integers(1, 50),
    st.floats(0.05, 1),
    st.floats(0, 1),
)
def test_no_call_offers_anything_twice_or_more_than_asked_for(rows, strategy, limit, audit_share, audit_threshold):
    candidates = [
        edge(f"e{index}", draw, tuple(value / sum(raw) for value in raw), f"c{claim}", f"p{pair}")
        for index, (pair, claim, raw, draw) in enumerate(rows)
    ]
    by_id = {candidate.edge_id: candidate for candidate in candidates}

    offers = choose(
        candidates, strategy=strategy, limit=limit, audit_share=audit_share, audit_threshold=audit_threshold
    )

    pairs = [by_id[offer.edge_id].pair_digest for offer in offers]
    assert len(pairs) == len(set(pairs)) <= limit
    for offer in offers:
        draw = by_id[offer.edge_id].audit_draw
        if offer.selected_by == "random":
            assert draw <= offer.selection_probability
        else:
            assert offer.selection_probability is None
            assert draw > max(audit_share, audit_threshold)
    if strategy != "uncertain":
        available = len({candidate.pair_digest for candidate in candidates})
        assert len(offers) == min(limit, available)


def test_reviews_of_a_fully_covered_population_count_alike():
    reviewed = [Reviewed(0.3, "random"), Reviewed(0.9, "choice"), Reviewed(0.5, "uncertain")]

    assert audit_weights(reviewed, []) == (AuditWeight(1.0, 1.0),) * 3


def test_reviews_beyond_the_reach_of_the_audit_carry_no_weight():
    reviewed = [Reviewed(0.1, "random"), Reviewed(0.2, "choice"), Reviewed(0.6, "choice"), Reviewed(0.7, "uncertain")]

    assert audit_weights(reviewed, [0.25, 0.65]) == (AuditWeight(0.25, 4.0), AuditWeight(0.25, 4.0), None, None)


def test_those_that_came_at_random_stand_for_the_few_passed_over():
    reviewed = [Reviewed(0.1, "random"), Reviewed(0.2, "choice"), Reviewed(0.3, "random")]

    # Below .5: two at random for four that nobody chose, one chosen for itself.
    assert audit_weights(reviewed, [0.15, 0.25, 0.5]) == (
        AuditWeight(0.25, 4.0),
        AuditWeight(0.5, 2.0),
        AuditWeight(0.25, 4.0),
    )


@pytest.mark.parametrize("reviewed", [[], [Reviewed(0.1, "choice")], [Reviewed(0.1, "uncertain")]])
def test_without_a_random_review_there_is_no_estimate_while_edges_are_left(reviewed):
    assert audit_weights(reviewed, [0.5]) is None


@given(
    st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from(["random", "choice", "uncertain"])), max_size=40
    ),
    st.lists(st.floats(0, 1, exclude_max=True), max_size=40),
)
def test_the_weights_add_up_to_the_edges_the_audit_reached(rows, unreviewed):
    reviewed = [Reviewed(draw, route) for draw, route in rows]

    weights = audit_weights(reviewed, unreviewed)

    if weights is None:
        assert not reviewed or all(row.selected_by != "random" for row in reviewed)
        return
    assert len(weights) == len(reviewed)
    members = [(row, weight) for row, weight in zip(reviewed, weights, strict=True) if weight]
    if members:
        tau = max(weight.selection_probability for _, weight in members)
        if any(row.selected_by != "random" for row, _ in members):
            reached = len(members) + sum(draw < tau for draw in unreviewed)
            assert math.fsum(weight.weight for _, weight in members) == pytest.approx(reached / tau)
    for _, weight in members:
        assert 0 < weight.selection_probability <= 1
        assert weight.weight == pytest.approx(1 / weight.selection_probability)


# The proof by simulation


@dataclass
class SimulatedEdge:
    probabilities: tuple[float, float, float]
    gold: int
    audit_draw: float
    selected_by: str | None = None

    @property
    def is_wrong(self):
        return self.probabilities.index(max(self.probabilities)) != self.gold

    def sample(self, weight=1.0):
        return Sample(self.probabilities, self.gold, weight)


def population(chance, n=1000):
    """Edges of an overconfident model that is right about four times in five."""
    edges = []
    for _ in range(n):
        confidence = chance.uniform(0.5, 1.0)
        rest = chance.uniform(0.2, 0.8) * (1 - confidence)
        shuffled = chance.sample((confidence, rest, 1 - confidence - rest), 3)
        probabilities = (shuffled[0], shuffled[1], shuffled[2])
        softened = [p**0.7 for p in probabilities]
        edges.append(SimulatedEdge(probabilities, chance.choices(range(3), softened)[0], chance.random()))
    return edges


def agent_corrects(edges, chance, share=1.0):
    """An agent goes over a share of the edges and reviews most that are wrong and few that are right."""
    for row in edges:
        if row.selected_by is None and chance.random() < share * (0.8 if row.is_wrong else 0.05):
            row.selected_by = "choice"


def audit_reviews(edges, count):
    for row in sorted((row for row in edges if row.selected_by is None), key=lambda row: row.audit_draw)[:count]:
        row.selected_by = "random"


def choice_before_audit(edges, chance):
    agent_corrects(edges, chance)
    audit_reviews(edges, 160)


def choice_after_audit(edges, chance):
    audit_reviews(edges, 160)
    agent_corrects(edges, chance)


def choice_between_audits(edges, chance):
    for _ in range(4):
        audit_reviews(edges, 40)
        agent_corrects(edges, chance, share=0.3)


def audit_column(edges, seed):
    """The weighted column of an evaluation, as the server computes it."""
    reviewed = [row for row in edges if row.selected_by]
    weights = audit_weights(
        [Reviewed(row.audit_draw, row.selected_by) for row in reviewed],
        [row.audit_draw for row in edges if not row.selected_by],
    )
    audit = [row.sample(weight.weight) for row, weight in zip(reviewed, weights, strict=True) if weight]
    return evaluate(audit, chance=random.Random(seed), resamples=200)


def plain_means(edges):
    return {
        "accuracy": np.mean([not row.is_wrong for row in edges]),
        "brier": np.mean([brier_of(row.sample()) for row in edges]),
    }


@pytest.mark.parametrize("history", [choice_before_audit, choice_after_audit, choice_between_audits])
def test_the_weighted_column_is_right_where_the_plain_one_is_wrong(history):
    """Whatever the order of chosen and random reviews: many seeds, no bias, and intervals that cover the truth."""
    errors = {"plain": {"accuracy": [], "brier": []}, "audit": {"accuracy": [], "brier": []}}
    covered = {"accuracy": 0, "brier": 0}
    seeds = range(24)
    for seed in seeds:
        chance = random.Random(seed)
        edges = population(chance)
        history(edges, chance)
        truth, plain = plain_means(edges), plain_means([row for row in edges if row.selected_by])
        audit = audit_column(edges, seed)
        for name, right in truth.items():
            errors["plain"][name].append(plain[name] - right)
            errors["audit"][name].append(getattr(audit, name) - right)
            covered[name] += audit.ci95[name].low <= right <= audit.ci95[name].high

    assert np.mean(errors["plain"]["accuracy"]) < -0.2
    assert np.mean(errors["plain"]["brier"]) > 0.2
    for name, count in covered.items():
        drawn = np.array(errors["audit"][name])
        assert abs(drawn.mean()) < 3 * drawn.std() / math.sqrt(len(seeds)), name
        assert np.abs(drawn).max() < 0.15, name
        assert count >= 20, name


def test_with_every_edge_reviewed_the_weighted_estimate_is_the_plain_mean():
    chance = random.Random(3)
    edges = population(chance, 80)
    agent_corrects(edges, chance)
    audit_reviews(edges, 80)

    audit = audit_column(edges, 1)

    assert {"accuracy": audit.accuracy, "brier": audit.brier} == pytest.approx(plain_means(edges))
    assert audit.n == 80
