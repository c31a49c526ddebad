"""`@auto_finetune` keeps what a program answers, and costs the program nothing."""

import asyncio
import inspect
import os
import subprocess
import sys

import pytest

import lyra_mcp
from lyra_mcp.assistant.wrapper import Answered
from lyra_mcp.domain.memories import Message
from lyra_mcp.errors import DiskFull, Invalid, NotFound


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
    # A key in a file that was asked for needs no warning.
    environment = {"LYRA_HOME": str(tmp_path), "LYRA_RUNTIME_DIR": str(tmp_path / "run"), "LYRA_KEY_SOURCE": "file"}

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
