"""Ratings of a wrapped function's answers reach the right conversation, and enough good ones make one proposal."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lyra_mcp.errors import Invalid, NotFound


def test_a_rating_goes_to_the_conversation_of_its_own_thread(assistant, kept):
    ready = threading.Barrier(8)

    @assistant()
    def answer(task: str) -> str:
        ready.wait(10)
        return f"re {task}"

    def work(number):
        for turn in range(3):
            answer(f"{number} {turn}")
            ready.wait(10)
            answer.feedback(1 + number % 5, f"of {number} {turn}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    found = kept().values()
    assert len(found) == 24
    assert all(exchange.comment == f"of {exchange.messages[0].content}" for exchange in found)


async def test_a_rating_goes_to_the_conversation_of_its_own_task(assistant, kept):
    @assistant()
    async def answer(task: str) -> str:
        await asyncio.sleep(0)
        return f"re {task}"

    async def work(number):
        await answer(f"{number}")
        await asyncio.sleep(0)
        await answer.feedback(1 + number % 5, f"of {number}")

    await asyncio.gather(*map(work, range(100)))

    found = kept().values()
    assert len(found) == 100
    assert all(exchange.comment == f"of {exchange.messages[0].content}" for exchange in found)
    with pytest.raises(NotFound, match="conversation_id, which ask"):
        await answer.feedback(5)


def test_two_users_never_mix(assistant, kept):
    @assistant("anna")
    def anna(task: str) -> str:
        return f"anna {task}"

    @assistant("bert")
    def bert(task: str) -> str:
        return f"bert {task}"

    def work(number):
        wrapped, name = ((anna, "anna"), (bert, "bert"))[number % 2]
        assert wrapped(f"{number}") == f"{name} {number}"
        wrapped.feedback(4 + number % 2)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))

    for name, rating in (("anna", 4), ("bert", 5)):
        found = kept(name).values()
        assert len(found) == 20
        assert all(exchange.response.startswith(name) and exchange.rating == rating for exchange in found)
    anna("mine")
    with pytest.raises(NotFound):
        bert.feedback(1, conversation_id=anna.last_conversation_id())


def test_a_server_rates_by_the_id_it_was_given(assistant, kept):
    @assistant()
    def answer(task: str) -> str:
        return f"re {task}"

    first, second = answer.ask("one"), answer.ask("two")

    assert (first.result, second.result) == ("re one", "re two")
    assert answer.feedback(2, conversation_id=first.conversation_id) == first.conversation_id
    assert kept()[first.conversation_id].rating == 2
    assert kept()[second.conversation_id].rating is None


@pytest.mark.parametrize("rating", [0, 6, "5", 4.5, True, None])
def test_a_rating_that_is_none_is_refused(assistant, rating):
    @assistant()
    def answer(task: str) -> str:
        return task

    answer("x")
    with pytest.raises(Invalid, match="whole number from 1 to 5"):
        answer.feedback(rating)


# Proposals


def test_at_the_threshold_one_proposal_is_made_and_nothing_starts(assistant, machine):
    @assistant(threshold=10, min_rating=5)
    def answer(task: str) -> str:
        return task

    def work(number):
        answer(f"{number}")
        answer.feedback(5)

    for number in range(9):
        work(number)
    answer("worse")
    answer.feedback(4)
    assert answer.status().proposal is None
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(9, 29)))

    status = answer.status()

    assert (status.threshold, status.min_rating, status.ready_for_ft) == (10, 5, 29)
    assert 10 <= status.proposal.conversations <= 29
    assert machine.asked == []


def test_what_a_filter_calls_unsafe_is_not_proposed(assistant):
    class NoNames:
        def is_safe(self, data: dict[str, object]) -> bool:
            return "anna" not in str(data)

    @assistant(threshold=2, privacy_filter=NoNames())
    def answer(task: str) -> str:
        return task

    for task in ("anna", "anna again", "one"):
        answer(task)
        answer.feedback(5)
    answer("named in the comment")
    answer.feedback(5, "as anna said")
    assert answer.status().proposal is None
    answer("two")
    answer.feedback(5)

    assert answer.status().proposal.conversations == 2


def test_a_filter_that_fails_costs_neither_the_answer_nor_its_secrecy(assistant, caplog):
    class Broken:
        def is_safe(self, data: dict[str, object]) -> bool:
            raise ZeroDivisionError

    @assistant(threshold=1, privacy_filter=Broken())
    def answer(task: str) -> str:
        return task

    answered = answer.ask("one")
    answer.feedback(5)

    assert answered.conversation_id is not None
    assert "ZeroDivisionError" in caplog.text
    assert answer.status().proposal is None
