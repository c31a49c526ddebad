"""What is left of a text once the person's mode has been applied; what cannot be scanned is left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lyra_mcp.domain.detectors.names import build_name_detector
from lyra_mcp.domain.redaction import Detector, Finding, RedactionMode, UserPattern, find, redact, texts_of
from lyra_mcp.errors import LyraError, NotScanned

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
