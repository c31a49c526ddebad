"""What a person agreed to, and what follows where they were never asked."""

from dataclasses import dataclass
from typing import Literal

from schema.vocabulary import Purpose

Standing = Literal["granted", "revoked", "never_asked"]


@dataclass(frozen=True, slots=True)
class ConsentEvent:
    purpose: Purpose
    #: Only of `send`; empty otherwise.
    provider: str
    granted: bool
    reason: str | None
    created_at: str


def standing(event: ConsentEvent | None) -> Standing:
    if event is None:
        return "never_asked"
    return "granted" if event.granted else "revoked"


def may(purpose: Purpose, state: Standing) -> bool:
    """Keeping what an agent was told to keep is why the person runs this; everything else waits for a yes.

    Learning from reviews asks at the moment itself: see `operations.consent.agree_to_learning`.
    """
    return state == "granted" or (purpose == "store" and state == "never_asked")
