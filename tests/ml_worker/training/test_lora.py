"""Where an adapter goes, in every family, and how it comes back."""

import json
from collections import Counter
from importlib.metadata import version

import pytest
import torch
from torch import nn
from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

from ml_worker.adapters import load_adapter
from ml_worker.base_models import load_base
from ml_worker.job_folders import JobRefused
from ml_worker.nli import NliModel
from ml_worker.training import artifacts, lora
from ml_worker.training.training_data import texts
from schema.jobs import NLI_LORA_RECIPES, NliLoraRecipe
from schema.wire import Pair


def deberta():
    config = DebertaV2Config(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        relative_attention=True,
        share_att_key=True,
        pos_att_type=["c2p", "p2c"],
        num_labels=3,
    )
    return DebertaV2ForSequenceClassification(config)


def published(*, hidden, layers, heads):
    """A DeBERTa v3 as it is published, on no device: shapes without numbers."""
    config = DebertaV2Config(
        vocab_size=128_100,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        max_position_embeddings=512,
        relative_attention=True,
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
        pooler_hidden_size=hidden,
        num_labels=3,
    )
    with torch.device("meta"):
        return DebertaV2ForSequenceClassification(config)


SMALL = {"hidden": 768, "layers": 6, "heads": 12}
XSMALL = {"hidden": 384, "layers": 12, "heads": 6}


def test_the_query_and_value_projections_of_bert_are_found(base):
    assert lora.find_targets(base.model, "query_value") == ["query", "value"]


def test_the_query_and_value_projections_of_deberta_are_found():
    assert lora.find_targets(deberta(), "query_value") == ["query_proj", "value_proj"]


@pytest.mark.parametrize("family", ["bert", "deberta"])
def test_linear_means_the_layers_and_neither_pooler_nor_embeddings(family, base):
    model = base.model if family == "bert" else deberta()
    adapted = lora.attach(model, NliLoraRecipe(targets="linear"))
    places = {name.split(".lora_")[0] for name in lora.trainable(adapted) if ".lora_" in name}

    assert len(places) == 2 * 6  # layers * (query, key, value, output, up, down)
    assert not any("pooler" in place or "embedding" in place for place in places)


def test_a_model_without_such_layers_is_refused_by_name():
    with pytest.raises(JobRefused, match=r"Sequential has no layers for targets='query_value'.*\['0'\]") as caught:
        lora.find_targets(nn.Sequential(nn.Linear(2, 2)), "query_value")

    assert caught.value.problem.code == "no_target_modules"


def test_a_projection_of_768_learns_12288_numbers_in_the_place_of_589824():
    model = lora.attach(published(**SMALL), NLI_LORA_RECIPES["seed"])
    parameters = dict(model.named_parameters())
    learned = Counter()
    for name, parameter in lora.trainable(model).items():
        if ".lora_" in name:
            learned[name.partition(".lora_")[0]] += parameter.numel()
    full = {place: parameters[f"{place}.base_layer.weight"].numel() for place in learned}

    assert list(learned.values()) == [12_288] * 2 * SMALL["layers"]
    assert list(full.values()) == [589_824] * 2 * SMALL["layers"]
    assert {full[place] / learned[place] for place in learned} == {48}


@pytest.mark.parametrize(
    ("size", "recipe_name", "learned", "share"),
    [
        (SMALL, "seed", 2 * 6 * 12_288 + 768 * 3 + 3, 0.0011),
        (XSMALL, "seed", 2 * 12 * 6_144 + 384 * 3 + 3, 0.0021),
        (SMALL, "default", 6 * (4 * 12_288 + 2 * 30_720) + 768 * 3 + 3, 0.0047),
        (XSMALL, "default", 12 * (4 * 6_144 + 2 * 15_360) + 384 * 3 + 3, 0.0093),
    ],
)
def test_a_published_model_learns_with_less_than_a_hundredth_of_itself(size, recipe_name, learned, share):
    model = lora.attach(published(**size), NLI_LORA_RECIPES[recipe_name])

    assert lora.trainable_parameters(model) == learned
    assert round(lora.trainable_share(model), 4) == share
    assert learned * 4 < 5_000_000  # bytes of float32


def test_the_default_adapter_of_the_builtin_base_is_a_fiftieth_of_it_at_most():
    model = lora.attach(load_base("builtin").model, NLI_LORA_RECIPES["default"])

    assert lora.trainable_share(model) <= 0.02
    assert 4 * lora.trainable_parameters(model) < len(lora.weights(model)) < 5_000_000


def test_the_written_adapter_serves_as_it_was_trained(make_training, make_job, base_folder):
    training = make_training()
    training.run()
    folder = make_job()
    artifacts.publish_adapter(folder, folder.read_request(), training, temperature=1.25)

    base = load_base(str(base_folder))
    adapter = load_adapter(base, folder.path, "adapter")
    nli = NliModel(base, torch.device("cpu"))
    pairs = texts(training.data.parts.holdout)
    served = nli.judge(nli.encode([Pair(premise=p, hypothesis=h) for p, h in pairs]), adapter, representation=False)

    found = torch.tensor([[j.logits.of(label) for label in base.labels] for j in served])
    assert torch.allclose(found, training.logits(pairs), atol=1e-5)
    assert adapter.temperature == 1.25


def test_the_adapter_is_small_and_holds_neither_base_nor_pickle(make_training, make_job, base_folder):
    training = make_training()
    folder = make_job()
    artifacts.publish_adapter(folder, folder.read_request(), training, temperature=1.0)

    names = {file.name for file in folder.adapter.iterdir()}
    assert names == {"adapter_model.safetensors", "adapter_config.json", "lyra_adapter.json"}
    config = json.loads((folder.adapter / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (4, 32, 0.1)
    linear = lora.find_targets(load_base(str(base_folder)).model, "linear")
    assert (config["task_type"], config["target_modules"]) == ("SEQ_CLS", linear)
    manifest = json.loads((folder.adapter / "lyra_adapter.json").read_text())
    assert manifest["base_fingerprint"] == training.base.fingerprint
    assert manifest["environment"]["peft"] == version("peft")
