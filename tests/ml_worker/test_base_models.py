"""Base models: labels by name, fingerprints, refusals, and the bytes of the shipped one."""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DebertaV2Tokenizer,
)

from ml_worker import difference
from ml_worker.base_models import BUILTIN_FOLDER, load_base, load_builtin, read_labels
from ml_worker.encoder import TamperedFile, encoder_folder, sha256, verify_folder
from ml_worker.errors import BaseRefused
from ml_worker.nli import NliModel
from schema.pulled_models import PULLED, PulledFile, PulledModel
from schema.wire import Pair

PAIRS = [
    Pair(premise="the trial had more patients", hypothesis="more patients"),
    Pair(premise="the stage", hypothesis="the stage is not empty, music"),
]
ORDERS = (("contradiction", "entailment", "neutral"), ("entailment", "neutral", "contradiction"))

#: hidden, layers, heads, intermediate: the published nli-deberta-v3-xsmall and -small.
GEOMETRIES = {"xsmall": (384, 12, 6, 1536), "small": (768, 6, 12, 3072)}


def test_labels_are_read_by_name_in_any_order_and_case():
    assert read_labels({2: "NEUTRAL", 0: "Contradiction", 1: "entailment"}) == ("refutes", "supports", "neutral")


@pytest.mark.parametrize(
    "names",
    [
        ("LABEL_0", "LABEL_1", "LABEL_2"),
        ("entailment", "neutral"),
        ("entailment", "entail", "neutral"),
        ("entailment", "neutral", "contradiction", "neutral"),
    ],
)
def test_unknown_missing_and_repeated_label_names_are_refused(names):
    with pytest.raises(BaseRefused, match="entailment, contradiction and neutral"):
        read_labels(dict(enumerate(names)))


def test_the_label_order_of_the_folder_decides_which_logit_is_which(make_model, tmp_path):
    first, second = (make_model(tmp_path / str(i), names=order, seed=7) for i, order in enumerate(ORDERS))
    # Same weights, so column k has the same logit in both; only its name differs.
    one, two = (NliModel(load_base(str(folder)), torch.device("cpu")) for folder in (first, second))
    by_first = one.judge(one.encode(PAIRS), None, representation=False)[0].logits
    by_second = two.judge(two.encode(PAIRS), None, representation=False)[0].logits

    assert (by_first.refutes, by_first.supports, by_first.neutral) == (
        by_second.supports,
        by_second.neutral,
        by_second.refutes,
    )
    assert one.base.fingerprint != two.base.fingerprint


def write_deberta(folder: Path, geometry: str, names: tuple[str, ...]) -> Path:
    """The published geometry with random weights and a small vocabulary, its tokenizer from sentencepiece."""
    folder.mkdir()
    text = ["the trial had more patients than the hospital", "the stage is not empty", "a guitar makes music"] * 20
    with (folder / "spm.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(text), model_writer=file, vocab_size=60, hard_vocab_limit=False, minloglevel=2
        )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    learned = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(3, len(pieces))]
    special = [("[PAD]", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[UNK]", 0.0)]
    tokenizer = DebertaV2Tokenizer(vocab=[*special, *learned, ("[MASK]", 0.0)], unk_id=3, model_max_length=512)
    tokenizer.save_pretrained(folder)
    hidden, layers, heads, intermediate = GEOMETRIES[geometry]
    torch.manual_seed(1)
    config = DebertaV2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        max_position_embeddings=512,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        pooler_hidden_size=hidden,
        pooler_dropout=0,
        pooler_hidden_act="gelu",
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
    )
    DebertaV2ForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("names", ORDERS, ids=lambda names: names[0])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_deberta_v2_in_the_published_geometry_judges_like_the_model_called_directly(geometry, names, tmp_path):
    folder = write_deberta(tmp_path / "deberta", geometry, names)
    model = NliModel(load_base(str(folder)), torch.device("cpu"))
    judgements = model.judge(model.encode(PAIRS), None, representation=True)

    direct = DebertaV2ForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    meaning = {"entailment": "supports", "contradiction": "refutes", "neutral": "neutral"}
    for pair, judgement in zip(PAIRS, judgements, strict=True):
        with torch.inference_mode():
            logits = direct(**tokenizer(pair.premise, pair.hypothesis, return_tensors="pt")).logits[0]
        for column, name in enumerate(names):
            assert judgement.logits.of(meaning[name]) == pytest.approx(logits[column].item(), abs=1e-4)
    assert model.base.hidden_size == GEOMETRIES[geometry][0]
    assert model.base.tokens_max == 512


def test_the_fingerprint_changes_with_weights_tokenizer_and_labels_and_with_nothing_else(make_model, tmp_path):
    folders = {
        "same": make_model(tmp_path / "same"),
        "again": make_model(tmp_path / "again"),
        "weights": make_model(tmp_path / "weights", seed=2),
        "labels": make_model(tmp_path / "labels", names=ORDERS[1]),
        "tokenizer": make_model(tmp_path / "tokenizer"),
    }
    path = folders["tokenizer"] / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"guitar"', '"piano"'), encoding="utf-8")
    found = {name: load_base(str(folder)).fingerprint for name, folder in folders.items()}

    assert found["same"] == found["again"]
    assert len(set(found.values())) == 4


def test_using_a_tokenizer_does_not_change_the_fingerprint(tiny, tiny_folder):
    model = NliModel(tiny, torch.device("cpu"))
    model.encode(PAIRS)
    tiny.tokenizer(["a", "a b"], padding=True, truncation=True, max_length=8)

    assert load_base(str(tiny_folder)).fingerprint == tiny.fingerprint


def test_a_missing_folder_and_a_folder_without_a_model_are_refused_with_the_next_step(tmp_path):
    with pytest.raises(BaseRefused, match="no folder"):
        load_base(str(tmp_path / "absent"))
    with pytest.raises(BaseRefused, match="lyra-mcp models pull"):
        load_base(str(tmp_path))


def test_a_hugging_face_id_that_is_not_here_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(BaseRefused, match="lyra-mcp models pull example/nli-model"):
        load_base("example/nli-model")


def test_a_base_stored_as_a_pickle_is_refused(make_model, tmp_path):
    folder = make_model(tmp_path / "model")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()

    with pytest.raises(BaseRefused):
        load_base(str(folder))


def test_a_difference_gives_the_trained_tensors_back_within_half_a_step():
    torch.manual_seed(0)
    encoder = {"matrix": torch.randn(64, 96), "bias": torch.randn(96), "same": torch.randn(64, 96)}
    change = 0.1 * torch.randn(64, 96)
    trained = {"matrix": encoder["matrix"] + change, "bias": encoder["bias"] + 1, "same": encoder["same"]}
    stored = difference.subtract(trained, encoder)

    assert set(stored) == {"matrix.q", "matrix.scale", "bias"}
    restored = difference.add(stored, encoder)
    step = change.abs().amax(dim=1, keepdim=True) / 127
    assert ((restored["matrix"] - trained["matrix"]).abs() <= 0.51 * step).all()
    assert torch.equal(restored["bias"], trained["bias"])


@pytest.fixture(name="builtin", scope="module")
def _builtin():
    return load_base("builtin")


def test_the_builtin_base_is_the_encoder_with_a_trained_head(builtin):
    encoder = BertForSequenceClassification.from_pretrained(encoder_folder(), num_labels=3).state_dict()
    state = builtin.model.state_dict()

    assert (builtin.name, sorted(builtin.labels)) == ("builtin", ["neutral", "refutes", "supports"])
    embeddings = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(state[embeddings], encoder[embeddings])
    assert not torch.equal(state["classifier.weight"], encoder["classifier.weight"])
    assert load_builtin().fingerprint == builtin.fingerprint


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_tampered_byte_of_the_encoder_or_its_tokenizer_is_refused(name, tmp_path):
    folder = Path(shutil.copytree(encoder_folder(), tmp_path / "encoder"))
    verify_folder(folder)
    flip_last_byte(folder / name)

    with pytest.raises(TamperedFile, match=f"{name} has SHA-256"):
        verify_folder(folder)


def test_a_tampered_byte_of_the_shipped_difference_is_refused(tmp_path):
    folder = Path(shutil.copytree(BUILTIN_FOLDER, tmp_path / "builtin"))
    flip_last_byte(folder / "difference.safetensors")

    with pytest.raises(BaseRefused, match=r"difference.safetensors has SHA-256"):
        load_builtin(folder)


def test_a_shipped_base_without_its_manifest_is_refused(tmp_path):
    with pytest.raises(BaseRefused, match="reinstall"):
        load_builtin(tmp_path)


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(content)


def test_packing_a_fine_tuned_folder_and_loading_it_gives_the_same_model(builtin, monkeypatch, tmp_path):
    from ml_worker.training import pack_base  # noqa: PLC0415  # a script; only this test runs it

    trained = {name: tensor.clone() for name, tensor in builtin.model.state_dict().items()}
    trained["classifier.bias"] += 1
    final = tmp_path / "final"
    final.mkdir()
    save_file(trained, final / "model.safetensors")
    builtin.model.config.save_pretrained(final)
    (tmp_path / "scores.json").write_text(json.dumps({"snli": 0.5}), encoding="utf-8")
    arguments = ["pack_base", "--final", str(final), "--out", str(tmp_path / "out"), "--temperature", "1.25"]
    monkeypatch.setattr("sys.argv", [*arguments, "--scores", str(tmp_path / "scores.json")])
    pack_base.main()

    packed = load_builtin(tmp_path / "out")
    assert packed.temperature == 1.25
    assert packed.labels == builtin.labels
    for name, tensor in packed.model.state_dict().items():
        assert torch.allclose(tensor, trained[name], atol=2e-3), name


def test_a_pulled_model_with_a_changed_byte_is_refused_at_load(tiny_folder, tmp_path):
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "pulled"))
    names = [path.name for path in folder.iterdir()]
    files = {
        name: PulledFile(size_bytes=(folder / name).stat().st_size, sha256=sha256(folder / name)) for name in names
    }
    pulled = PulledModel(name="somebody/tiny", revision="a" * 40, pulled_at=datetime.now(UTC), files=files)
    (folder / PULLED).write_text(pulled.model_dump_json())
    assert load_base(str(folder)).fingerprint == load_base(str(tiny_folder)).fingerprint

    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")

    with pytest.raises(BaseRefused, match=r"model\.safetensors of somebody/tiny .* models pull somebody/tiny"):
        load_base(str(folder))
