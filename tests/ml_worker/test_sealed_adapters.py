"""A sealed adapter computes what the plain one does, and is read with its key alone."""

import hashlib

import pytest
import torch

from ml_worker import adapters
from ml_worker.adapters import AdapterCache, load_adapter
from ml_worker.errors import AdapterRefused
from schema import sealing
from schema.sealing import WEIGHTS

KEY, OTHER = bytes(range(32)), bytes(32)
PAIRS = [{"premise": "the trial had more patients", "hypothesis": "more patients"}]


def seal(folder, key=KEY):
    path = folder / WEIGHTS
    sealed = sealing.seal(key, path.read_bytes(), sealing.place_of_weights(folder))
    sealing.sealed_path(path).write_bytes(sealed)
    path.unlink()
    return sealing.sealed_path(path)


@pytest.fixture(name="sealed")
def _sealed(own_root):
    return seal(own_root / "one")


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_it_holds_the_tensors_of_the_plain_one_and_its_digest(tiny, adapters_root, own_root, sealed):
    plain, opened = load_adapter(tiny, adapters_root, "one"), load_adapter(tiny, own_root, "one", key=KEY)

    assert equal(plain.parameters, opened.parameters)
    assert (opened.path, opened.temperature, opened.digest) == (plain.path, plain.temperature, plain.digest)
    assert opened.digest == hashlib.sha256((adapters_root / "one" / WEIGHTS).read_bytes()).hexdigest()
    assert b"lora_A" not in sealed.read_bytes()


def test_without_its_key_it_is_refused_and_the_next_step_is_named(tiny, own_root, sealed):
    with pytest.raises(AdapterRefused, match="is sealed and no key was given; ask through the server of its user"):
        load_adapter(tiny, own_root, "one")
    with pytest.raises(AdapterRefused, match=r"belongs to another key; restore lyra.key from a backup, or train again"):
        load_adapter(tiny, own_root, "one", key=OTHER)


@pytest.mark.parametrize("at", [0, 20, -1], ids=["its beginning", "the nonce or text", "the tag"])
def test_one_changed_bit_is_refused(tiny, own_root, sealed, at):
    content = bytearray(sealed.read_bytes())
    content[at] ^= 1
    sealed.write_bytes(content)

    with pytest.raises(AdapterRefused, match=rf"one/{WEIGHTS}\.sealed was changed"):
        load_adapter(tiny, own_root, "one", key=KEY)


def test_another_adapter_of_the_same_user_cannot_take_its_place(tiny, own_root, sealed):
    sealed.write_bytes(seal(own_root / "two").read_bytes())

    with pytest.raises(AdapterRefused, match="was changed"):
        load_adapter(tiny, own_root, "one", key=KEY)


def test_a_plain_file_beside_it_does_not_count(tiny, own_root, adapters_root, sealed):
    (own_root / "one" / WEIGHTS).write_bytes((adapters_root / "two" / WEIGHTS).read_bytes())

    opened = load_adapter(tiny, own_root, "one", key=KEY)
    assert equal(opened.parameters, load_adapter(tiny, adapters_root, "one").parameters)


def test_a_plain_adapter_needs_no_key_and_ignores_one(tiny, own_root):
    cache = AdapterCache(tiny, own_root)

    assert cache.find("two", KEY) is cache.find("two")


def test_what_is_in_memory_is_given_only_to_who_has_the_key(tiny, own_root, sealed):
    cache = AdapterCache(tiny, own_root)
    first = cache.find("one", KEY)

    assert cache.find("one", KEY) is first
    for key in (None, OTHER):
        with pytest.raises(AdapterRefused):
            cache.find("one", key)


def test_one_that_is_sealed_while_it_is_read_is_read_again(tiny, own_root, adapters_root, monkeypatch):
    """The plain file is overwritten before it is deleted; what was read of it meanwhile must not be served."""
    merge, path = adapters.merge, own_root / "one" / WEIGHTS

    def meanwhile(*given):
        monkeypatch.setattr(adapters, "merge", merge)
        merged = {name: tensor * 0 for name, tensor in merge(*given).items()}
        seal(own_root / "one")
        return merged

    monkeypatch.setattr(adapters, "merge", meanwhile)
    found = AdapterCache(tiny, own_root).find("one", KEY)

    assert not path.exists()
    assert equal(found.parameters, load_adapter(tiny, adapters_root, "one").parameters)


def test_a_worker_answers_with_a_sealed_adapter_where_the_request_brings_its_key(
    start_worker, tiny_folder, own_root, client, sealed
):
    plain = client.post("/nli", json={"pairs": PAIRS, "adapter": "one"}).json()
    worker = start_worker("--nli-model", str(tiny_folder), "--adapters-root", str(own_root))
    worker.wait_for_state("ready")
    with worker.client() as asking:

        def judge(**more):
            return asking.post("/nli", json={"pairs": PAIRS, "adapter": "one", **more})

        opened, refused = judge(key=KEY.hex()), judge()
        malformed = judge(key="secret")
        by_hand = [
            asking.post("/nli/adapter/load", json={"adapter_path": "one", **more}).json()["ok"]
            for more in ({"key": OTHER.hex()}, {"key": KEY.hex()})
        ]
        loaded = asking.post("/nli", json={"pairs": PAIRS}).json()

    assert opened.json() == plain == loaded
    assert (refused.status_code, refused.json()["code"]) == (404, "unknown_adapter")
    assert (malformed.status_code, "secret" in malformed.text) == (400, False)
    assert by_hand == [False, True]
    assert KEY.hex() not in worker.log
