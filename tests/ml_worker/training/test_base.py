"""The base's training: what an epoch goes through, soft targets, and going on after an end in the middle."""

import argparse
import gzip
import io
import json

import pytest
import torch
from transformers import AutoTokenizer

from ml_worker.training.base import Learner, encoding, load_model, read_training, train
from ml_worker.training.base_pairs import Pairs, read_everyday
from schema.vocabulary import LABELS

ROWS = [
    {"premise": f"the trial had {n} patients", "hypothesis": f"the trial had {n} patients", "label": "supports"}
    | {"source": "conjnli" if n == 99 else "real"}
    for n in (*range(20, 40), 99)
] + [{"premise": "the stage", "hypothesis": "not music", "label": "neutral", "source": "real"}]


@pytest.fixture
def options(tmp_path):
    data = tmp_path / "train.jsonl.gz"
    with gzip.open(data, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in ROWS)
    return argparse.Namespace(
        data=data, out=tmp_path, repeat=[], everyday=0, counting=0, opposites=0, crossed=0, number_pairs=2, teachers=[],
        teachers_share=0.5, batch=4, seed=3, epochs=2, learning_rate=1e-3, weight_decay=0.01, warmup_share=0.1,
        average_decay=0.9, dropout=0.1, checkpoint_s=1e9, steps_max=0,
    )  # fmt: skip


@pytest.fixture
def encode(tiny_folder):
    return encoding(AutoTokenizer.from_pretrained(tiny_folder))


def learn(folder, pairs, encode, options) -> Learner:
    torch.manual_seed(options.seed)
    model = load_model(folder, options.dropout)
    learner = Learner(model, options, options.epochs * pairs.batches_an_epoch)
    if (options.out / "checkpoint.pt").exists():
        learner.restore(options.out)
    model.train()
    train(learner, pairs, encode, options, io.StringIO())
    return learner


def test_an_epoch_meets_every_pair_once_and_its_variants_with_figures_of_that_epoch(options, encode):
    pairs = read_training(options, encode)
    planned = list(pairs.plan(1))

    assert sorted(i for _, indices in planned for i in indices) == list(range(21 + 2 * 20))
    assert [pairs.draw(epoch, 0)[0] for epoch in (0, 1)] == [ROWS[0], ROWS[0]]
    drawn = [[pairs.draw(epoch, index)[0]["premise"] for index in range(21, 61)] for epoch in (0, 1)]
    assert drawn[0] != drawn[1]


def test_our_own_pairs_count_as_their_labels_say_and_ask_no_teacher(options, encode, tiny_folder):
    options.everyday, options.teachers = 2, [tiny_folder]
    pairs = read_training(options, encode)

    assert len(pairs.targets) == 21 + 2 * len(read_everyday())
    assert {max(target) for target in pairs.targets[21:].tolist()} == {1.0}
    assert len(torch.load(options.out / "teachers.pt", weights_only=True)) == 21


def test_half_of_a_target_is_what_the_teachers_said(options, encode, tiny_folder):
    plain = read_training(options, encode).targets
    options.teachers = [tiny_folder]
    soft = read_training(options, encode).targets
    kept = torch.load(options.out / "teachers.pt", weights_only=True)

    assert plain.sum(1).tolist() == [1.0] * 21
    assert kept.std(0).max() > 1e-4  # it says different things of different pairs
    assert torch.allclose(soft, (plain + kept) / 2)


def test_a_run_that_was_ended_in_the_middle_goes_on_to_the_same_weights(options, encode, tiny_folder):
    pairs = read_training(options, encode)
    whole = learn(tiny_folder, pairs, encode, options)
    options.steps_max = 7
    learn(tiny_folder, pairs, encode, options).save(options.out)
    options.steps_max = 0
    continued = learn(tiny_folder, pairs, encode, options)

    assert (continued.step, pairs.batches_an_epoch) == (whole.step, whole.step // 2) == (32, 16)
    assert all(torch.equal(continued.average[name], average) for name, average in whole.average.items())
    assert all(torch.equal(a, b) for a, b in zip(continued.model.parameters(), whole.model.parameters(), strict=True))


def test_embeddings_stay_and_the_layers_learn(options, encode, tiny_folder):
    before = load_model(tiny_folder).state_dict()
    after = learn(tiny_folder, read_training(options, encode), encode, options).model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}

    assert not {name for name in changed if "word_embeddings" in name or "position_embeddings" in name}
    assert {name for name in before if "layer.1" in name} <= changed


def test_batches_hold_pairs_of_like_length(options, encode):
    texts = [{"premise": "a" * n, "hypothesis": "b", "label": "neutral", "source": "real"} for n in range(64)]
    pairs = Pairs(texts, torch.zeros(64, 3), batch=8, seed=1)

    assert {max(indices) - min(indices) for _, indices in pairs.plan(1)} == {7}


def test_our_own_pairs_have_every_label_as_often_and_no_sentence_twice():
    rows = read_everyday()
    premises = {row["premise"] for row in rows}

    assert [sum(row["label"] == label for row in rows) for label in LABELS] == [len(premises)] * 3
    assert len({row["hypothesis"] for row in rows} | premises) == 4 * len(premises)
    assert len(premises) > 100


def test_short_pairs_with_figures_are_compared_in_every_epoch(options, encode):
    options.data, options.counting = None, 60
    pairs = read_training(options, encode)
    drawn = [pairs.draw(0, index)[0] for index in range(60)]

    assert {row["source"] for row in drawn} == {"counting"}
    assert {row["label"] for row in drawn} == {"supports", "refutes"}
    assert sum(" than " in row["hypothesis"] for row in drawn) > 10


def test_unrelated_sentences_are_neutral_and_come_from_one_source(options, encode):
    options.data, options.number_pairs, options.crossed = None, 0, 200
    own = {(row["premise"], row["hypothesis"]) for row in read_everyday()}
    crossed = read_training(options, encode).rows

    assert {row["label"] for row in crossed} == {"neutral"}
    assert not own & {(row["premise"], row["hypothesis"]) for row in crossed}
    assert {row["hypothesis"] for row in crossed} <= {hypothesis for _, hypothesis in own}
    assert len({row["premise"] for row in crossed}) > 50
