"""What is left of a text once the person's mode has been applied; what cannot be scanned is left out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lyra_mcp.domain.detectors.names import build_name_detector
from lyra_mcp.domain.redaction import Detector, Finding, RedactionMode, UserPattern, find, redact, texts_of
from lyra_mcp.errors import Conflict, LyraError, NotScanned

Outcome = Literal["clean", "redacted", "excluded", "quarantined", "not_scanned"]


@dataclass(frozen=True, slots=True)
class Screened:
    outcome: Outcome
    #: What may be used; None: nothing.
    text: str | None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Screen:
    mode: RedactionMode
    patterns: Sequence[UserPattern] = ()
    detectors: Sequence[Detector] = ()

    @classmethod
    def build(cls, mode: RedactionMode, patterns: Sequence[UserPattern], *, names_model: str | None) -> "Screen":
        """Raises NotScanned: names are asked for, and what finds them is not installed."""
        return cls(mode, tuple(patterns), (build_name_detector(names_model),) if names_model else ())

    def findings(self, text: str) -> tuple[Finding, ...]:
        """Raises NotScanned: a detector failed; the text must be treated as private."""
        try:
            return find(text, self.patterns, self.detectors)
        except LyraError:
            raise
        except Exception as error:  # whatever a detector stumbles over, its text must not pass as clean
            raise NotScanned(
                f"the text could not be scanned for private data ({type(error).__name__} in a detector), so it was not"
                " used; leave it out, and report the mistake"
            ) from error

    def is_safe(self, *values: object) -> bool:
        """Whether nothing private stands in any text of these values; what cannot be scanned is not safe."""
        return all(self.screen(text).outcome == "clean" for text in texts_of(*values))

    def screen(self, text: str) -> Screened:
        try:
            found = self.findings(text)
        except LyraError:
            return Screened("not_scanned", None)
        if not found:
            return Screened("clean", text)
        match self.mode:
            case "redact":
                return Screened("redacted", redact(text, found), found)
            case "exclude":
                return Screened("excluded", None, found)
            case "quarantine":
                return Screened("quarantined", None, found)


def leaving(messages: Iterable[Mapping[str, str]], screen: Screen | None) -> list[dict[str, str]]:
    """What may go to another machine of a conversation whose last message is the question.

    Where the mode leaves private texts out, earlier messages with such a text stay behind, and the question is refused.

    Raises:
        NotScanned: a message could not be searched, or there is nothing to search it with; nothing may be sent.
        Conflict: private data stand in the question, and the mode keeps it here.
    """
    if screen is None:
        raise NotScanned("nothing searched these texts for private data, so they were not sent; report the mistake")
    kept: list[dict[str, str]] = []
    found: tuple[Finding, ...] = ()
    for message in messages:
        found = screen.findings(message["content"])
        if not found or screen.mode == "redact":
            kept.append({**message, "content": redact(message["content"], found)})
    if found and screen.mode != "redact":
        raise Conflict(
            f"it holds private data ({types_of(found)}), which LYRA_REDACTION_MODE={screen.mode} keeps on this"
            " machine; write it without them, or set LYRA_REDACTION_MODE=redact to send tags in their place"
        )
    return kept


def types_of(findings: Iterable[Finding]) -> str:
    """Such as `email, iban`."""
    return ", ".join(sorted({finding.type for finding in findings}))
