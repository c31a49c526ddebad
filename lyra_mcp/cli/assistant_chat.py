"""The conversation in the terminal: a model behind an endpoint, what is remembered before it, a rating after it."""

import sys
from collections import deque
from collections.abc import Iterable

from lyra_mcp.assistant.background import Background
from lyra_mcp.domain.exchange_pages import visible
from lyra_mcp.domain.exchanges import mend
from lyra_mcp.domain.memories import Message, NewConversation
from lyra_mcp.domain.screening import types_of
from lyra_mcp.errors import ConsentMissing, LyraError, Refused
from lyra_mcp.operations import consent, redacting
from lyra_mcp.operations.assistant import AssistantStatus, propose_training, read_assistant_status
from lyra_mcp.operations.prompt_building import build_prompt
from lyra_mcp.operations.rating import rate
from lyra_mcp.operations.remembering import remember
from lyra_mcp.operations.services import Services
from lyra_mcp.providers.chat import ChatEndpoint
from lyra_mcp.settings import Settings

ENDINGS = frozenset({"exit", "quit"})
#: Exchanges of this session that the model sees again.
HISTORY_EXCHANGES = 20
#: Of what is remembered, before each question; small models read little.
CONTEXT_TOKENS = 1_500
RATINGS = frozenset("12345")


class Chat:
    """One session. `limits`: threshold and lowest rating of a proposal."""

    def __init__(
        self,
        background: Background,
        settings: Settings,
        endpoint: ChatEndpoint,
        *,
        with_context: bool,
        limits: tuple[int, int],
    ) -> None:
        self._background = background
        self._settings = settings
        self._endpoint = endpoint
        self._with_context = with_context
        self._threshold, self._min_rating = limits
        self._history: deque[Message] = deque(maxlen=2 * HISTORY_EXCHANGES)
        #: What was typed and found no answer.
        self._unsent = ""

    def run(self) -> None:
        """Until the person has had enough; an interrupt at a prompt is one way to say so.

        Raises:
            Unavailable: the database cannot be used, so nothing could be kept.
        """
        self._greet()
        try:
            while (line := self._read("You: ")) is not None and line.strip().lower() not in ENDINGS:
                if task := line.strip() or self._unsent:
                    self._exchange(task)
        except KeyboardInterrupt:
            print()
        self._say_goodbye()

    def _greet(self) -> None:
        endpoint = self._endpoint
        where = "on this machine" if endpoint.is_local else "which is not this machine"
        print(f"{endpoint.model} at {endpoint.host}, {where}. Type 'exit' to end.")
        if self._with_context and not endpoint.is_local:
            self._with_context = self._background.run(self._settings, self._may_send)
            if self._with_context:
                print("What is remembered is sent along.")
            else:
                allow = f"lyra-mcp privacy consent send --provider {endpoint.host} --grant"
                print(f"Only what you type is sent. To send along what is remembered: {allow}")
        if not endpoint.is_local:
            print("Before anything is sent, personal data in it are looked for.")

    async def _may_send(self, services: Services) -> bool:
        async with services.database.transaction() as tx:
            try:
                await consent.require(tx, "send", self._endpoint.host)
            except ConsentMissing:
                return False
        return True

    def _say_goodbye(self) -> None:
        status = self._background.run(self._settings, self._read_status)
        print(f"{status.total} conversations kept, {status.rated} rated.")
        if status.proposal is not None:
            print(
                f"A training is proposed on {status.proposal.conversations} of them; see `lyra-mcp assistant status`."
            )

    async def _read_status(self, services: Services) -> AssistantStatus:
        return await read_assistant_status(services, threshold=self._threshold, min_rating=self._min_rating)

    def _exchange(self, task: str) -> None:
        """One question, its answer and its rating; whatever fails, the person can go on."""
        self._unsent = task
        try:
            answer = self._answer(task)
            if not answer.strip():
                print("Nothing was answered or kept; press Enter to send it again.")
                return
            self._unsent = ""
            self._history += [Message("user", task), Message("assistant", answer)]
            conversation = NewConversation([Message("user", task)], answer, self._endpoint.model)
            kept = self._background.run(self._settings, lambda services: remember(services, conversation))
            self._rate(kept.id)
        except LyraError as error:
            if isinstance(error, Refused):
                self._unsent = ""
            again = " Press Enter to send it again." if self._unsent else ""
            print(f"{error}.{again}", file=sys.stderr)

    def _answer(self, task: str) -> str:
        """Print the answer as it comes; empty where the person interrupted it.

        Raises:
            Unavailable: the endpoint failed, or the database, or the search for personal data.
            Conflict: what was typed stays here, because of personal data in it.
        """
        messages = [*self._context(task), *self._history, Message("user", task)]
        sent = [{"role": each.role, "content": each.content} for each in messages]
        screen = None if self._endpoint.is_local else self._background.run(self._settings, redacting.screen_of)
        if screen is not None and screen.mode == "redact" and (found := screen.findings(task)):
            print(f"Sent with tags in the place of: {types_of(found)}.")
        pieces: list[str] = []
        print("\nAI: ", end="", flush=True)
        try:
            for piece in self._endpoint.stream(sent, screen=screen):
                pieces.append(piece)
                print(visible(mend(piece)), end="", flush=True)
        except KeyboardInterrupt:
            return ""
        finally:
            print("\n")
        return mend("".join(pieces))

    def _context(self, task: str) -> Iterable[Message]:
        """What is remembered of the person and the task, as a system message; none when nothing is."""
        if not self._with_context:
            return []

        async def build(services: Services) -> str:
            # Asked again each time: the person may have withdrawn it elsewhere meanwhile.
            if not self._endpoint.is_local and not await self._may_send(services):
                return ""
            return (await build_prompt(services, task, budget_tokens=CONTEXT_TOKENS)).prompt.text

        text = self._background.run(self._settings, build)
        return [Message("system", text)] if text.strip() else []

    def _rate(self, conversation_id: str) -> None:
        while said := (self._read("Rating (1-5, with a comment if you like, Enter skips): ") or "").strip():
            number, _, comment = said.partition(" ")
            if number in RATINGS:
                break
            print("A rating is a number from 1 to 5.")
        else:
            return

        async def keep(services: Services) -> None:
            await rate(services, conversation_id, int(number), comment.strip() or None)
            await propose_training(services, threshold=self._threshold, min_rating=self._min_rating)

        self._background.run(self._settings, keep)

    def _read(self, prompt: str) -> str | None:
        """None: the input has ended."""
        try:
            return mend(input(prompt))
        except EOFError:
            print()
            return None
