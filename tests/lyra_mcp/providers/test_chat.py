"""A chat endpoint answers in pieces, and its failures say what to do; the real client speaks to a server here."""

import socket

import pytest

from lyra_mcp.domain.screening import Screen
from lyra_mcp.errors import Invalid, NotScanned, ProviderUnavailable
from lyra_mcp.providers import chat
from lyra_mcp.providers.chat import ChatEndpoint

QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one two three"}]


@pytest.fixture(name="endpoint")
def _endpoint(chat_server):
    endpoint = ChatEndpoint(base_url=chat_server.url, model="tiny", key=None)
    yield endpoint
    endpoint.close()


def test_an_answer_comes_in_pieces(endpoint, chat_server):
    assert list(endpoint.stream(QUESTION)) == ["three ", "two ", "one"]

    [(headers, body)] = chat_server.asked
    assert body == {"model": "tiny", "messages": QUESTION, "stream": True}
    assert headers["authorization"] == "Bearer none"


def test_the_key_is_sent_where_there_is_one(chat_server):
    endpoint = ChatEndpoint(base_url=chat_server.url, model="tiny", key="secret-1")
    list(endpoint.stream(QUESTION))
    endpoint.close()

    assert chat_server.asked[0][0]["authorization"] == "Bearer secret-1"


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, r"answered 401 \(.*problem 401.*\): the key is not accepted"),
        (403, "the key may not use this model"),
        (404, "it knows no model 'tiny'"),
        (429, "wait, then send it again"),
        (500, "answered 500"),
    ],
)
def test_a_refusal_says_what_to_do_and_nothing_is_asked_twice(endpoint, chat_server, status, advice):
    chat_server.failures.append(status)

    with pytest.raises(ProviderUnavailable, match=advice):
        list(endpoint.stream(QUESTION))

    assert len(chat_server.asked) == 1


def test_an_answer_that_breaks_off_gives_its_beginning_and_an_error(endpoint, chat_server):
    chat_server.cuts = 1
    answer = endpoint.stream(QUESTION)

    assert [next(answer), next(answer)] == ["three ", "two "]
    with pytest.raises(ProviderUnavailable, match=r"broke off .*the model crashed"):
        next(answer)


def test_a_server_that_is_not_there_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    endpoint = ChatEndpoint(base_url=url, model="tiny", key=None)

    with pytest.raises(ProviderUnavailable, match=r"/v1 cannot be reached.*Check --base-url"):
        list(endpoint.stream(QUESTION))

    endpoint.close()


def test_an_address_of_something_else_is_named(chat_server):
    endpoint = ChatEndpoint(base_url=chat_server.url.removesuffix("/v1"), model="tiny", key=None)

    with pytest.raises(ProviderUnavailable, match="check --model and --base-url"):
        list(endpoint.stream(QUESTION))

    endpoint.close()


@pytest.mark.parametrize("url", ["localhost:11434", "ftp://example.org/v1", "http://", ""])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(Invalid, match="is no address"):
        ChatEndpoint(base_url=url, model="tiny", key=None)


def test_a_missing_extra_is_said_before_anything_is_typed(monkeypatch):
    monkeypatch.setattr(chat, "find_spec", lambda name: None)

    with pytest.raises(ProviderUnavailable, match=r"pip install \"lyra-mcp\[hosted\]\""):
        ChatEndpoint(base_url=chat.LOCAL_URL, model="tiny", key=None)


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("localhost", True), ("127.0.0.1", True), ("[::1]", True), ("192.168.1.5", False), ("api.openai.com", False)],
)
def test_only_the_loopback_is_this_machine(host, is_local):
    endpoint = ChatEndpoint(base_url=f"http://{host}/v1", model="tiny", key="x")

    assert endpoint.is_local is is_local

    endpoint.close()


class Elsewhere(ChatEndpoint):
    """The server here, under another name."""

    is_local = False


PRIVATE = [
    {"role": "system", "content": "Her mail is ann@example.org."},
    {"role": "user", "content": "+1 212 555 0123"},
]


@pytest.fixture(name="elsewhere")
def _elsewhere(chat_server):
    endpoint = Elsewhere(base_url=chat_server.url, model="tiny", key=None)
    yield endpoint
    endpoint.close()


def test_what_leaves_this_machine_is_searched_right_before(elsewhere, chat_server):
    list(elsewhere.stream(PRIVATE, screen=Screen("redact")))

    [(_, body)] = chat_server.asked
    assert [message["content"] for message in body["messages"]] == [
        "Her mail is [REDACTED_EMAIL].",
        "[REDACTED_PHONE_INTL]",
    ]


def test_what_was_not_searched_does_not_leave_this_machine(elsewhere, chat_server):
    def broken(text):
        raise RuntimeError(text)

    for screen in (None, Screen("redact", detectors=(broken,))):
        with pytest.raises(NotScanned):
            list(elsewhere.stream(QUESTION, screen=screen))

    assert chat_server.asked == []


def test_a_model_on_this_machine_reads_everything(endpoint, chat_server):
    list(endpoint.stream(PRIVATE))

    assert chat_server.asked[0][1]["messages"] == PRIVATE


def test_what_is_for_this_machine_goes_to_no_proxy(chat_server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    endpoint = ChatEndpoint(base_url=chat_server.url, model="tiny", key=None)

    assert list(endpoint.stream(QUESTION)) == ["three ", "two ", "one"]

    endpoint.close()


def test_an_answer_that_sends_somewhere_else_is_not_followed(endpoint, chat_server):
    chat_server.failures.append(307)

    with pytest.raises(ProviderUnavailable, match="answered 307"):
        list(endpoint.stream(QUESTION))

    assert len(chat_server.asked) == 1
