"""The tool `preferences`."""

from typing import Annotated, Literal

from mcp.types import ToolAnnotations
from pydantic import Field

from lyra_mcp.domain.preferences import CHOICES, EXPERTISE, LANGUAGE, LEVELS, Preference, Source
from lyra_mcp.errors import Invalid
from lyra_mcp.operations import preferring
from lyra_mcp.operations.services import Services
from lyra_mcp.tools._shared import Answer, Call, Result, refuse_stray, services

TITLE = "Preferences"
PROFILE = "full"
ANNOTATIONS = ToolAnnotations(
    # Whatever it changes, undo brings back.
    read_only_hint=False,
    destructive_hint=False,
    idempotent_hint=False,
    open_world_hint=False,
)

ActionName = Literal["get", "set", "reset", "undo"]
ALLOWED: dict[ActionName, frozenset[str]] = {
    "get": frozenset({"key"}),
    "set": frozenset({"key", "value"}),
    "reset": frozenset({"key"}),
    "undo": frozenset({"key"}),
}


class PreferenceShown(Result):
    value: str | None = Field(description="null: nothing is known, and answers are left free")
    source: Source
    confidence: float | None = Field(description="probability that no other value pleases more; null for a default")
    evidence: list[str] = Field(description="ids of conversations behind it, newest first, at most 20")
    evidence_count: int = Field(description="observations in all; conversations can give several")


class PreferencesAnswer(Answer):
    preferences: dict[str, PreferenceShown]
    prefix: str = Field(description="what a prompt begins with by these preferences")


async def preferences(
    call: Call,
    action: ActionName,
    key: Annotated[
        str | None,
        Field(max_length=100, description=f"{', '.join(CHOICES)}, {LANGUAGE} or {EXPERTISE}.<topic>"),
    ] = None,
    value: Annotated[
        str | None, Field(max_length=100, description="set: one of the key's words; for language a tag such as pt-BR")
    ] = None,
) -> PreferencesAnswer:
    """How this person wants answers: what they said, what was learned from their ratings, and the evidence for it.

    get(key?): everything, or one key. set(key, value): what they said beats what was learned.
    reset(key?): take back what they said; where they said nothing, set aside what was learned of the key.
    undo(key?): take the last change back. Only set what the person asked for.
    Example: preferences(action="set", key="detail_level", value="brief")
    """
    refuse_stray(action, ALLOWED[action], key=key, value=value)
    lyra = services(call)
    changed = await _act(lyra, action, key, value)
    shown = {name: PreferenceShown.model_validate(one) for name, one in changed.items()}
    return PreferencesAnswer(
        preferences=shown, prefix=await preferring.read_prefix(lyra), next_step=_next_step(action, changed)
    )


async def _act(lyra: Services, action: ActionName, key: str | None, value: str | None) -> dict[str, Preference]:
    match action:
        case "get":
            return await preferring.get_preferences(lyra, key)
        case "set":
            if key is None or value is None:
                raise Invalid(f"set needs key and value; levels of {EXPERTISE}.<topic> are {', '.join(LEVELS)}")
            return await preferring.set_preference(lyra, key, value)
        case "reset":
            return await preferring.reset_preferences(lyra, key)
        case "undo":
            return await preferring.undo_change(lyra, key)


def _next_step(action: ActionName, changed: dict[str, Preference]) -> str:
    if action == "reset" and not changed:
        return "The person had said nothing, so nothing was reset; name a key to set aside what was learned of it."
    if action == "undo":
        return "prompt_context(task=...) follows this from its next call on."
    if action != "get":
        return "prompt_context(task=...) follows this from its next call on; preferences(action='undo') takes it back."
    if all(one.source == "default" for one in changed.values()):
        return "Nothing is known yet: feedback(action='rate') teaches it, or set what the person asks for."
    return ""
