"""Learn what a person's sentences mean from labelled examples, and say it of a new one."""

import base64
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import mul

from lyra_mcp.domain import intents as domain
from lyra_mcp.domain import response_templates
from lyra_mcp.domain.edges import text_digest
from lyra_mcp.domain.intents import Classifier, Example, IntentModel, NewExample, Prediction
from lyra_mcp.domain.response_templates import Filled, Template
from lyra_mcp.errors import Conflict, Invalid, StorageFailed
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import intents as rows
from lyra_mcp.storage.database import Transaction
from schema.wire import TEXTS_MAX

#: Of one intent, newest first, that are compared with a text: some milliseconds in plain Python.
TEMPLATES_MAX = 1_000

#: Embedded to learn which encoder serves.
PROBE = "probe"

#: Told how many of how many examples are embedded.
Report = Callable[[int, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Added:
    example_id: str
    #: False: the same example was there; its rating is now the one given.
    is_new: bool
    #: What the same text meant before.
    previous_intent: str | None
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Trained:
    """Without a model where the examples are too few, and `shortage` says of what."""

    counts: dict[str, int]
    shortage: str | None
    model: IntentModel | None


@dataclass(frozen=True, slots=True)
class Predicted:
    prediction: Prediction
    model: IntentModel
    #: Examples the classifier has not learned from.
    newer: int
    #: Examples with a response; templates are used from `RESPONSES_MIN` on.
    responses: int
    filled: Filled | None


@dataclass(frozen=True, slots=True)
class Status:
    counts: dict[str, int]
    responses: int
    model: IntentModel | None
    newer: int
    #: Trained for another encoder than the one that is set.
    is_stale: bool


# Examples


async def add_example(services: Services, example: NewExample) -> Added:
    """Keep an example; the newest example of a text says what it means.

    Raises:
        Invalid: the intent is called `unknown`.
    """
    async with services.database.transaction() as tx:
        example_id, is_new, previous = await _add(services, tx, example)
        return Added(example_id, is_new, previous, await rows.count_by_intent(tx))


async def add_examples(services: Services, examples: Sequence[NewExample]) -> int:
    """Keep many at once, all or none; returns how many are new. Raises like `add_example`."""
    async with services.database.transaction() as tx:
        return sum([(await _add(services, tx, example))[1] for example in examples])


async def _add(services: Services, tx: Transaction, example: NewExample) -> tuple[str, bool, str | None]:
    if example.intent.casefold() == domain.UNKNOWN:
        raise Invalid(f"{domain.UNKNOWN!r} is the answer to texts that are like no example; leave such texts out")
    digest = text_digest(example.text)
    newest = await rows.find_newest_of_text(tx, digest)
    if newest is not None and domain.is_known_already(newest, example):
        if example.rating is not None:
            await rows.update_rating(tx, newest.example_id, example.rating)
        return newest.example_id, False, None
    example_id = services.new_id("example")
    await rows.insert_example(tx, example, example_id=example_id, text_digest=digest, created_at=services.now())
    return example_id, True, newest.intent if newest is not None and newest.intent != example.intent else None


# Training


async def train(services: Services, *, seed: int = 0, report: Report | None = None) -> Trained:
    """Embed what is new, fit a classifier on every example, and let it answer from now on.

    A call that breaks off keeps what it has embedded. Raises like `WorkerClient.judge`.
    """
    async with services.database.transaction() as tx:
        counts = await rows.count_by_intent(tx)
    if (shortage := domain.shortage(counts)) is not None:
        return Trained(counts, shortage, None)
    encoder, fingerprint, dimension = await _embed_what_is_new(services, report)
    async with services.database.transaction() as tx:
        examples = await rows.list_current_vectors(tx, fingerprint)
    intents = [intent for _, intent, _ in examples]
    vectors = b"".join(vector for _, _, vector in examples)
    fitted = await services.worker.fit_intents(intents, vectors, dimension=dimension, seed=seed)
    model = IntentModel(
        version=0,
        encoder=encoder,
        fingerprint=fingerprint,
        example_seq_max=max(seq for seq, _, _ in examples),
        facts=fitted.facts,
        weights=base64.b64decode(fitted.weights),
        examples=len(examples),
        created_at=services.now(),
    )
    _read(model)  # raises: what cannot be read must not be kept
    async with services.database.transaction() as tx:
        version = await rows.insert_model(tx, model)
    return Trained(dict(Counter(intents)), None, replace(model, version=version))


async def _embed_what_is_new(services: Services, report: Report | None) -> tuple[str, str, int]:
    """Name, fingerprint and dimension of the encoder, which has read every example afterwards."""
    encoder = await services.worker.embed([PROBE])
    async with services.database.transaction() as tx:
        total = await rows.count_without_vector(tx, encoder.fingerprint)
    done = 0
    while True:
        async with services.database.transaction() as tx:
            examples = await rows.list_without_vector(tx, encoder.fingerprint, limit=TEXTS_MAX)
        if not examples:
            return encoder.model, encoder.fingerprint, encoder.dimension
        reply = await services.worker.embed([example.text for example in examples])
        if reply.fingerprint != encoder.fingerprint:
            raise Conflict("the embedding model was changed during the training; call intent(action='train') again")
        vectors = [base64.b64decode(vector) for vector in reply.vectors]
        named = [(example.example_id, vector) for example, vector in zip(examples, vectors, strict=True)]
        async with services.database.transaction() as tx:
            await rows.replace_vectors(tx, encoder.fingerprint, named)
        done += len(examples)
        if report is not None:
            await report(done, max(done, total))


# Predicting


async def predict(
    services: Services, text: str, *, values: Mapping[str, str] | None = None, seed: int = 0
) -> Predicted:
    """Say what a text means, with an answer where enough were given before. Raises like `WorkerClient.judge`.

    Raises:
        Conflict: there is no classifier, or it was trained for another encoder.
    """
    async with services.database.transaction() as tx:
        model = await rows.find_newest_model(tx)
        if model is None:
            present = sum((await rows.count_by_intent(tx)).values())
            raise Conflict(
                f"no classifier is trained yet, and there are {present} of at least {domain.EXAMPLES_MIN} examples; "
                "intent(action='add_example') adds some, intent(action='train') trains"
            )
        newer = await rows.count_newer(tx, model.example_seq_max)
        responses = await rows.count_responses(tx)
    reply = await services.worker.embed([text])
    if reply.fingerprint != model.fingerprint:
        raise Conflict(
            f"classifier {model.version} was trained for another encoder ({model.encoder}); "
            "intent(action='train') trains again, on all examples"
        )
    vector = domain.floats(base64.b64decode(reply.vectors[0]))
    prediction = domain.predict(_read(model), vector)
    filled = None
    if responses >= response_templates.RESPONSES_MIN and prediction.intent != domain.UNKNOWN:
        async with services.database.transaction() as tx:
            known = await rows.list_responses(tx, prediction.intent, model.fingerprint, limit=TEMPLATES_MAX)
        found = {**response_templates.find_values(text), **(values or {})}
        templates = [_template(example, stored, vector) for example, stored in known]
        filled = response_templates.choose(templates, found, random.Random(seed))  # noqa: S311 - the same seed, the same answer
    return Predicted(prediction, model, newer, responses, filled)


def _template(example: Example, stored: bytes, vector: Sequence[float]) -> Template:
    assert example.response is not None
    similarity = sum(map(mul, domain.floats(stored), vector))
    return Template(example.example_id, example.response, example.rating, similarity)


def _read(model: IntentModel) -> Classifier:
    try:
        return domain.read_classifier(model)
    except (ValueError, KeyError) as error:
        raise StorageFailed("the classifier's weights are damaged; intent(action='train') trains another") from error


async def read_status(services: Services) -> Status:
    async with services.database.transaction() as tx:
        model = await rows.find_newest_model(tx)
        return Status(
            counts=await rows.count_by_intent(tx),
            responses=await rows.count_responses(tx),
            model=model,
            newer=await rows.count_newer(tx, model.example_seq_max) if model else 0,
            is_stale=model is not None and model.encoder != services.settings.embedding_model,
        )
