"""The tool `intent`."""

from typing import Annotated, Literal

from mcp.types import ToolAnnotations
from pydantic import Field

from lyra_mcp.domain import intents as domain
from lyra_mcp.domain.intents import NewExample
from lyra_mcp.domain.response_templates import RESPONSES_MIN
from lyra_mcp.errors import Invalid
from lyra_mcp.operations import intents as operations
from lyra_mcp.operations.intents import Added, Predicted, Status, Trained
from lyra_mcp.tools._shared import Answer, Call, Result, refuse_stray, services
from schema.wire import IntentName, Text

TITLE = "Learn and predict intents"
PROFILE = "full"
ANNOTATIONS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)

ActionName = Literal["add_example", "train", "predict", "status"]
ALLOWED: dict[ActionName, frozenset[str]] = {
    "add_example": frozenset({"text", "intent", "response", "rating"}),
    "train": frozenset({"seed"}),
    "predict": frozenset({"text", "values", "seed"}),
    "status": frozenset(),
}
SEED_MAX = 2**32 - 1


class Guess(Result):
    intent: str
    confidence: float


class Validation(Result):
    """On a stratified fifth that neither classifier, temperature nor threshold had seen."""

    n: int
    accuracy: float
    macro_f1: float
    kept: float = Field(description="share that is not unknown")


class ResponseTemplate(Result):
    example_id: str
    response: str = Field(description="with its variables")
    rating: int | None
    similarity: float


class IntentAnswer(Answer):
    action: ActionName
    current_count: int | None = Field(None, description="examples, one for each text")
    example_id: str | None = None
    is_new: bool | None = None
    previous_intent: str | None = Field(None, description="what the same text meant before")

    success: bool | None = None
    error: str | None = None
    examples_used: int | None = None
    accuracy: float | None = Field(None, description="cross-validated, unknown not counted")
    macro_f1: float | None = Field(None, description="cross-validated")
    validation: Validation | None = None
    train_accuracy: float | None = None
    is_overfit: bool | None = Field(None, description="train_accuracy is far above validation.accuracy")
    advice: list[str] | None = None

    intent: str | None = Field(None, description="'unknown': like no example")
    confidence: float | None = Field(None, description="calibrated, of the likeliest intent")
    alternatives: list[Guess] | None = Field(None, description="likeliest first")
    response: str | None = None
    template: ResponseTemplate | None = None
    missing: list[str] | None = Field(None, description="variables of the response without a value")

    version: int | None = Field(None, description="of the classifier")
    trained_at: str | None = None
    newer_examples: int | None = Field(None, description="not learned from yet")
    stale: bool | None = Field(None, description="trained for another encoder: train again")
    intents: dict[str, int] | None = Field(None, description="examples of each")
    responses: int | None = Field(None, description=f"examples with a response; {RESPONSES_MIN} make templates")


async def intent(
    call: Call,
    action: ActionName,
    text: Annotated[Text | None, Field(description="what the person says")] = None,
    intent: Annotated[IntentName | None, Field(description="its meaning, such as schedule_meeting")] = None,
    response: Annotated[Text | None, Field(description="the answer it got; {name} stands for a value")] = None,
    rating: Annotated[int | None, Field(ge=1, le=5, description="of the response")] = None,
    values: Annotated[
        dict[str, str] | None, Field(max_length=50, description="for the variables of a response")
    ] = None,
    seed: Annotated[int | None, Field(ge=0, le=SEED_MAX, description="default 0")] = None,
) -> IntentAnswer:
    """Learn what this person's requests mean from labelled examples, locally, and recognise them in new words.

    add_example(text, intent, response?, rating?): the newest example of a text counts. train: needs 50 examples, 3 of
    each intent (10 are better); takes seconds; accuracy is cross-validated. predict(text): the intent or 'unknown',
    calibrated; from 100 examples with responses on also a response, chosen by likeness and rating. Variables take
    values, else what the text brings: name, date, time, number, email, url, quoted.
    Example: intent(action="predict", text="Set up a call with Sarah")
    """
    given = {"text": text, "intent": intent, "response": response, "rating": rating, "values": values, "seed": seed}
    refuse_stray(action, ALLOWED[action], **given)
    lyra = services(call)
    match action:
        case "add_example":
            if text is None or intent is None:
                raise Invalid("add_example needs text and intent; intent(action='status') shows the intents so far")
            if rating is not None and response is None:
                raise Invalid("a rating is of a response; add the response, or leave the rating out")
            return _added(await operations.add_example(lyra, NewExample(text, intent.strip(), response, rating)))
        case "train":
            return _trained(await operations.train(lyra, seed=seed or 0, report=call.report_progress))
        case "predict":
            if text is None:
                raise Invalid("predict needs text; pass what the person said")
            return _predicted(await operations.predict(lyra, text, values=values, seed=seed or 0))
        case "status":
            return _status(await operations.read_status(lyra))


def _added(added: Added) -> IntentAnswer:
    total = sum(added.counts.values())
    missing = domain.shortage(added.counts)
    return IntentAnswer(
        action="add_example",
        example_id=added.example_id,
        is_new=added.is_new,
        previous_intent=added.previous_intent,
        current_count=total,
        next_step=f"{missing}; there are {total}." if missing else "intent(action='train') learns from it.",
    )


def _trained(trained: Trained) -> IntentAnswer:
    total = sum(trained.counts.values())
    if trained.model is None:
        return IntentAnswer(
            action="train",
            success=False,
            error=trained.shortage,
            current_count=total,
            intents=trained.counts,
            advice=domain.advice(trained.counts),
            next_step="intent(action='add_example', text=..., intent=...) adds one.",
        )
    fitted = trained.model.facts
    return IntentAnswer(
        action="train",
        success=True,
        current_count=total,
        examples_used=trained.model.examples,
        accuracy=fitted.cross_validated.accuracy,
        macro_f1=fitted.cross_validated.macro_f1,
        validation=Validation.model_validate(fitted.validation),
        train_accuracy=fitted.train_accuracy,
        is_overfit=fitted.is_overfit,
        advice=domain.advice(trained.counts, {one.intent: one.recall for one in fitted.per_intent}),
        version=trained.model.version,
        next_step="It knows its examples by heart rather than their meaning: add more, in other words."
        if fitted.is_overfit
        else "intent(action='predict', text=...) answers with it from now on.",
    )


def _predicted(found: Predicted) -> IntentAnswer:
    said, filled = found.prediction, found.filled
    return IntentAnswer(
        action="predict",
        intent=said.intent,
        confidence=said.guesses[0].confidence,
        alternatives=[Guess.model_validate(guess) for guess in said.guesses[: domain.ALTERNATIVES_MAX]],
        response=filled and filled.response,
        template=filled and ResponseTemplate.model_validate(filled.template),
        missing=list(filled.missing) if filled and filled.missing else None,
        version=found.model.version,
        newer_examples=found.newer,
        next_step=_after_prediction(found),
    )


def _after_prediction(found: Predicted) -> str:
    if found.prediction.intent == domain.UNKNOWN:
        return "It is like no example: ask the person, then intent(action='add_example') teaches it."
    if found.filled and found.filled.missing:
        return "Ask for what is missing, and predict again with values."
    if found.newer:
        return f"{found.newer} examples are newer than the classifier; intent(action='train') learns from them."
    return ""


def _status(status: Status) -> IntentAnswer:
    model, missing = status.model, domain.shortage(status.counts)
    if status.is_stale:
        next_step = "The embedding model was changed: intent(action='train') trains again, on all examples."
    elif missing:
        next_step = f"{missing}; intent(action='add_example') adds some."
    elif model is None or status.newer:
        next_step = "intent(action='train') learns from the examples."
    else:
        next_step = ""
    return IntentAnswer(
        action="status",
        current_count=sum(status.counts.values()),
        intents=status.counts,
        advice=domain.advice(status.counts),
        responses=status.responses,
        version=model and model.version,
        trained_at=model and model.created_at,
        examples_used=model and model.examples,
        accuracy=model and model.facts.cross_validated.accuracy,
        macro_f1=model and model.facts.cross_validated.macro_f1,
        newer_examples=status.newer if model else None,
        stale=status.is_stale if model else None,
        next_step=next_step,
    )
