"""Who trains and who is held out: laws, for any samples."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ml_worker.training.balance import balance_warnings, label_counts
from ml_worker.training.rehearsal import build_pairs
from ml_worker.training.splits import split
from schema.jobs import Sample, premise_key
from schema.vocabulary import LABELS


def sample(i, *, premise=None, label="supports", page=None, earlier=None, domain=None):
    return Sample(
        sample_id=f"s{i}",
        premise=premise or f"premise {i}",
        hypothesis=f"hypothesis {i}",
        label=label,
        source="correction",
        page_id=page,
        domain=domain,
        earlier=earlier,
    )


@st.composite
def any_samples(draw):
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 30),
                st.sampled_from(LABELS),
                st.none() | st.integers(0, 10).map(str),
                st.none() | st.sampled_from(("train", "holdout")),
            ),
            max_size=80,
        )
    )
    return [
        sample(i, premise=f"text {p}", label=label, page=page, earlier=e) for i, (p, label, page, e) in enumerate(rows)
    ]


@given(any_samples(), st.integers(0, 5))
def test_every_sample_is_in_one_part_and_no_page_or_premise_in_two(samples, seed):
    parts = split(samples, seed=seed, validation_share=0.2)
    sides = (parts.train, parts.validation, parts.holdout)

    assert sorted(s.sample_id for side in sides for s in side) == sorted(s.sample_id for s in samples)
    for key in (lambda s: premise_key(s.premise), lambda s: s.page_id):
        found = [{key(s) for s in side} - {None} for side in sides]
        assert sum(map(len, found)) == len(set.union(*found))


@given(any_samples(), st.integers(0, 5))
def test_what_was_trained_once_is_never_held_out(samples, seed):
    assert all(s.earlier != "train" for s in split(samples, seed=seed, validation_share=0.2).holdout)


@given(st.lists(st.sampled_from(LABELS), min_size=5, max_size=200), st.integers(0, 5))
def test_each_label_is_held_out_in_the_same_share(labels, seed):
    samples = [sample(i, label=label) for i, label in enumerate(labels)]
    held = Counter(s.label for s in split(samples, seed=seed, validation_share=0.1).holdout)

    assert all(abs(held[label] - 0.2 * n) <= 0.5 for label, n in Counter(labels).items())


def test_a_label_with_one_sample_trains():
    samples = [sample(i) for i in range(40)] + [sample(40, label="neutral")]

    assert "neutral" in {s.label for s in split(samples, seed=1, validation_share=0.1).train}


def test_the_seed_decides_and_nothing_else():
    samples = [sample(i) for i in range(100)]

    assert split(samples, seed=1, validation_share=0.1) == split(samples, seed=1, validation_share=0.1)
    assert split(samples, seed=1, validation_share=0.1) != split(samples, seed=2, validation_share=0.1)


def test_what_was_held_out_before_stays_held_out_when_samples_come_in():
    first = split([sample(i) for i in range(100)], seed=1, validation_share=0.1)
    held = {s.sample_id for s in first.holdout}
    samples = [sample(i, earlier=("holdout" if f"s{i}" in held else "train") if i < 100 else None) for i in range(150)]
    second = split(samples, seed=9, validation_share=0.1)

    assert held <= {s.sample_id for s in second.holdout}
    assert len(second.holdout) == 30


def test_case_and_white_space_do_not_make_another_premise():
    samples = [sample(i, premise=text) for i, text in enumerate(["The  Sea", "the sea", "THE SEA "] * 10)]

    assert not split(samples, seed=1, validation_share=0.2).holdout


def test_a_domain_that_dominates_is_warned_of():
    skewed = [sample(i, domain="a.org" if i % 5 else "b.org", label=LABELS[i % 3]) for i in range(50)]
    even = [sample(i, domain=f"{i % 3}.org", label=LABELS[i % 3]) for i in range(50)]

    assert ["80%" in warning and "a.org" in warning for warning in balance_warnings(skewed)] == [True]
    assert balance_warnings(even) == []


def test_a_label_with_few_samples_is_warned_of_and_counted():
    samples = [sample(i, label="neutral" if i < 3 else "refutes") for i in range(50)]

    assert [(count.name, count.n) for count in label_counts(samples)] == [
        ("supports", 0),
        ("refutes", 47),
        ("neutral", 3),
    ]
    assert len(balance_warnings(samples)) == 2


def test_built_pairs_are_new_and_repeatable():
    samples = [sample(i, premise=f"one clause {i}, and another. A sentence {i}") for i in range(30)]
    built = build_pairs(samples, 100, seed=3)

    assert len(built) == len(set(built)) == 100
    assert not set(built) & {(s.premise, s.hypothesis) for s in samples}
    assert built == build_pairs(samples, 100, seed=3)
    assert all(premise.strip() and hypothesis.strip() for premise, hypothesis in built)


def test_no_pairs_can_be_built_from_nothing():
    assert build_pairs([], 10, seed=1) == []
