"""`@auto_finetune` keeps what a program answers, and a rating finds its way to the right conversation."""

import asyncio
import inspect
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import lyra_mcp
from lyra_mcp.assistant.background import Background
from lyra_mcp.assistant.wrapper import Answered, auto_finetune
from lyra_mcp.domain.memories import Message
from lyra_mcp.errors import DiskFull, Invalid, NotFound
from lyra_mcp.storage import exchanges, memories


@pytest.fixture(name="background")
def _background(build_services):
    with Background(build_services) as background:
        yield background


@pytest.fixture(name="assistant")
def _assistant(settings, background):
    """The decorator, with the services of this test."""

    def build(user_id="anna", **options):
        return auto_finetune(user_id, settings=settings, background=background, **options)

    return build


@pytest.fixture(name="kept")
def _kept(settings, background):
    """What is stored of a user: the exchange of each id."""

    def read(user_id="anna"):
        async def all_of_them(services):
            async with services.database.transaction() as tx:
                ids = [each.memory_id for each in await memories.list_memories(tx)]
                return await exchanges.find_exchanges(tx, ids)

        return background.run(settings.model_copy(update={"user": user_id}), all_of_them)

    return read


def only(kept):
    [exchange] = kept.values()
    return exchange


# What is kept


def test_a_function_answers_as_before_and_its_answer_is_kept(assistant, kept):
    @assistant()
    def answer(task: str) -> str:
        """Answer it."""
        return f"{task}!"

    assert answer("Trains") == "Trains!"

    assert (answer.__name__, answer.__doc__) == ("answer", "Answer it.")
    exchange = only(kept())
    assert (exchange.messages, exchange.response, exchange.model) == ((Message("user", "Trains"),), "Trains!", None)


async def test_an_async_function_too(assistant, kept):
    @assistant()
    async def answer(task: str) -> str:
        await asyncio.sleep(0)
        return f"{task}!"

    assert inspect.iscoroutinefunction(answer)
    assert await answer("Trains") == "Trains!"
    assert await answer.feedback(5, "good") == answer.last_conversation_id()
    status = await answer.status()
    assert (status.total, status.rated, status.high_rated, status.ready_for_ft, status.proposal) == (1, 1, 1, 1, None)
    exchange = only(kept())
    assert (exchange.rating, exchange.comment) == (5, "good")


def test_what_was_really_asked_of_which_model_can_be_said(assistant, kept):
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "何時？"}]

    @assistant()
    def answer(task: str) -> str:
        return "九時。"

    answer("ignored", _messages=said, _model="small")

    exchange = only(kept())
    assert exchange.messages == (Message("system", "Be brief."), Message("user", "何時？"))
    assert exchange.model == "small"


def test_a_function_that_names_them_is_given_them(assistant):
    @assistant()
    def answer(task: str, *, _model: str) -> str:
        return f"{task} {_model}"

    @assistant()
    def anything(**options: object) -> str:
        return ",".join(options)

    assert answer("x", _model="small") == "x small"
    assert anything(a=1, _model="small") == "a,_model"


def test_several_arguments_are_kept_under_their_names(assistant, kept):
    @assistant()
    def answer(task: str, sources: list[str], limit: int = 3) -> dict[str, int]:
        return {"駅": limit}

    answer("Trains", ["a", "b"], limit=2)

    exchange = only(kept())
    assert exchange.messages[0].content == 'task: Trains\nsources: ["a", "b"]\nlimit: 2'
    assert exchange.response == '{"駅": 2}'


def test_a_method_is_kept_without_its_owner(assistant, kept):
    class Desk:
        @assistant()
        def answer(self, task: str) -> str:
            return f"{task}!"

    assert Desk().answer("Trains") == "Trains!"
    assert only(kept()).messages[0].content == "Trains"


def test_nothing_answered_is_nothing_kept(assistant, kept):
    @assistant()
    def answer(task: str) -> str | None:
        return None if task == "none" else " "

    assert answer.ask("none") == Answered(None, None)
    assert answer.ask("blank") == Answered(" ", None)
    assert kept() == {}


def test_a_failure_of_the_function_is_its_own_and_nothing_is_kept(assistant, kept):
    @assistant()
    def answer(task: str) -> str:
        if task == "bad":
            raise KeyError(task)
        return task

    answer("good")
    with pytest.raises(KeyError):
        answer("bad")

    with pytest.raises(NotFound, match="no conversation yet"):
        answer.feedback(1)
    assert only(kept()).rating is None


def test_wrong_arguments_are_the_functions_own_error(assistant):
    @assistant()
    def answer(task: str) -> str:
        return task

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        answer()


def test_messages_that_cannot_be_kept_are_refused_before_the_call(assistant):
    called = []

    @assistant()
    def answer(task: str) -> str:
        called.append(task)
        return task

    with pytest.raises(Invalid, match=r"messages\.0"):
        answer("x", _messages=["hello"])
    with pytest.raises(Invalid, match="_model"):
        answer("x", _model=7)
    assert called == []


def test_characters_no_database_can_hold_do_not_cost_the_answer(assistant, kept):
    @assistant()
    def answer(task: str) -> str:
        return "a\0\ud83d"

    assert answer("b\0") == "a\0\ud83d"
    exchange = only(kept())
    assert (exchange.messages[0].content, exchange.response) == ("b", "a�")


def test_a_disk_that_is_full_does_not_cost_the_answer(assistant, background, settings, caplog):
    @assistant()
    def answer(task: str) -> str:
        return task

    answer("first")

    async def fill(services):
        async def full():
            raise DiskFull("the disk is full")

        services.database._open = full

    background.run(settings.model_copy(update={"user": "anna"}), fill)

    assert answer("second") == "second"

    assert "a conversation was not kept for anna: E_DISK_FULL: the disk is full" in caplog.text
    with pytest.raises(NotFound):
        answer.feedback(5)


# Ratings


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


# The decorator itself


@pytest.mark.parametrize("user_id", ["", "../x", "a/b", ".hidden", "x" * 65, "a\n", 7])
def test_a_user_that_is_no_name_of_a_folder_is_refused(assistant, user_id):
    with pytest.raises(Invalid, match="user_id"):
        assistant(user_id)


def test_what_is_not_there_yet_is_refused_and_not_ignored(assistant):
    with pytest.raises(Invalid, match="auto_approve"):
        assistant(auto_approve=True)
    with pytest.raises(Invalid, match="threshold"):
        assistant(threshold=0)
    with pytest.raises(Invalid, match="yields its answer"):

        @assistant()
        def pieces(task: str):
            yield task


PROGRAM = """
import sys
import lyra_mcp
assert not any(name.split(".")[0] in {"mcp", "pydantic", "openai", "torch"} for name in sys.modules), "light"
from lyra_mcp import auto_finetune

@auto_finetune(user_id="anna")
def answer(task):
    return task + "!"

@auto_finetune(user_id="anna")
async def answer_later(task):
    return task + "!"

import asyncio, threading
assert threading.active_count() == 1, "nothing runs before the first call"
print(answer("one"), answer.status().total)

async def main():
    print(await answer_later("two"), answer("three"), (await answer_later.status()).total)

asyncio.run(main())
asyncio.run(main())
"""


def test_a_program_needs_no_event_loop_and_ends_by_itself(tmp_path):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LYRA_")}
    environment = {"LYRA_HOME": str(tmp_path), "LYRA_RUNTIME_DIR": str(tmp_path / "run")}

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=clean | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["one! 1", "two! three! 3", "two! three! 5"]
    assert (tmp_path / "users" / "anna" / "lyra.db").exists()


def test_the_package_offers_nothing_else():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lyra_mcp.nothing  # noqa: B018 - looking it up is the point
