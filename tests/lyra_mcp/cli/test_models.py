"""`lyra-mcp models list`, `inspect` and `use`, as a person runs them."""

import hashlib
import shutil
from pathlib import Path

import pytest

from lyra_mcp.settings import Settings
from lyra_mcp.worker_client.address import named_model

NAME = "somebody/tiny-nli"
FILES = ("config.json", "model.safetensors", "tokenizer.json")


# list


async def test_the_list_names_size_licence_and_scores_with_who_measured_them(models, home):
    code, listed, _ = await models("list", "--json")

    rows = {row["name"]: row for row in listed["models"]}
    assert (code, list(rows)) == (
        0,
        ["builtin", "cross-encoder/nli-deberta-v3-xsmall", "cross-encoder/nli-deberta-v3-small"],
    )
    assert rows["cross-encoder/nli-deberta-v3-small"] == {
        "name": "cross-encoder/nli-deberta-v3-small",
        "place": "hub",
        "size_bytes": 568_000_000,
        "licence": "Apache-2.0",
        "languages": "English",
        "scores": "MNLI mismatched 87.6",
        "scores_source": "its authors",
        "in_use": False,
    }
    assert (rows["builtin"]["place"], rows["builtin"]["in_use"]) == ("shipped", True)
    assert not home.exists()


async def test_the_list_is_a_table_for_people(models):
    code, output, _ = await models("list")

    assert code == 0
    assert "cross-encoder/nli-deberta-v3-xsmall" in output
    assert "its authors" in output


async def test_a_model_in_the_hubs_cache_is_listed_inspected_and_usable(models, tmp_path, write_model):
    snapshot = tmp_path / "hf/hub/models--somebody--tiny-nli/snapshots/aaaa"
    write_model(snapshot)

    code, listed, _ = await models("list", "--json")
    assert (code, listed["models"][-1]["name"], listed["models"][-1]["place"]) == (0, NAME, "hub cache")
    assert (await models("inspect", NAME, "--json"))[1]["folder"] == str(snapshot)
    assert (await models("use", NAME, "--json"))[1]["in_use"] == NAME


# inspect


async def test_a_folder_is_described_from_its_files_alone(models, tmp_path, write_model):
    folder = write_model(tmp_path / "mine")

    code, facts, _ = await models("inspect", str(folder), "--json")

    assert code == 0
    assert facts == {
        "name": str(folder),
        "place": "folder",
        "folder": str(folder),
        "kind": "nli",
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "hidden_size": 32,
        "layers": 2,
        "attention_heads": 4,
        "vocabulary_size": 128,
        "positions_max": 64,
        "dtype": "float32",
        "labels": {"0": "contradiction", "1": "entailment", "2": "neutral"},
        "files": {name: (folder / name).stat().st_size for name in FILES},
        "size_bytes": sum((folder / name).stat().st_size for name in FILES),
        "weights": {
            "parameters": 120_000,
            "dtypes": ["F32"],
            "sha256": {"model.safetensors": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()},
        },
    }


async def test_a_generation_model_also_tells_how_far_it_reads_and_how_it_is_spoken_to(models, tmp_path, write_model):
    folder = write_model(
        tmp_path / "chat",
        architectures=["Qwen2ForCausalLM"],
        id2label=None,
        num_key_value_heads=2,
        rope_theta=1e6,
        tie_word_embeddings=True,
        eos_token_id=[7, 8],
    )
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')

    code, facts, _ = await models("inspect", str(folder), "--json")

    assert (code, facts["kind"], facts["labels"]) == (0, "generation", {})
    assert facts["generation"] == {
        "key_value_heads": 2,
        "head_size": 8,
        "feed_forward_size": None,
        "rope_theta": 1e6,
        "rope_type": None,
        "sliding_window": None,
        "tied_embeddings": True,
        "end_token_ids": [7, 8],
        "quantization": None,
        "has_chat_template": True,
    }


async def test_the_shipped_model_is_described_with_its_digests(models):
    code, facts, _ = await models("inspect", "builtin", "--json")

    assert (code, facts["kind"], facts["layers"], facts["hidden_size"]) == (0, "nli", 6, 384)
    assert sorted(facts["labels"].values()) == ["neutral", "refutes", "supports"]
    assert facts["weights"]["sha256"]["encoder/model.safetensors"].startswith("53aa51172d14")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json cannot be read"),
        (lambda folder: (folder / "config.json").write_text("[]"), "holds no configuration"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 64), "is no safetensors file"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no safetensors weights"),
    ],
)
async def test_what_is_no_model_is_refused_in_words(models, tmp_path, damage, words, write_model):
    folder = write_model(tmp_path / "mine")
    damage(folder)

    code, output, errors = await models("inspect", str(folder), "--json")

    assert (code, output) == (1, "")
    assert errors.startswith("E_INVALID: ")
    assert words in errors


# use


async def test_a_choice_is_kept_below_the_environment_and_builtin_goes_back(models, home, tmp_path, write_model):
    folder = write_model(tmp_path / "mine")
    home.mkdir()
    file = home / "settings.toml"
    file.write_text('# my own\ntools = "full"\n')

    code, chosen, _ = await models("use", str(folder), "--json")
    assert (code, chosen["in_use"]) == (0, str(folder))
    assert Settings(home=home).model_dump(include={"nli_model", "tools"}) == {
        "nli_model": str(folder),
        "tools": "full",
    }

    code, chosen, _ = await models("use", str(folder), "--json", LYRA_NLI_MODEL="builtin")
    assert (code, chosen) == (0, {"chosen": str(folder), "in_use": "builtin", "environment_wins": True})

    assert (await models("use", "builtin"))[0] == 0
    assert file.read_text() == '# my own\ntools = "full"\n'
    assert Settings(home=home).nli_model == "builtin"


async def test_what_cannot_judge_is_not_chosen(models, home, tmp_path, write_model):
    chat = write_model(tmp_path / "chat", architectures=["Qwen2ForCausalLM"])
    sentiment = write_model(tmp_path / "sentiment", id2label={"0": "negative", "1": "positive"})
    empty = tmp_path / "empty"
    empty.mkdir()

    for name, words in {
        "nobody/nothing": "E_NOT_FOUND: there is no model 'nobody/nothing' here; run `lyra-mcp models pull",
        str(empty): "has no config.json with safetensors weights",
        str(chat): "of the kind 'generation'",
        str(sentiment): "of the kind 'classification'",
    }.items():
        code, _, errors = await models("use", name)
        assert (code, words in errors) == (1, True), errors
    assert not home.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nli_model = ", "mend or remove it"),
        ('home = "/elsewhere"', "home cannot be set here"),
        ("colour = 1", "LYRA_COLOUR"),
    ],
)
async def test_a_file_of_settings_that_makes_no_sense_is_told_and_nothing_starts(models, home, text, words):
    home.mkdir()
    (home / "settings.toml").write_text(text)

    code, output, errors = await models("list", "--json")

    assert (code, output) == (2, "")
    assert errors.startswith("E_INVALID: ")
    assert words in errors


def test_a_folder_that_only_has_the_name_of_a_model_is_no_pulled_one(home, write_model):
    write_model(home / "models" / "somebody--tiny-nli")

    assert named_model(NAME, Settings(home=home)) == NAME
    shutil.rmtree(home / "models")
    assert named_model(NAME, Settings(home=home)) == NAME
    assert Path(named_model(str(home), Settings(home=home))).is_absolute()
