"""Judging a file of labelled pairs, and the halves a temperature is fitted and checked on."""

import gzip
import json

import numpy as np
import pytest
import torch

from ml_worker.evaluation.labelled_pairs import (
    LabelledPair,
    expected_calibration_error,
    judge_pairs,
    read_pairs,
    sum_up,
)
from ml_worker.nli import NliModel
from ml_worker.training.calibrate_base import calibrate, is_for_fitting
from schema.vocabulary import LABELS
from schema.wire import Pair


@pytest.fixture
def write(tmp_path):
    def _write(rows):
        path = tmp_path / "scifact.jsonl.gz"
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        return path

    return _write


def test_pairs_of_other_splits_are_left_out_and_a_missing_source_is_the_files_name(write):
    row = {"premise": "p", "hypothesis": "h", "label": "neutral"}
    path = write([row, {**row, "split": "train"}, {**row, "split": "dev", "source": "elsewhere"}])

    assert read_pairs(path, split="dev") == [
        LabelledPair("p", "h", "neutral", "scifact"),
        LabelledPair("p", "h", "neutral", "elsewhere"),
    ]
    assert len(read_pairs(path)) == 3


def test_judging_in_batches_of_similar_length_keeps_the_order_of_the_pairs(tiny):
    model = NliModel(tiny, torch.device("cpu"))
    pairs = [("the trial " * (1 + i * 7 % 5), "more patients " * (1 + i % 3)) for i in range(70)]

    judged = judge_pairs(model, pairs)

    for i in (0, 1, 42, 69):
        (one,) = model.judge(
            model.encode([Pair(premise=pairs[i][0], hypothesis=pairs[i][1])]), None, representation=False
        )
        assert judged.logits[i] == pytest.approx([getattr(one.logits, label) for label in LABELS], abs=1e-5)


def test_the_calibration_error_has_fifteen_bins():
    """Two answers of one tenth and of one fifteenth: 0.61 and 0.66 share a tenth, but no fifteenth."""
    found = np.array([[0.61, 0.2, 0.19], [0.66, 0.2, 0.14]])

    # (0.6, 0.667] holds both: mean confidence 0.635, accuracy 0.5.
    assert expected_calibration_error(found, np.array([0, 1])) == pytest.approx(0.135)
    apart = np.array([[0.59, 0.21, 0.2], [0.61, 0.2, 0.19]])
    assert expected_calibration_error(apart, np.array([0, 1])) == pytest.approx((0.41 + 0.61) / 2)


def _overconfident(count):
    """Pairs whose logits are three times as far apart as their labels deserve."""
    chance = np.random.default_rng(3)
    logits = chance.normal(size=(count, 3)) * 1.5
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = [LABELS[chance.choice(3, p=row)] for row in shares]
    pairs = [LabelledPair(f"premise {i // 2}", f"hypothesis {i}", label, "made up") for i, label in enumerate(labels)]
    return pairs, logits * 3


def test_the_temperature_that_made_the_logits_is_found_and_mends_the_other_half():
    pairs, logits = _overconfident(6_000)

    outcome = calibrate(pairs, logits, seed=1)

    assert outcome["temperature"] == pytest.approx(3, rel=0.06)
    other = outcome["other_half"]["made up"]
    assert (outcome["fitted_on"] + other["n"], outcome["accuracy_on_all"]["all"]["n"]) == (6_000, 6_000)
    assert other["ece"] < 0.03
    assert other["ece_raw"] > 0.15
    assert other["nll"] < other["nll_raw"]


def test_a_premise_lies_in_one_half_and_a_seed_changes_the_halves():
    pairs, _ = _overconfident(400)

    halves = {seed: [is_for_fitting(pair, seed) for pair in pairs] for seed in (1, 2)}
    assert halves[1][::2] == halves[1][1::2]
    assert halves[1] != halves[2]
    assert 0.4 < sum(halves[1]) / len(pairs) < 0.6


def test_a_summary_stands_beside_whoever_always_says_the_commonest_label():
    logits = np.eye(3)[[0, 0, 1, 2]] * 4.0

    found = sum_up(logits, ["supports", "supports", "refutes", "refutes"], temperature=2.0)

    assert (found["n"], found["accuracy"], found["majority"]) == (4, 0.75, 0.5)
    assert found["nll"] != found["nll_raw"]
