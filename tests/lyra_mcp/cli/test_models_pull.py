"""`lyra-mcp models pull`, through the real client and a hub on the loopback."""

import fcntl
import hashlib
import os

import pytest

from lyra_mcp.settings import Settings
from lyra_mcp.worker_client.address import named_model

NAME = "somebody/tiny-nli"


def lies_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def sha256(content):
    return hashlib.sha256(content).hexdigest()


async def test_a_pulled_model_is_whole_verified_pinned_and_found_by_its_name(models, hub, home):
    code, pulled, errors = await models("pull", NAME, "--json", hub=hub)

    folder = home / "models" / "somebody--tiny-nli"
    assert (code, errors, pulled["folder"], pulled["downloaded"]) == (0, "", str(folder), True)
    assert (pulled["model"]["name"], pulled["model"]["revision"]) == (NAME, hub.commit)
    assert pulled["model"]["files"] == {
        name: {"size_bytes": len(content), "sha256": sha256(content)} for name, content in hub.wanted.items()
    }
    assert lies_in(home / "models") == sorted(f"somebody--tiny-nli/{name}" for name in [*hub.wanted, "lyra-model.json"])
    assert named_model(NAME, Settings(home=home)) == str(folder.resolve())

    assert (await models("use", NAME, "--json"))[1] == {"chosen": NAME, "in_use": NAME, "environment_wins": False}
    listed = (await models("list", "--json"))[1]["models"]
    assert [(row["name"], row["place"]) for row in listed if row["in_use"]] == [(NAME, "pulled")]


async def test_pulling_again_fetches_nothing(models, hub):
    await models("pull", NAME, hub=hub)
    hub.fetched.clear()

    code, pulled, _ = await models("pull", NAME, "--json", hub=hub)

    assert (code, pulled["downloaded"], hub.fetched) == (0, False, [])


async def test_a_connection_that_breaks_is_taken_up_again_in_the_same_pull(models, hub):
    hub.cut_at, hub.cuts = 300_000, 1

    code, pulled, _ = await models("pull", NAME, "--json", hub=hub)

    assert (code, hub.fetched.count("model.safetensors")) == (0, 2)
    assert pulled["model"]["files"]["model.safetensors"]["sha256"] == sha256(hub.wanted["model.safetensors"])


async def test_an_interrupted_pull_leaves_no_model_and_the_next_fetches_only_what_is_missing(models, hub, home):
    hub.cut_at, hub.cuts = 300_000, 1_000

    code, _, errors = await models("pull", NAME, hub=hub)
    assert code == 1
    assert "cannot be reached or broke off" in errors
    assert not (home / "models" / "somebody--tiny-nli").exists()
    assert (await models("use", NAME))[0] == 1

    hub.cuts = 0
    hub.fetched.clear()
    code, pulled, _ = await models("pull", NAME, "--json", hub=hub)
    assert (code, hub.fetched) == (0, ["model.safetensors"])
    assert pulled["model"]["files"]["model.safetensors"]["sha256"] == sha256(hub.wanted["model.safetensors"])


async def test_a_killed_pull_leaves_nothing_that_the_next_one_trips_over(models, hub, home):
    half = home / "models/.somebody--tiny-nli.partial/.cache/huggingface/download/x.12345678.incomplete"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")

    assert (await models("list", "--json"))[0] == 0
    assert (await models("pull", NAME, hub=hub))[0] == 0
    assert lies_in(home / "models") == sorted(f"somebody--tiny-nli/{name}" for name in [*hub.wanted, "lyra-model.json"])


async def test_one_pull_at_a_time(models, hub, home):
    (home / "models").mkdir(parents=True)
    held = os.open(home / "models", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)

    code, _, errors = await models("pull", NAME, hub=hub)
    os.close(held)

    assert (code, "another pull is under way" in errors) == (1, True)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
async def test_bytes_that_are_not_the_published_ones_are_thrown_away(models, hub, home, name):
    content = bytearray(hub.files[name])
    content[-2] ^= 1
    hub.sends[name] = bytes(content)

    code, _, errors = await models("pull", NAME, hub=hub)

    assert code == 1
    assert f"{name} of {NAME} did not arrive as published" in errors
    assert lies_in(home / "models") == []

    hub.sends.clear()
    assert (await models("pull", NAME, hub=hub))[0] == 0


async def test_a_byte_changed_after_the_pull_is_refused_and_a_new_pull_mends_it(models, hub, home):
    await models("pull", NAME, hub=hub)
    weights = home / "models/somebody--tiny-nli/model.safetensors"
    with weights.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")

    code, _, errors = await models("use", NAME)
    assert code == 1
    assert f"run `lyra-mcp models pull {NAME}` again" in errors

    assert (await models("pull", NAME, "--json", hub=hub))[1]["downloaded"] is True
    assert (await models("use", NAME))[0] == 0


async def test_an_unknown_model_is_refused_and_nothing_is_left(models, hub, home):
    code, _, errors = await models("pull", "somebody/else", hub=hub)

    assert code == 1
    assert "has no model 'somebody/else'" in errors
    assert not home.exists()


async def test_a_model_without_safetensors_is_refused(models, hub, home):
    del hub.files["model.safetensors"]

    code, _, errors = await models("pull", NAME, hub=hub)

    assert code == 1
    assert "safetensors" in errors
    assert not home.exists()


@pytest.mark.parametrize("settings", [{}, {"HF_HUB_OFFLINE": "1"}])
async def test_without_a_hub_the_next_step_is_named_and_nothing_is_left(models, home, settings):
    code, output, errors = await models("pull", NAME, "--json", **settings)

    assert (code, output) == (1, "")
    assert "run `lyra-mcp models use FOLDER`" in errors
    assert not home.exists()


@pytest.mark.parametrize("name", ["../../etc", "a/b/c", "-x", "a b"])
async def test_a_name_that_is_none_never_reaches_the_hub(models, hub, name):
    code, _, errors = await models("pull", "--", name, hub=hub)

    assert (code, hub.fetched) == (1, [])
    assert "is no name of a model" in errors
