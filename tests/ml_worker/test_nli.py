"""Judging batches in process: padding, truncation, representations, failures."""

import base64
import dataclasses

import numpy as np
import pytest
import torch

from ml_worker.base_models import TOKENS_MAX, BaseModel
from ml_worker.errors import Failed
from ml_worker.nli import NliModel, representation_layer
from schema.wire import Pair

SHORT = Pair(premise="the trial", hypothesis="patients")
MEDIUM = Pair(premise="the hospital had more patients than the stage", hypothesis="the stage is empty")
LONG = Pair(premise="music " * 400, hypothesis="not empty")


@pytest.fixture(name="model", scope="module")
def _model(tiny: BaseModel) -> NliModel:
    return NliModel(tiny, torch.device("cpu"))


def vector(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype="<f4")


def test_a_pair_is_judged_the_same_alone_and_padded_in_a_batch(model):
    together = model.judge(model.encode([SHORT, MEDIUM, LONG]), None, representation=True)
    for pair, judged in zip([SHORT, MEDIUM, LONG], together, strict=True):
        (alone,) = model.judge(model.encode([pair]), None, representation=True)
        for label in model.base.labels:
            assert judged.logits.of(label) == pytest.approx(alone.logits.of(label), abs=1e-5)
        assert vector(judged.representation) == pytest.approx(vector(alone.representation), abs=1e-5)


def test_a_long_pair_says_that_it_was_truncated_and_fits_the_model(model):
    encoded = model.encode([SHORT, LONG, Pair(premise="not", hypothesis="music " * 9000)])

    assert [pair.truncated for pair in encoded] == [False, True, True]
    assert [pair.length for pair in encoded][1:] == [model.base.tokens_max] * 2
    judgements = model.judge(encoded, None, representation=False)
    assert [judgement.truncated for judgement in judgements] == [False, True, True]


def test_a_pair_of_exactly_the_limit_is_not_truncated(model):
    special = model.encode([Pair(premise="music", hypothesis="music")])[0].length - 2
    words = model.base.tokens_max - special
    exact = Pair(premise="music " * (words - 1), hypothesis="music")
    beyond = Pair(premise="music " * words, hypothesis="music")

    assert [pair.truncated for pair in model.encode([exact, beyond])] == [False, True]


def test_cutting_a_very_long_text_first_changes_nothing_the_model_sees(model):
    text = "the hospital had more patients, " * 100
    uncut = model.base.tokenizer(text, text, truncation="longest_first", max_length=model.base.tokens_max)
    (encoded,) = model.encode([Pair(premise=text, hypothesis=text)])

    assert encoded.inputs["input_ids"] == uncut["input_ids"]


def test_the_shorter_text_survives_truncation_whole(model):
    (encoded,) = model.encode([LONG])
    tail = model.base.tokenizer.decode(encoded.inputs["input_ids"][-4:])

    assert tail == "[SEP] not empty [SEP]"


def test_premise_and_hypothesis_are_told_apart(model):
    forward, backward = model.judge(
        model.encode([MEDIUM, Pair(premise=MEDIUM.hypothesis, hypothesis=MEDIUM.premise)]), None, representation=False
    )

    assert forward.logits != backward.logits


def test_the_representation_is_the_mean_of_a_middle_layer_over_real_tokens(model):
    judged = model.judge(model.encode([SHORT, MEDIUM]), None, representation=True)[0]
    base = model.base
    inputs = base.tokenizer(SHORT.premise, SHORT.hypothesis, return_tensors="pt")
    with torch.inference_mode():
        hidden = base.model(**inputs, output_hidden_states=True).hidden_states[1][0]  # (T, H), after layer 1 of 2
    expected = hidden.mean(dim=0)
    expected = (expected / expected.norm()).numpy()

    assert representation_layer(2) == 1
    assert vector(judged.representation) == pytest.approx(expected, abs=1e-5)
    assert vector(judged.representation).shape == (base.hidden_size,)


def test_asking_for_representations_does_not_change_the_logits(model):
    encoded = model.encode([MEDIUM])
    with_it = model.judge(encoded, None, representation=True)[0]
    without = model.judge(encoded, None, representation=False)[0]

    assert with_it.logits == without.logits
    assert without.representation is None


def test_logits_that_are_not_finite_are_an_error_never_a_neutral_zero(tiny, make_model, tmp_path):
    from ml_worker.base_models import load_base  # noqa: PLC0415

    base = load_base(str(make_model(tmp_path / "broken")))
    with torch.no_grad():
        base.model.classifier.weight[0, 0] = torch.nan
    model = NliModel(base, torch.device("cpu"))

    with pytest.raises(Failed, match="not finite"):
        model.judge(model.encode([SHORT, MEDIUM]), None, representation=False)


def test_no_model_reads_more_than_the_limit_of_the_worker(tiny):
    assert tiny.tokens_max == 64 <= TOKENS_MAX
    assert dataclasses.is_dataclass(tiny)
