"""Chat with a model behind any OpenAI-compatible endpoint: a hosted one, Ollama, or another on this machine."""

from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from lyra_mcp.domain.screening import Screen, leaving
from lyra_mcp.errors import Invalid, ProviderUnavailable

#: Of Ollama on this machine.
LOCAL_URL = "http://127.0.0.1:11434/v1"
CONNECT_TIMEOUT_S = 10.0
#: Between two pieces of an answer: a local model may load for a minute first.
READ_TIMEOUT_S = 300.0
#: Servers on this machine ask for none, but the client does not start without.
NO_KEY = "none"
REASON_CHARS_MAX = 200


class ChatEndpoint:
    """One model at one address. It asks nothing twice: the person decides."""

    def __init__(self, *, base_url: str, model: str, key: str | None, read_timeout_s: float = READ_TIMEOUT_S) -> None:
        """
        Raises:
            Invalid: the address is none.
            ProviderUnavailable: the extra is not installed.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Invalid(f"{base_url!r} is no address; write it as {LOCAL_URL}")
        if find_spec("openai") is None:
            raise ProviderUnavailable(
                'the package openai is not installed; run `pip install "lyra-mcp[hosted]"` and start again'
            )
        from openai import DefaultHttpxClient, OpenAI, Timeout  # noqa: PLC0415 - half a second, and an optional extra

        self.model = model
        self.host = parts.hostname
        self.base_url = base_url
        timeout = Timeout(read_timeout_s, connect=CONNECT_TIMEOUT_S)
        # What is meant for this machine takes no way round by a proxy, and nobody may send it on to another address.
        client = DefaultHttpxClient(trust_env=not self.is_local, follow_redirects=False)
        self._client = OpenAI(
            base_url=base_url, api_key=key or NO_KEY, timeout=timeout, max_retries=0, http_client=client
        )

    @property
    def is_local(self) -> bool:
        """Nothing that is sent there leaves this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def stream(self, messages: Iterable[Mapping[str, str]], *, screen: Screen | None = None) -> Iterator[str]:
        """The answer, piece by piece as it comes. What leaves this machine is searched by `screen` right before.

        Raises:
            NotScanned, Conflict: nothing was sent (`leaving`).
            ProviderUnavailable: it cannot be reached, refuses, or breaks off; the message says what to do.
        """
        import openai  # noqa: PLC0415 - see above

        sent: Any = [dict(message) for message in messages] if self.is_local else leaving(messages, screen)
        try:
            with self._client.chat.completions.create(model=self.model, messages=sent, stream=True) as pieces:
                for piece in pieces:
                    if piece.choices and (text := piece.choices[0].delta.content):
                        yield text
        except openai.APITimeoutError as error:
            raise ProviderUnavailable(
                f"{self.host} did not answer in time; a local model may still be loading: send it again"
            ) from error
        except openai.APIConnectionError as error:
            reason = error.__cause__ or error
            raise ProviderUnavailable(
                f"{self.base_url} cannot be reached, or broke off ({_short(reason)}); is the server running? "
                "Check --base-url and send it again"
            ) from error
        except openai.APIStatusError as error:
            raise ProviderUnavailable(self._explain(error.status_code, _short(error))) from error
        except openai.APIError as error:
            raise ProviderUnavailable(f"{self.host} broke off ({_short(error)}); send it again") from error
        except (ValueError, AttributeError) as error:  # what the client makes of an answer that is no JSON
            raise ProviderUnavailable(
                f"{self.base_url} does not speak this protocol; check --base-url, which often ends in /v1"
            ) from error

    def close(self) -> None:
        self._client.close()

    def _explain(self, status: int, reason: str) -> str:
        advice = {
            401: "the key is not accepted; set the right one (see --key-variable)",
            403: "the key may not use this model; choose another --model",
            404: f"it knows no model {self.model!r}, or the address is wrong; check --model and --base-url",
            429: "the limit of requests or the credit is used up; wait, then send it again",
        }.get(status, "send it again")
        return f"{self.host} answered {status} ({reason}): {advice}"


def _short(error: BaseException) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= REASON_CHARS_MAX else f"{words[:REASON_CHARS_MAX]}…"
