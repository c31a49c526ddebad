"""The queue with a scripted model: batches, bounds, and exactly one reply for each request."""

import threading
from concurrent.futures import Future

import pytest
import torch

from ml_worker.adapters import Adapter
from ml_worker.errors import AdapterRefused, Busy, Failed, OutOfMemory
from ml_worker.nli import EncodedPair
from ml_worker.queue import ModelQueue
from schema.wire import Judgement, JudgeReply, Pair, PerLabel, ServedBy

WAIT_S = 10


class ScriptedJudge:
    """One token for each word of the premise; `supports` is their number. Waits where it is told to."""

    def __init__(self, *, pairs_fit: int = 1000) -> None:
        self.pairs_fit = pairs_fit
        self.batches: list[list[int]] = []
        self.adapters: dict[str, Adapter | None] = {"loaded": None, "base": None}
        self.entered = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def resolve(self, adapter: str, key: bytes | None) -> Adapter | None:
        if adapter not in self.adapters:
            raise AdapterRefused(f"no adapter {adapter}")
        return self.adapters[adapter]

    def encode(self, pairs):
        if any(pair.premise == "unreadable" for pair in pairs):
            raise RuntimeError("cannot read")
        return [EncodedPair(inputs={"input_ids": [1] * len(pair.premise.split())}, truncated=False) for pair in pairs]

    def judge(self, encoded, adapter, *, representation):
        self.entered.set()
        assert self.open.wait(WAIT_S)
        if len(encoded) > self.pairs_fit:
            raise OutOfMemory("too many")
        self.batches.append([pair.length for pair in encoded])
        if any(pair.length == 13 for pair in encoded):
            raise RuntimeError("thirteen tokens")
        return [
            Judgement(
                logits=PerLabel(supports=pair.length, refutes=0, neutral=0),
                truncated=False,
                representation="AAAA" if representation else None,
            )
            for pair in encoded
        ]

    def served_by(self, adapter):
        path = adapter.path if adapter else None
        return ServedBy(
            base_model="scripted", fingerprint="f", adapter=path, adapter_sha256=None, temperature=1, device="cpu"
        )


def pairs(*lengths: int) -> list[Pair]:
    return [Pair(premise="word " * length, hypothesis="h") for length in lengths]


def supports(future: Future[JudgeReply]) -> list[int]:
    return [int(judgement.logits.supports) for judgement in future.result(WAIT_S).judgements]


@pytest.fixture(name="judge")
def _judge():
    return ScriptedJudge()


@pytest.fixture(name="make_queue")
def _make_queue(judge):
    """A queue being served by a thread of its own."""
    made = []

    def make(**options: int) -> ModelQueue:
        queue = ModelQueue(**options)
        thread = threading.Thread(target=queue.serve, args=(judge,), daemon=True)
        thread.start()
        made.append((queue, thread))
        return queue

    yield make
    judge.open.set()
    for queue, thread in made:
        queue.close("the test ends")
        thread.join(WAIT_S)
        assert not thread.is_alive()


def hold(queue: ModelQueue, judge: ScriptedJudge) -> Future[JudgeReply]:
    """A first request that keeps the model thread busy until `judge.open` is set."""
    judge.open.clear()
    first = queue.judge(pairs(1), "base", representation=False)
    assert judge.entered.wait(WAIT_S)
    return first


def test_answers_come_in_the_order_of_the_pairs(make_queue):
    lengths = [5, 900, 2, 40, 40, 7, 300]

    assert supports(make_queue().judge(pairs(*lengths), "base", representation=False)) == lengths


def test_batches_hold_pairs_of_several_requests_sorted_by_length_within_the_budget(make_queue, judge):
    queue = make_queue(batch_tokens_max=60)
    first = hold(queue, judge)
    futures = [queue.judge(pairs(*lengths), "base", representation=False) for lengths in ((10, 20), (20, 10), (11,))]
    judge.open.set()

    assert [supports(future) for future in [first, *futures]] == [[1], [10, 20], [20, 10], [11]]
    assert judge.batches == [[1], [20, 20, 11], [10, 10]]


def test_a_short_pair_is_not_padded_to_a_long_one(make_queue, judge):
    queue = make_queue(batch_tokens_max=1000)
    assert supports(queue.judge(pairs(200, 10, 9), "base", representation=False)) == [200, 10, 9]
    assert judge.batches == [[200], [10, 9]]


def test_a_pair_longer_than_the_budget_is_judged_alone(make_queue, judge):
    assert supports(make_queue(batch_tokens_max=16).judge(pairs(50, 50), "base", representation=False)) == [50, 50]
    assert judge.batches == [[50], [50]]


def test_requests_with_different_adapters_never_share_a_batch(make_queue, judge):
    judge.adapters |= {name: Adapter(name, {}, None, name) for name in ("one", "two")}
    queue = make_queue()
    hold(queue, judge)
    names = ["one", "two", "one", "base"]
    futures = [queue.judge(pairs(10), name, representation=False) for name in names]
    judge.open.set()

    served = [future.result(WAIT_S).served_by.adapter for future in futures]
    assert served == ["one", "two", "one", None]
    assert judge.batches == [[1], [10, 10], [10], [10]]


def test_a_request_begun_before_a_swap_is_finished_by_the_adapter_it_began_with(make_queue, judge):
    one, two = (Adapter(name, {}, None, name) for name in ("one", "two"))
    judge.adapters["loaded"] = one
    queue = make_queue(batch_tokens_max=10)
    judge.open.clear()
    before = queue.judge(pairs(10, 10, 10), "loaded", representation=False)
    assert judge.entered.wait(WAIT_S)
    swap = queue.run(lambda: judge.adapters.update(loaded=two), first=True)
    after = queue.judge(pairs(10), "loaded", representation=False)
    judge.open.set()

    assert swap.result(WAIT_S) is None
    assert before.result(WAIT_S).served_by.adapter == "one"
    assert after.result(WAIT_S).served_by.adapter == "two"


def test_only_who_asks_for_representations_gets_them(make_queue, judge):
    queue = make_queue()
    hold(queue, judge)
    asking = queue.judge(pairs(10), "base", representation=True)
    other = queue.judge(pairs(10), "base", representation=False)
    judge.open.set()

    assert asking.result(WAIT_S).judgements[0].representation == "AAAA"
    assert other.result(WAIT_S).judgements[0].representation is None
    assert judge.batches[-1] == [10, 10]


def test_a_full_queue_is_busy_at_once_and_takes_requests_again_when_it_has_room(make_queue, judge):
    queue = make_queue(pairs_max=64)
    first = hold(queue, judge)
    second = queue.judge(pairs(*[2] * 63), "base", representation=False)
    assert queue.pairs_waiting == 64
    with pytest.raises(Busy, match="64 of at most 64"):
        queue.judge(pairs(1), "base", representation=False)
    with pytest.raises(Busy):
        queue.run(lambda: None, size=1)
    control = queue.run(lambda: "control calls are never refused", first=True)
    judge.open.set()

    assert control.result(WAIT_S) == "control calls are never refused"
    assert supports(first) + supports(second) == [1] + [2] * 63
    assert supports(queue.judge(pairs(3), "base", representation=False)) == [3]
    assert queue.pairs_waiting == 0


def test_a_request_whose_caller_left_is_dropped_unjudged(make_queue, judge):
    queue = make_queue()
    first = hold(queue, judge)
    leaving = queue.judge(pairs(7, 7), "base", representation=False)
    staying = queue.judge(pairs(8), "base", representation=False)
    assert leaving.cancel()
    assert queue.pairs_waiting == 2
    judge.open.set()

    assert supports(first) + supports(staying) == [1, 8]
    assert judge.batches == [[1], [8]]


def test_a_caller_who_leaves_during_the_batch_harms_nobody(make_queue, judge):
    queue = make_queue()
    first = hold(queue, judge)
    assert first.cancel()
    judge.open.set()

    assert supports(queue.judge(pairs(4), "base", representation=False)) == [4]


def test_a_failed_batch_answers_each_of_its_requests_with_an_error_and_the_thread_lives_on(make_queue, judge):
    queue = make_queue()
    first = hold(queue, judge)
    futures = [queue.judge(pairs(length), "base", representation=False) for length in (13, 12)]
    judge.open.set()

    assert supports(first) == [1]
    for future in futures:
        with pytest.raises(Failed, match="RuntimeError"):
            future.result(WAIT_S)
    assert supports(queue.judge(pairs(4), "base", representation=False)) == [4]


def test_a_request_that_cannot_be_encoded_or_names_no_adapter_fails_alone(make_queue, judge):
    queue = make_queue()
    hold(queue, judge)
    unreadable = queue.judge([Pair(premise="unreadable", hypothesis="h")], "base", representation=False)
    unknown = queue.judge(pairs(2), "absent", representation=False)
    good = queue.judge(pairs(3), "base", representation=False)
    judge.open.set()

    with pytest.raises(Failed):
        unreadable.result(WAIT_S)
    with pytest.raises(AdapterRefused):
        unknown.result(WAIT_S)
    assert supports(good) == [3]


def test_a_batch_too_large_for_memory_is_judged_in_halves(make_queue, judge):
    judge.pairs_fit = 2

    assert supports(make_queue().judge(pairs(5, 5, 5, 5, 5), "base", representation=False)) == [5] * 5
    assert [len(batch) for batch in judge.batches] == [2, 1, 2]


def test_a_pair_that_does_not_fit_alone_is_answered_with_an_error(make_queue, judge):
    judge.pairs_fit = 0

    with pytest.raises(OutOfMemory):
        make_queue().judge(pairs(5, 5), "base", representation=False).result(WAIT_S)


def test_a_call_that_fails_is_answered_with_an_error_and_the_thread_lives_on(make_queue):
    queue = make_queue()

    with pytest.raises(Failed, match="ZeroDivisionError"):
        queue.run(lambda: 1 / 0).result(WAIT_S)
    assert queue.run(lambda: 2).result(WAIT_S) == 2


def test_closing_answers_everything_that_waits_and_refuses_what_comes(make_queue, judge):
    queue = make_queue()
    hold(queue, judge)
    waiting = queue.judge(pairs(2), "base", representation=False)
    queue.close("the worker is leaving")
    judge.open.set()

    with pytest.raises(Failed, match="leaving"):
        waiting.result(WAIT_S)
    with pytest.raises(Failed, match="leaving"):
        queue.judge(pairs(2), "base", representation=False)


def test_many_threads_get_each_their_own_answer(make_queue):
    queue = make_queue(pairs_max=4096, batch_tokens_max=100)
    random = torch.Generator().manual_seed(0)
    wanted = [(torch.randint(0, 40, (5,), generator=random) + 20).tolist() for _ in range(100)]
    found: list[list[int]] = [[] for _ in wanted]

    def ask(i: int) -> None:
        found[i] = supports(queue.judge(pairs(*wanted[i]), "base", representation=False))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(wanted))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)

    assert found == wanted
