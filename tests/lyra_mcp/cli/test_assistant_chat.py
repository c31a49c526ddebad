"""The conversation in the terminal: typed lines go in, a server on the loopback answers, the database is real."""

import io
import socket
import sys

import pytest

from lyra_mcp.assistant.background import Background
from lyra_mcp.cli.assistant_chat import Chat
from lyra_mcp.domain.memories import Message, NewConversation
from lyra_mcp.errors import DiskFull
from lyra_mcp.operations import consent, redacting
from lyra_mcp.operations.assistant import read_assistant_status
from lyra_mcp.operations.rating import rate
from lyra_mcp.operations.remembering import remember
from lyra_mcp.providers.chat import ChatEndpoint
from lyra_mcp.storage import exchanges


@pytest.fixture(name="background")
def _background(build_services):
    with Background(build_services) as background:
        yield background


@pytest.fixture(name="do")
def _do(background, settings):
    """Run an operation on the data of the one who talks."""
    return lambda operation: background.run(settings, operation)


@pytest.fixture(name="stored")
def _stored(do):
    async def read(services):
        async with services.database.transaction() as tx:
            return [exchange for _, exchange in await exchanges.list_exchanges(tx, after_seq=0, limit=100)]

    return lambda: do(read)


@pytest.fixture(name="talk")
def _talk(background, settings, chat_server, monkeypatch, capsys):
    """Type these lines, to the end of the input, and read what was printed: (output, errors)."""

    def talk(*lines, url=chat_server.url, context=True, limits=(100, 4)):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        endpoint = ChatEndpoint(base_url=url, model="tiny", key=None)
        try:
            Chat(background, settings, endpoint, with_context=context, limits=limits).run()
        finally:
            endpoint.close()
        return capsys.readouterr()

    return talk


def test_an_answer_is_printed_kept_and_rated(talk, stored):
    printed = talk("one two three", "5 just right", "exit")

    assert printed.out.splitlines() == [
        "tiny at 127.0.0.1, on this machine. Type 'exit' to end.",
        "You: ",
        "AI: three two one",
        "",
        "Rating (1-5, with a comment if you like, Enter skips): You: 1 conversations kept, 1 rated.",
    ]
    assert printed.err == ""
    [exchange] = stored()
    assert (exchange.messages, exchange.response) == ((Message("user", "one two three"),), "three two one")
    assert (exchange.model, exchange.rating, exchange.comment) == ("tiny", 5, "just right")


@pytest.mark.parametrize("ending", [["exit"], ["QUIT "], []], ids=["exit", "quit", "end of input"])
def test_every_ending_is_a_clean_one(talk, stored, ending):
    assert talk("hello", "", *ending).out.endswith("1 conversations kept, 0 rated.\n")
    assert stored()[0].rating is None


def test_the_input_may_end_at_a_rating(talk, stored):
    assert talk("hello").out.endswith("1 conversations kept, 0 rated.\n")
    assert len(stored()) == 1


def test_a_rating_that_is_none_is_asked_for_again(talk, stored):
    printed = talk("hello", "6", "great", "0", "3", "exit")

    assert printed.out.count("A rating is a number from 1 to 5.") == 3
    assert stored()[0].rating == 3


def test_the_model_sees_what_was_said_before_in_this_session(talk, chat_server):
    talk("first", "", "second", "", context=False)

    assert [message["content"] for message in chat_server.asked[1][1]["messages"]] == ["first", "first", "second"]


def test_the_model_is_given_what_was_rated_well(talk, chat_server, do):
    async def remember_well(services):
        told = [Message("user", "How do you greet me?"), Message("user", "my mail is anna@example.org")]
        kept = await remember(services, NewConversation(told, "Ahoy, captain!"))
        await rate(services, kept.id, 5)

    do(remember_well)

    talk("How do you greet me?", "")

    system, question = chat_server.asked[0][1]["messages"]
    assert (system["role"], question) == ("system", {"role": "user", "content": "How do you greet me?"})
    assert "Ahoy, captain!" in system["content"]
    assert "anna@example.org" not in system["content"]

    talk("How do you greet me?", "", context=False)

    assert [message["role"] for message in chat_server.asked[1][1]["messages"]] == ["user"]


def test_a_failure_is_said_and_enter_sends_it_again(talk, stored, chat_server):
    chat_server.failures += [503]
    chat_server.cuts = 1

    printed = talk("one two three", "", "", "4", "exit")

    first, second = printed.err.splitlines()
    assert first.startswith("E_PROVIDER: 127.0.0.1 answered 503")
    assert second.startswith("E_PROVIDER: 127.0.0.1 broke off")
    assert first.endswith("Press Enter to send it again.")
    assert [(exchange.response, exchange.rating) for exchange in stored()] == [("three two one", 4)]


def test_a_server_that_is_not_there_loses_nothing(talk, stored):
    talk("kept before", "5", "exit")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

    printed = talk("hello", "exit", url=url)

    assert "cannot be reached" in printed.err
    assert printed.out.endswith("1 conversations kept, 1 rated.\n")
    assert len(stored()) == 1


def test_an_empty_answer_is_not_kept(talk, stored, chat_server):
    chat_server.answers.append("")

    assert "Nothing was answered or kept" in talk("hello", "exit").out
    assert stored() == []


def test_a_disk_that_is_full_costs_the_keeping_and_not_the_answer(talk, do):
    async def fill(services):
        transaction = services.database.transaction
        calls = iter(range(100))

        def full():
            if next(calls) == 0:
                raise DiskFull("the disk is full")
            return transaction()

        services.database.transaction = full

    do(fill)

    printed = talk("hello there", "exit", context=False)

    assert "AI: there hello" in printed.out
    assert printed.err == "E_DISK_FULL: the disk is full.\n"


def test_what_a_model_writes_cannot_steer_the_terminal(talk, stored, chat_server):
    chat_server.answers.append("\x1b]0;x\x07 ok")

    assert "AI: ␛]0;x␇ ok" in talk("hello", "exit").out
    assert stored()[0].response == "\x1b]0;x\x07 ok"


def test_enough_good_ratings_are_proposed_and_nothing_starts(talk, do, machine):
    printed = talk("one", "5", "two", "4", "three", "3", "exit", limits=(2, 4))

    assert printed.out.endswith("A training is proposed on 2 of them; see `lyra-mcp assistant status`.\n")
    assert do(read_assistant_status).proposal.conversations == 2
    assert machine.asked == []


class Elsewhere(ChatEndpoint):
    """The server here, under another name."""

    is_local = False


@pytest.fixture(name="talk_elsewhere")
def _talk_elsewhere(background, settings, chat_server, monkeypatch, capsys):
    """Likewise, to a model on another machine: (output, errors)."""

    def talk(*lines, **changes):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        endpoint = Elsewhere(base_url=chat_server.url, model="tiny", key=None)
        ours = settings.model_copy(update=changes)
        Chat(background, ours, endpoint, with_context=True, limits=(100, 4)).run()
        endpoint.close()
        return capsys.readouterr()

    return talk


def _sent(chat_server):
    """The messages of each request: (role, text) each."""
    return [[(one["role"], one["content"]) for one in body["messages"]] for _, body in chat_server.asked]


async def _remember_well(services):
    kept = await remember(services, NewConversation([Message("user", "What is my boat?")], "A yawl."))
    await rate(services, kept.id, 5)


def test_memories_are_sent_elsewhere_only_with_consent(talk_elsewhere, chat_server, do):
    do(_remember_well)
    said = talk_elsewhere("What is my boat?", "", "exit").out
    assert "lyra-mcp privacy consent send --provider 127.0.0.1 --grant" in said

    do(lambda services: consent.record(services, "send", provider="127.0.0.1", granted=True, reason=None))
    said = talk_elsewhere("What is my boat?", "", "exit").out
    assert "What is remembered is sent along" in said
    assert [[role for role, _ in messages] for messages in _sent(chat_server)] == [["user"], ["system", "user"]]


def test_a_consent_that_is_withdrawn_during_the_conversation_counts_in_the_next_message(
    background, settings, chat_server, monkeypatch, capsys, do
):
    def say(provider, *, granted):
        do(lambda services: consent.record(services, "send", provider=provider, granted=granted, reason=None))

    do(_remember_well)
    say("127.0.0.1", granted=True)
    typed = iter(["What is my boat?", "", "And its name?", "", "exit"])

    def type_next(_):
        line = next(typed)
        if line == "And its name?":
            say("127.0.0.1", granted=False)
        return line

    monkeypatch.setattr("builtins.input", type_next)
    endpoint = Elsewhere(base_url=chat_server.url, model="tiny", key=None)
    Chat(background, settings, endpoint, with_context=True, limits=(100, 4)).run()
    endpoint.close()

    assert [next(role for role, _ in messages) for messages in _sent(chat_server)] == ["system", "user"]


def test_what_is_typed_goes_elsewhere_with_tags_and_is_kept_as_it_was_typed(talk_elsewhere, chat_server, stored, do):
    do(lambda services: redacting.put_pattern(services, name="employee_id", pattern=r"EMP-\d{5}"))

    said = talk_elsewhere("ann@example.org is EMP-12345", "", "thanks", "", "exit").out

    assert "Sent with tags in the place of: email, employee_id." in said
    [(_, first)], [(_, again), _, (_, last)] = _sent(chat_server)
    assert first == again == "[REDACTED_EMAIL] is [REDACTED_EMPLOYEE_ID]"
    assert last == "thanks"
    assert stored()[0].messages == (Message("user", "ann@example.org is EMP-12345"),)


def test_what_the_mode_leaves_out_stays_on_this_machine(talk_elsewhere, chat_server, stored):
    printed = talk_elsewhere("write to ann@example.org", "exit", redaction_mode="exclude")

    assert "E_CONFLICT: it holds private data (email), which LYRA_REDACTION_MODE=exclude keeps" in printed.err
    assert "Press Enter" not in printed.err
    assert (chat_server.asked, stored()) == ([], [])


def test_where_the_search_fails_nothing_is_sent(talk_elsewhere, chat_server):
    printed = talk_elsewhere("hello", "exit", redaction_names_model="no_such_model")

    assert "E_NOT_SCANNED: " in printed.err
    assert chat_server.asked == []
