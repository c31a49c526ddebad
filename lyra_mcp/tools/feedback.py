"""The tool `feedback`."""

from typing import Annotated, Any, Literal, get_args

from mcp.types import ToolAnnotations
from pydantic import Field

from lyra_mcp.errors import Invalid
from lyra_mcp.operations import feedback as operations
from lyra_mcp.operations.feedback import Action
from lyra_mcp.operations.rating import rate_conversation
from lyra_mcp.operations.services import Services
from lyra_mcp.tools._shared import Answer, Call, Reason, Score, connection, services
from schema.vocabulary import Label, SourceType

TITLE = "Give feedback"
PROFILE = "core"
ANNOTATIONS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)

ActionName = Literal[
    "edge_correct",
    "edge_retract",
    "claim_reject",
    "claim_restore",
    "domain_block",
    "domain_unblock",
    "domain_clear_override",
    "rate",
]
#: The arguments each action needs; `|` separates alternatives.
REQUIRED: dict[ActionName, tuple[str, ...]] = {
    "edge_correct": ("edge_id", "correct_label"),
    "edge_retract": ("review_id|edge_id",),
    "claim_reject": ("claim_id", "reason"),
    "claim_restore": ("claim_id",),
    "domain_block": ("domain_pattern", "reason"),
    "domain_unblock": ("domain_pattern", "reason"),
    "domain_clear_override": ("domain_pattern", "reason"),
    "rate": ("rating",),
}
#: What an action may have beside these; the others a reason.
OPTIONAL: dict[ActionName, frozenset[str]] = {"rate": frozenset({"conversation_id", "comment"})}
ALLOWED: dict[ActionName, frozenset[str]] = {
    action: frozenset(name for names in needed for name in names.split("|")) | OPTIONAL.get(action, {"reason"})
    for action, needed in REQUIRED.items()
}
assert set(REQUIRED) == set(get_args(ActionName))


class FeedbackAnswer(Answer):
    action: ActionName
    review_id: str | None = None
    edge_id: str | None = None
    claim_id: str | None = None
    previous_label: Label | None = None
    new_label: Label | None = None
    is_correction: bool | None = Field(None, description="it differs from what the model predicted")
    score: Score | None = None
    rule_id: str | None = None
    domain_pattern: str | None = None
    cleared_rules: int | None = None
    conversation_id: str | None = None
    rating: int | None = None
    previous_rating: int | None = None
    reviews_total: int = Field(description="reviews that stand")
    corrections_total: int = Field(description="pairs whose last review differs from the model's prediction")


async def feedback(
    call: Call,
    action: ActionName,
    edge_id: Annotated[str | None, Field(description="from add_evidence, get_claims or review_queue")] = None,
    correct_label: Annotated[Label | None, Field(description="what the label really is")] = None,
    claim_id: Annotated[str | None, Field(description="from get_claims")] = None,
    domain_pattern: Annotated[str | None, Field(description="example.com, or *.example.com for its subdomains")] = None,
    review_id: Annotated[str | None, Field(description="of an earlier edge_correct")] = None,
    conversation_id: Annotated[str | None, Field(description="default: the last one you remembered")] = None,
    rating: Annotated[int | None, Field(strict=True, ge=1, le=5)] = None,
    comment: Annotated[str | None, Field(min_length=1, max_length=2_000)] = None,
    reason: Reason = None,
    source_type: Annotated[SourceType, Field(description="who decided: a person, you, or a program")] = "human",
    idempotency_key: Annotated[
        str | None, Field(min_length=1, max_length=200, description="the same key writes once")
    ] = None,
) -> FeedbackAnswer:
    """Hand back what a person says of our answers. It counts at once and is kept for calibration and training.

    edge_correct(edge_id, correct_label): also when the label was right; the metrics need both.
    edge_retract(review_id or edge_id): take the last review back.
    claim_reject(claim_id, reason) / claim_restore(claim_id).
    domain_block / domain_unblock / domain_clear_override(domain_pattern, reason): evidence from a blocked domain
    does not count. Exact patterns beat *.suffixes, longer suffixes beat shorter, newer rules beat older.
    rate(rating 1-5, conversation_id?, comment?): how good an answer was.
    Example: feedback(action="edge_correct", edge_id="edge_1f2e3d4c5b6a", correct_label="refutes")
    """
    given: dict[str, Any] = {
        "edge_id": edge_id,
        "correct_label": correct_label,
        "claim_id": claim_id,
        "domain_pattern": domain_pattern,
        "review_id": review_id,
        "conversation_id": conversation_id,
        "rating": rating,
        "comment": comment,
        "reason": reason,
    }
    arguments = {name: value for name, value in given.items() if value is not None}
    _check(action, arguments)
    lyra = services(call)
    outcome = await operations.give_feedback(
        lyra,
        _action(lyra, action, arguments, source_type, connection(call)),
        request={"action": action, "source_type": source_type, **arguments},
        idempotency_key=idempotency_key,
    )
    answer = FeedbackAnswer.model_validate({"action": action, **_fields(outcome)})
    return answer.model_copy(update={"next_step": _next_step(answer)})


def _check(action: ActionName, arguments: dict[str, Any]) -> None:
    """Name what is missing and what does not belong: a stray argument is a mistake worth hearing about."""
    missing = [names for names in REQUIRED[action] if not any(name in arguments for name in names.split("|"))]
    if missing:
        needed = " and ".join(name.replace("|", " or ") for name in missing)
        raise Invalid(f"{action} needs {needed}; {_where_from(missing)}")
    stray = sorted(set(arguments) - ALLOWED[action])
    if stray:
        raise Invalid(f"{action} takes no {' and no '.join(stray)}; leave it out or choose another action")


def _where_from(missing: list[str]) -> str:
    if any("_id" in names for names in missing):
        return "get_claims(claim_id=...) and review_queue() show the ids"
    return "ask the person"


def _action(
    lyra: Services,
    action: ActionName,
    arguments: dict[str, Any],
    source_type: SourceType,
    connected: str | None,
) -> Action:
    reason = arguments.get("reason")
    match action:
        case "edge_correct":
            return operations.correct_edge(
                lyra,
                edge_id=arguments["edge_id"],
                correct_label=arguments["correct_label"],
                reason=reason,
                source_type=source_type,
            )
        case "edge_retract":
            return operations.retract_review(
                lyra,
                review_id=arguments.get("review_id"),
                edge_id=arguments.get("edge_id"),
                reason=reason,
                source_type=source_type,
            )
        case "claim_reject":
            return operations.reject_claim(
                lyra, claim_id=arguments["claim_id"], reason=arguments["reason"], source_type=source_type
            )
        case "claim_restore":
            return operations.restore_claim(
                lyra, claim_id=arguments["claim_id"], reason=reason, source_type=source_type
            )
        case "domain_block" | "domain_unblock":
            return operations.rule_domain(
                lyra,
                "block" if action == "domain_block" else "unblock",
                domain_pattern=arguments["domain_pattern"],
                reason=arguments["reason"],
                source_type=source_type,
            )
        case "domain_clear_override":
            return operations.clear_domain(
                lyra, domain_pattern=arguments["domain_pattern"], reason=arguments["reason"], source_type=source_type
            )
        case "rate":
            return rate_conversation(
                lyra,
                arguments.get("conversation_id"),
                rating=arguments["rating"],
                comment=arguments.get("comment"),
                connection=connected,
            )


def _fields(outcome: operations.Feedback) -> dict[str, object]:
    names = set(FeedbackAnswer.model_fields) - {"action", "next_step", "score"}
    score = outcome.score and Score.model_validate(outcome.score)
    return {name: getattr(outcome, name) for name in names} | {"score": score}


def _next_step(answer: FeedbackAnswer) -> str:
    if answer.action == "edge_correct" and answer.is_correction:
        return "The same pair is answered with this label from now on; review_queue() has the next edges."
    if answer.action == "domain_clear_override" and not answer.cleared_rules:
        return "No active rule had exactly this pattern."
    return ""
