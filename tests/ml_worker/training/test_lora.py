"""Where an adapter goes, in every family, and how it comes back."""

import json
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
from schema.jobs import NliLoraRecipe
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


def test_the_adapter_is_small_and_holds_neither_base_nor_pickle(make_training, make_job):
    training = make_training()
    folder = make_job()
    artifacts.publish_adapter(folder, folder.read_request(), training, temperature=1.0)

    names = {file.name for file in folder.adapter.iterdir()}
    assert names == {"adapter_model.safetensors", "adapter_config.json", "lyra_adapter.json"}
    config = json.loads((folder.adapter / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["task_type"]) == (4, 32, "SEQ_CLS")
    manifest = json.loads((folder.adapter / "lyra_adapter.json").read_text())
    assert manifest["base_fingerprint"] == training.base.fingerprint
    assert manifest["environment"]["peft"] == version("peft")
