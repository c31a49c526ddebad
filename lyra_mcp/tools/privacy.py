"""The tool `privacy`."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver import Elicit, Resolve
from mcp.types import ToolAnnotations
from pydantic import Field

from lyra_mcp.errors import Invalid, NeedsConfirmation
from lyra_mcp.operations import auditing, consent, erasing, exporting, redacting
from lyra_mcp.operations import privacy as operations
from lyra_mcp.operations.services import Services
from lyra_mcp.tools._confirmation import Confirmation, can_ask, require
from lyra_mcp.tools._shared import Answer, Call, Reason, Result, refuse_stray, services
from schema.vocabulary import Purpose
from schema.wire import TEXT_CHARS_MAX

TITLE = "Privacy"
PROFILE = "full"
ANNOTATIONS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False)

ActionName = Literal[
    "scan", "redact", "pattern_list", "pattern_add", "pattern_remove", "consent", "report", "export", "erase", "audit"
]
#: The arguments each action takes.
ALLOWED: dict[ActionName, frozenset[str]] = {
    "scan": frozenset({"text"}),
    "redact": frozenset({"text"}),
    "pattern_list": frozenset(),
    "pattern_add": frozenset({"name", "pattern"}),
    "pattern_remove": frozenset({"name"}),
    "consent": frozenset({"purpose", "provider", "granted", "reason", "confirm"}),
    "report": frozenset(),
    "export": frozenset({"path", "confirm"}),
    "erase": frozenset({"confirm"}),
    "audit": frozenset(),
}
#: Entries an answer shows; the rest is in an export.
SHOWN_MAX = 50


class FindingView(Result):
    type: str
    start: int = Field(description="in characters of the text as it was given")
    end: int
    confidence: float


class PatternView(Result):
    name: str
    pattern: str


class ConsentView(Result):
    purpose: Purpose
    provider: str
    granted: bool
    reason: str | None
    created_at: str


class StaleModelView(Result):
    kind: str
    version: int
    adapter_path: str
    samples: int


class EventView(Result):
    seq: int
    event: str
    actor: str
    detail: str
    created_at: str


class PrivacyAnswer(Answer):
    action: ActionName
    text: str | None = None
    findings: list[FindingView] | None = None
    patterns: list[PatternView] | None = None
    consents: list[ConsentView] | None = None
    report: dict[str, Any] | None = None
    path: str | None = None
    size_bytes: int | None = None
    encrypted: bool | None = None
    rows: dict[str, int] | None = Field(None, description="by table")
    excluded: dict[str, str] | None = Field(None, description="what is left out, and why")
    erased: dict[str, int] | None = Field(None, description="rows by table, and files")
    stale_models: list[StaleModelView] | None = None
    not_reached: list[str] | None = None
    valid: bool | None = None
    entries: int | None = None
    head: str | None = None
    problem: str | None = None
    events: list[EventView] | None = Field(None, description="the newest, oldest first")


async def ask(
    call: Call,
    action: ActionName,
    text: str | None = None,
    name: str | None = None,
    pattern: str | None = None,
    purpose: Purpose | None = None,
    provider: str | None = None,
    granted: bool | None = None,
    reason: str | None = None,
    path: str | None = None,
    confirm: bool = False,
) -> Elicit[Confirmation] | Confirmation:
    """An erasure is the person's own decision."""
    refuse_stray(
        action,
        ALLOWED[action],
        text=text,
        name=name,
        pattern=pattern,
        purpose=purpose,
        provider=provider,
        granted=granted,
        reason=reason,
        path=path,
        confirm=confirm or None,
    )
    if action != "erase" or confirm:
        return Confirmation(confirm=True)
    planned = await erasing.plan(services(call))
    rows = sum(count for table, count in planned.erased.items() if table != "files")
    question = (
        f"Erase everything for ever: {rows} rows, {planned.erased['files']} files,"
        f" {len(planned.stale_models)} trained models, and the key of all backups?"
    )
    if not can_ask(call):
        raise NeedsConfirmation(f"{question} Ask the person, then call privacy again with confirm=true")
    return Elicit(question, Confirmation)


async def privacy(
    call: Call,
    action: ActionName,
    answer: Annotated[ElicitationResult[Confirmation], Resolve(ask)],
    text: Annotated[str | None, Field(max_length=4 * TEXT_CHARS_MAX, description="for scan and redact")] = None,
    name: Annotated[str | None, Field(max_length=200, description="of a pattern, such as employee_id")] = None,
    pattern: Annotated[str | None, Field(max_length=TEXT_CHARS_MAX, description="RE2, such as EMP-[0-9]{5}")] = None,
    purpose: Annotated[Purpose | None, Field(description="for consent")] = None,
    provider: Annotated[
        str | None, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="for purpose send: to whom")
    ] = None,
    granted: Annotated[bool | None, Field(description="for consent: the person's yes or no")] = None,
    reason: Reason = None,
    path: Annotated[
        str | None,
        Field(min_length=1, max_length=200, description="for export: a file name; it goes to LYRA_HOME/exports"),
    ] = None,
    confirm: Annotated[bool, Field(description="true when the person has agreed")] = False,
) -> PrivacyAnswer:
    """What is stored about the person, and their say in it.

    scan / redact(text): personal data in a text; stores nothing. pattern_add(name, pattern) / pattern_remove(name) /
    pattern_list: what else is private in this person's texts. consent(purpose, granted): what the person agreed to;
    without a purpose it shows what holds. report: what is stored, how it is kept. export: everything as a zip of
    readable files. erase: all of it, for ever; asks the person. audit: what was done with the data, and whether that
    record is whole. Example: privacy(action="consent", purpose="learn_locally", granted=false)
    """
    del confirm  # read by `ask`
    require(answer)
    lyra = services(call)
    match action:
        case "scan":
            return _found(action, await redacting.findings(lyra, _needed(action, text)))
        case "redact":
            done = await redacting.redacted(lyra, _needed(action, text))
            return _found(action, done.findings).model_copy(update={"text": done.text})
        case "pattern_list" | "pattern_add" | "pattern_remove":
            return await _patterns(lyra, action, name, pattern)
        case "consent":
            return await _consent(lyra, purpose, provider=provider, granted=granted, reason=reason)
        case "report":
            return PrivacyAnswer(action=action, report=_plain(asdict(await operations.report(lyra))))
        case "export":
            return await _export(lyra, path)
        case "erase":
            return await _erase(lyra)
        case "audit":
            return await _audit(lyra)


def _needed(action: ActionName, text: str | None) -> str:
    if text is None:
        raise Invalid(f"{action} needs text; call privacy(action='{action}', text=...)")
    return text


def _found(action: ActionName, findings: Any) -> PrivacyAnswer:
    return PrivacyAnswer(action=action, findings=[FindingView.model_validate(one) for one in findings])


async def _patterns(lyra: Services, action: ActionName, name: str | None, pattern: str | None) -> PrivacyAnswer:
    if action == "pattern_add":
        if name is None or pattern is None:
            raise Invalid("pattern_add needs name and pattern; call privacy again with both")
        await redacting.put_pattern(lyra, name=name, pattern=pattern)
    elif action == "pattern_remove":
        if name is None:
            raise Invalid("pattern_remove needs name; privacy(action='pattern_list') shows those there are")
        await redacting.remove_pattern(lyra, name)
    held = await redacting.list_patterns(lyra)
    return PrivacyAnswer(action=action, patterns=[PatternView.model_validate(one) for one in held])


async def _consent(
    lyra: Services, purpose: Purpose | None, *, provider: str | None, granted: bool | None, reason: str | None
) -> PrivacyAnswer:
    if purpose is None and granted is None and provider is None:
        held = await consent.read(lyra)
    elif purpose is None or granted is None:
        raise Invalid("consent needs both purpose and granted, or neither to see what holds")
    else:
        held = await consent.record(lyra, purpose, provider=provider, granted=granted, reason=reason)
    return PrivacyAnswer(action="consent", consents=[ConsentView.model_validate(one) for one in held])


async def _export(lyra: Services, name: str | None) -> PrivacyAnswer:
    done = await exporting.export(lyra, name=name)
    return PrivacyAnswer(
        action="export",
        path=str(done.path),
        size_bytes=done.size_bytes,
        encrypted=done.encrypted,
        rows=done.rows,
        excluded=done.excluded,
        next_step="Tell the person where it lies. It is readable as it is: whoever has the file has the data."
        if not done.encrypted
        else "Tell the person where it lies; `lyra-mcp privacy open` reads it with the passphrase.",
    )


async def _erase(lyra: Services) -> PrivacyAnswer:
    done = await erasing.erase(lyra)
    return PrivacyAnswer(
        action="erase",
        erased=done.erased,
        stale_models=[StaleModelView.model_validate(model) for model in done.stale_models],
        not_reached=done.not_reached,
        next_step="Read not_reached to the person: those copies are theirs to delete.",
    )


async def _audit(lyra: Services) -> PrivacyAnswer:
    verdict, entries = await auditing.check(lyra)
    return PrivacyAnswer(
        action="audit",
        valid=verdict.valid,
        entries=verdict.entries,
        head=verdict.head,
        problem=verdict.problem or None,
        events=[EventView.model_validate(entry) for entry in entries[-SHOWN_MAX:]],
        next_step="" if verdict.valid else "Tell the person: somebody or something changed the record or the database.",
    )


def _plain(value: Any) -> Any:
    """Paths as text, so that the report is JSON."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value if isinstance(value, str | int | float | None) else str(value)
