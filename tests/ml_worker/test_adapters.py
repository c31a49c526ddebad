"""Adapters: what they compute, what is refused, and that the base is never touched."""

import copy
import json
import os
import pickle
import shutil

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from ml_worker.adapters import AdapterCache, load_adapter
from ml_worker.base_models import load_base
from ml_worker.errors import AdapterRefused
from ml_worker.nli import NliModel
from schema.wire import Pair

PAIRS = [
    Pair(premise="the trial had more patients", hypothesis="more patients"),
    Pair(premise="the stage", hypothesis="the stage is not empty, music"),
]


@pytest.fixture(name="model", scope="module")
def _model(tiny):
    return NliModel(tiny, torch.device("cpu"))


def judge(model, adapter):
    """Logits (2, 3), columns in the base's order."""
    judged = model.judge(model.encode(PAIRS), adapter, representation=False)
    return torch.tensor([[each.logits.of(label) for label in model.base.labels] for each in judged])


def test_merged_logits_equal_those_of_peft_unmerged(model, tiny, adapters_root):
    adapted = PeftModel.from_pretrained(copy.deepcopy(tiny.model), adapters_root / "one").eval()
    encoded = tiny.tokenizer(
        [pair.premise for pair in PAIRS], [pair.hypothesis for pair in PAIRS], padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        unmerged = adapted(**encoded).logits
    merged = judge(model, load_adapter(tiny, adapters_root, "one"))

    assert torch.allclose(merged, unmerged, atol=1e-5)
    assert not torch.allclose(merged, judge(model, None), atol=0.1)


class Operations(TorchDispatchMode):
    """Every tensor operation, by name and shapes, in the order of the calls."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, _types, args=(), kwargs=None):
        shapes = [tuple(each.shape) for each in args if isinstance(each, torch.Tensor)]
        self.seen.append((str(function), shapes))
        return function(*args, **(kwargs or {}))


def operations(model, adapter):
    with Operations() as recorded:
        judge(model, adapter)
    return recorded.seen


def test_judging_with_an_adapter_is_the_same_operations_on_the_same_shapes_as_without(model, tiny, adapters_root):
    """A clock would be wrong on a busy machine; `benchmarks/training.py` has the times."""
    alone = operations(model, None)

    assert operations(model, load_adapter(tiny, adapters_root, "one")) == alone
    layers = [module for module in tiny.model.modules() if isinstance(module, torch.nn.Linear)]
    assert [name for name, _ in alone].count("aten.linear.default") == len(layers)


def test_an_adapter_replaces_its_targets_and_its_head_and_nothing_else(tiny, adapters_root):
    adapter = load_adapter(tiny, adapters_root, "one")
    layers = (f"bert.encoder.layer.{i}.attention.self.{target}.weight" for i in (0, 1) for target in ("query", "value"))

    assert sorted(adapter.parameters) == sorted([*layers, "classifier.weight", "classifier.bias"])
    assert (adapter.path, adapter.temperature) == ("one", 1.5)
    assert load_adapter(tiny, adapters_root, "two").temperature is None


def test_the_base_is_bitwise_what_it_was_after_any_use_of_adapters(model, tiny, adapters_root):
    weights = {name: tensor.clone() for name, tensor in tiny.model.state_dict().items()}
    before = judge(model, None)
    for path in ("one", "two", "one"):
        judge(model, load_adapter(tiny, adapters_root, path))

    assert torch.equal(judge(model, None), before)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in tiny.model.state_dict().items())


def test_an_untrained_adapter_changes_nothing(model, tiny, own_root):
    folder = own_root / "one"
    stored = load_file(folder / "adapter_model.safetensors")
    fresh = {name: torch.zeros_like(t) if "lora_B" in name else t for name, t in stored.items()}
    fresh |= {
        f"base_model.model.classifier.{part}": getattr(tiny.model.classifier, part).detach().clone()
        for part in ("weight", "bias")
    }
    assert set(fresh) == set(stored)
    save_file(fresh, folder / "adapter_model.safetensors")
    adapter = load_adapter(tiny, own_root, "one")

    assert adapter.parameters == {}
    assert torch.equal(judge(model, adapter), judge(model, None))


def test_an_absolute_path_inside_the_root_names_the_same_adapter(tiny, adapters_root):
    assert load_adapter(tiny, adapters_root, str(adapters_root / "one")).path == "one"


@pytest.mark.parametrize("path", ["../root/one", "one/../one", "/etc", "", " ", ".", "absent", "one\0", "x" * 5000])
def test_a_path_that_is_no_adapter_of_the_root_is_refused(path, tiny, own_root):
    with pytest.raises(AdapterRefused, match="name a folder inside the adapters root"):
        load_adapter(tiny, own_root, path)


def test_links_out_of_the_root_are_refused(tiny, own_root, adapters_root):
    (own_root / "linked").symlink_to(adapters_root / "one", target_is_directory=True)
    with pytest.raises(AdapterRefused, match="leads out of the adapters root"):
        load_adapter(tiny, own_root, "linked")

    weights = own_root / "one" / "adapter_model.safetensors"
    weights.unlink()
    weights.symlink_to(adapters_root / "one" / "adapter_model.safetensors")
    with pytest.raises(AdapterRefused, match="link out of the adapters root"):
        load_adapter(tiny, own_root, "one")


def test_a_link_that_stays_inside_the_root_is_followed(tiny, own_root):
    (own_root / "champion").symlink_to("one", target_is_directory=True)

    assert load_adapter(tiny, own_root, "champion").path == "champion"


def test_a_loop_of_links_is_refused(tiny, own_root):
    (own_root / "a").symlink_to("b")
    (own_root / "b").symlink_to("a")

    with pytest.raises(AdapterRefused, match="adapters root"):
        load_adapter(tiny, own_root, "a")


class Bomb:
    def __reduce__(self):
        return (os.abort, ())


@pytest.mark.parametrize("name", ["adapter_model.bin", "optimizer.pt", "deep/state.PKL"])
def test_a_pickle_anywhere_in_the_folder_is_refused_unread(name, tiny, own_root):
    bomb = own_root / "one" / name
    bomb.parent.mkdir(exist_ok=True)
    bomb.write_bytes(pickle.dumps(Bomb()))

    with pytest.raises(AdapterRefused, match="pickle"):
        load_adapter(tiny, own_root, "one")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_weights_are_refused(share, tiny, own_root):
    weights = own_root / "one" / "adapter_model.safetensors"
    os.truncate(weights, int(weights.stat().st_size * share))

    with pytest.raises(AdapterRefused, match=r"adapter_model.safetensors is damaged"):
        load_adapter(tiny, own_root, "one")


def test_a_wrong_base_is_refused_with_both_fingerprints(tiny, own_root, make_model, tmp_path):
    other = load_base(str(make_model(tmp_path / "other", seed=9)))

    with pytest.raises(AdapterRefused) as refusal:
        load_adapter(other, own_root, "one")
    assert tiny.fingerprint in str(refusal.value)
    assert other.fingerprint in str(refusal.value)


@pytest.mark.parametrize("name", ["lyra_adapter.json", "adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_part_is_refused_by_name(name, tiny, own_root):
    (own_root / "one" / name).unlink()

    with pytest.raises(AdapterRefused, match=f"no {name}"):
        load_adapter(tiny, own_root, "one")


@pytest.mark.parametrize("content", ["{", "{}", '{"base_fingerprint": "x", "temperature": 0}', "[]"])
def test_a_manifest_that_makes_no_sense_is_refused(content, tiny, own_root):
    (own_root / "one" / "lyra_adapter.json").write_text(content, encoding="utf-8")

    with pytest.raises(AdapterRefused, match=r"lyra_adapter.json"):
        load_adapter(tiny, own_root, "one")


def change_weights(folder, change):
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


@pytest.mark.filterwarnings("ignore:Found missing adapter keys:UserWarning")  # peft only warns; we refuse
@pytest.mark.parametrize(
    "change",
    [
        lambda stored: dict(list(stored.items())[1:]),
        lambda stored: {**stored, "more": torch.ones(1)},
        lambda stored: {name: tensor[..., :-1].contiguous() for name, tensor in stored.items()},
        lambda stored: {name: tensor * torch.nan for name, tensor in stored.items()},
    ],
    ids=["one missing", "one too many", "other shapes", "not finite"],
)
def test_weights_that_do_not_fit_are_refused(change, tiny, own_root):
    change_weights(own_root / "one", change)

    with pytest.raises(AdapterRefused, match="train it again"):
        load_adapter(tiny, own_root, "one")


def test_an_adapter_for_modules_the_base_has_not_is_refused(tiny, own_root):
    path = own_root / "one" / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"target_modules": ["query_proj"]}
    path.write_text(json.dumps(config), encoding="utf-8")

    with pytest.raises(AdapterRefused, match="does not fit"):
        load_adapter(tiny, own_root, "one")


def test_the_cache_keeps_the_adapters_used_last_and_no_more(tiny, own_root):
    for i in range(4):
        shutil.copytree(own_root / "one", own_root / f"copy{i}")
    cache = AdapterCache(tiny, own_root, adapters_max=2)
    first, second = cache.find("copy0"), cache.find("copy1")
    assert cache.find("copy0") is first
    cache.find("copy2")

    assert len(cache) == 2
    assert cache.find("copy0") is first
    assert cache.find("copy1") is not second


def test_an_adapter_replaced_on_disk_is_read_anew_and_a_damaged_one_is_not_served_from_memory(tiny, own_root):
    cache = AdapterCache(tiny, own_root)
    before = cache.find("one")
    shutil.rmtree(own_root / "one")
    shutil.copytree(own_root / "two", own_root / "one")
    after = cache.find("one")
    assert (before.digest, before.temperature) != (after.digest, after.temperature)

    (own_root / "one" / "lyra_adapter.json").unlink()
    with pytest.raises(AdapterRefused):
        cache.find("one")
