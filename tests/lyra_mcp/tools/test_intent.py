"""The tool `intent`, with an encoder that counts words and the worker's own fit."""

import base64
import hashlib
import math
import random
import struct

import pytest

from ml_worker.intents import fit
from schema import wire

DIMENSION = 96
WORDS = {
    "book": ("flight", "seat", "train", "hotel", "ticket", "reserve"),
    "weather": ("rain", "snow", "sunny", "forecast", "umbrella", "storm"),
    "music": ("song", "album", "play", "louder", "jazz", "concert"),
}
JOKES = ("joke", "funny", "laugh", "pun", "riddle", "comedy")


class Words:
    """A worker that embeds texts as sums of a direction for each word, and fits what a worker fits."""

    def __init__(self):
        self.fingerprint = "first"
        self.model = "builtin"
        self.embedded: list[str] = []

    async def embed(self, texts):
        self.embedded += texts
        return wire.EmbedReply(
            vectors=[base64.b64encode(_vector(text)).decode() for text in texts],
            dimension=DIMENSION,
            model=self.model,
            fingerprint=self.fingerprint,
            device="cpu",
        )

    async def fit_intents(self, intents, vectors, *, dimension, seed):
        encoded = base64.b64encode(vectors).decode()
        return fit(wire.FitIntents(intents=intents, vectors=encoded, dimension=dimension, seed=seed))

    async def close(self):
        """There is nothing to stop."""


def _vector(text):
    total = [0.0] * DIMENSION
    for word in text.lower().split():
        chance = random.Random(hashlib.sha256(word.encode()).digest())
        total = [sum_ + chance.gauss(0, 1) for sum_ in total]
    norm = math.hypot(*total)
    return struct.pack(f"<{DIMENSION}f", *(value / norm for value in total))


@pytest.fixture
def worker():
    return Words()


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"tools": "full"})


@pytest.fixture
def era():
    """The eras of the protocol differ in nothing that this tool does."""
    return "auto"


def examples(count, words=WORDS):
    """So many different texts, of each intent in turn."""
    made = []
    for number in range(count):
        intent = list(words)[number % len(words)]
        said = [words[intent][(number // len(words) + step) % 6] for step in (0, 1, 3)]
        made.append({"text": f"{' '.join(said)} case{number}", "intent": intent})
    return made


async def teach(agent, made):
    for example in made:
        answer = await agent.call("intent", action="add_example", **example)
    return answer


async def ask(agent, text, **more):
    return await agent.call("intent", action="predict", text=text, **more)


# Training


async def test_forty_nine_examples_are_too_few_and_fifty_are_enough(connect):
    async with connect() as agent:
        await teach(agent, examples(49))
        early = await agent.call("intent", action="train")
        assert {name: early[name] for name in ("success", "error", "current_count")} == {
            "success": False,
            "error": "Need at least 50 training examples",
            "current_count": 49,
        }
        assert "version" not in await agent.call("intent", action="status")

        await teach(agent, examples(50)[49:])
        trained = await agent.call("intent", action="train")
        assert (trained["success"], trained["examples_used"], trained["version"]) == (True, 50, 1)


async def test_the_accuracy_is_that_of_examples_it_has_not_seen(connect):
    """The labels are thrown dice, so that whoever reports what was learned by heart gives itself away."""
    dice = random.Random(1)
    made = [{**example, "intent": dice.choice(["x", "y"])} for example in examples(80)]
    async with connect() as agent:
        await teach(agent, made)
        trained = await agent.call("intent", action="train")

    assert trained["train_accuracy"] > 0.9
    assert trained["accuracy"] < 0.7
    assert trained["macro_f1"] < 0.7
    assert trained["validation"]["n"] == 16
    assert trained["is_overfit"]
    assert "by heart" in trained["next_step"]


async def test_one_intent_is_no_choice(connect):
    async with connect() as agent:
        await teach(agent, [{**example, "intent": "book"} for example in examples(50)])
        refused = await agent.call("intent", action="train")

    assert (refused["success"], refused["error"], refused["current_count"]) == (False, "Need at least 2 intents", 50)


async def test_an_intent_with_two_examples_is_named_and_one_with_nine_warned_of(connect):
    async with connect() as agent:
        await teach(agent, examples(50))
        await teach(agent, [{"text": "funny pun", "intent": "joke"}, {"text": "riddle laugh", "intent": "joke"}])
        refused = await agent.call("intent", action="train")
        assert refused["success"] is False
        assert refused["error"] == "Need at least 3 examples of every intent; fewer have joke (2)"

        await teach(agent, [{"text": "comedy joke", "intent": "joke"}])
        trained = await agent.call("intent", action="train")
        assert trained["success"] is True
        assert trained["advice"][0] == "10 examples of an intent are advised; fewer have joke (3)"


async def test_only_new_examples_are_embedded(connect, worker):
    async with connect() as agent:
        await teach(agent, examples(60))
        await agent.call("intent", action="train")
        assert len(worker.embedded) == 61  # and the probe
        worker.embedded.clear()

        await teach(agent, [{"text": "one more song", "intent": "music"}])
        await agent.call("intent", action="train")
        assert worker.embedded == ["probe", "one more song"]


# Predicting


async def test_a_text_is_recognised_and_a_foreign_one_is_unknown(connect):
    async with connect() as agent:
        await teach(agent, examples(60))
        await agent.call("intent", action="train")
        known, foreign = await ask(agent, "play jazz louder"), await ask(agent, "tungsten boils hot")

    assert (known["intent"], known["alternatives"][0]["intent"], known["newer_examples"]) == ("music", "music", 0)
    assert known["confidence"] > 0.9
    assert (foreign["intent"], len(foreign["alternatives"])) == ("unknown", 3)
    assert "ask the person" in foreign["next_step"]


async def test_before_a_training_the_next_step_is_told(connect):
    async with connect() as agent:
        await teach(agent, examples(3))
        said = await agent.refused("intent", action="predict", text="play jazz")

    assert said.startswith("E_CONFLICT: no classifier is trained yet, and there are 3 of at least 50 examples")


async def test_a_restart_keeps_every_example_and_the_classifier(connect):
    async with connect() as agent:
        await teach(agent, examples(60))
        await agent.call("intent", action="train")
        before = await ask(agent, "play jazz louder")

    async with connect() as agent:
        assert await ask(agent, "play jazz louder") == before
        added = await teach(agent, [{"text": "one more song", "intent": "music"}])
        assert added["current_count"] == 61
        assert (await agent.call("intent", action="train"))["examples_used"] == 61


async def test_a_new_intent_is_recognised_after_training_again(connect):
    asked = [f"{one} {other}" for one in JOKES for other in JOKES if one < other]

    async def recall(agent):
        return sum([(await ask(agent, text))["intent"] == "joke" for text in asked]) / len(asked)

    async with connect() as agent:
        await teach(agent, examples(60))
        await agent.call("intent", action="train")
        assert await recall(agent) == 0

        await teach(agent, examples(10, {"joke": JOKES}))
        assert (await agent.call("intent", action="status"))["newer_examples"] == 10
        assert await recall(agent) == 0
        await agent.call("intent", action="train")
        assert await recall(agent) > 0.8


async def test_with_another_encoder_the_classifier_is_stale_until_it_is_trained_again(connect, worker, settings):
    async with connect() as agent:
        await teach(agent, examples(60))
        await agent.call("intent", action="train")
        assert (await agent.call("intent", action="status"))["stale"] is False
        worker.fingerprint, worker.model = "second", "another"

        said = await agent.refused("intent", action="predict", text="play jazz")
        assert said.startswith("E_CONFLICT: classifier 1 was trained for another encoder (builtin)")
        trained = await agent.call("intent", action="train")
        assert (trained["version"], trained["examples_used"]) == (2, 60)
        assert (await ask(agent, "play jazz louder"))["intent"] == "music"
        status = await agent.call("intent", action="status")  # the setting still names the first
        assert (status["stale"], "was changed" in status["next_step"]) == (True, True)


# Examples


async def test_the_newest_example_of_a_text_says_what_it_means(connect):
    async with connect() as agent:
        first = await agent.call("intent", action="add_example", text="ring the bank", intent="call")
        same = await agent.call("intent", action="add_example", text="ring  the bank", intent="call")
        assert (same["is_new"], same["example_id"]) == (False, first["example_id"])

        moved = await agent.call("intent", action="add_example", text="ring the bank", intent="remind")
        assert (moved["is_new"], moved["previous_intent"], moved["current_count"]) == (True, "call", 1)
        assert (await agent.call("intent", action="status"))["intents"] == {"remind": 1}
        back = await agent.call("intent", action="add_example", text="ring the bank", intent="call")
        assert (back["is_new"], back["previous_intent"]) == (True, "remind")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"action": "add_example", "text": "a"}, "E_INVALID: add_example needs text and intent"),
        ({"action": "add_example", "text": "a", "intent": "Unknown"}, "'unknown' is the answer to texts"),
        ({"action": "add_example", "text": "a", "intent": "b", "rating": 4}, "a rating is of a response"),
        ({"action": "add_example", "text": "a", "intent": "b", "response": "c", "rating": 6}, "E_INVALID: rating: "),
        ({"action": "add_example", "text": " ", "intent": "b"}, "text: must not be empty"),
        ({"action": "add_example", "text": "a", "intent": "b" * 81}, "E_INVALID: intent: "),
        ({"action": "predict"}, "E_INVALID: predict needs text"),
        ({"action": "predict", "text": "a", "intent": "b"}, "predict takes no intent"),
        ({"action": "train", "text": "a"}, "train takes no text"),
        ({"action": "status", "seed": 1}, "status takes no seed"),
        ({"action": "forget"}, "E_INVALID: action: "),
    ],
)
async def test_arguments_that_make_no_sense_are_refused(connect, arguments, said):
    async with connect() as agent:
        assert said in await agent.refused("intent", **arguments)


# Responses


async def answered(agent, count, **responses):
    """Teach so many examples with responses, all alike but for those of the texts that are named, and train."""
    made = [{**example, "response": "Done."} for example in examples(count)]
    for text, (response, rating) in responses.items():
        made.append({"text": text.replace("_", " "), "intent": "book", "response": response, "rating": rating})
    await teach(agent, made)
    await agent.call("intent", action="train")


async def test_responses_are_given_from_a_hundred_on(connect):
    async with connect() as agent:
        await answered(agent, 99)
        assert "response" not in await ask(agent, "play jazz louder")

        await teach(agent, [{"text": "jazz album", "intent": "music", "response": "Playing."}])
        assert (await agent.call("intent", action="status"))["responses"] == 100
        assert (await ask(agent, "play jazz louder"))["response"] == "Done."
        assert "response" not in await ask(agent, "tungsten boils hot")


async def test_likeness_and_rating_choose_the_response(connect):
    async with connect() as agent:
        await answered(
            agent,
            100,
            reserve_a_hotel=("A room is waiting.", 4),
            reserve_a_seat=("Window or aisle?", 4),
            reserve_one_seat=("No.", 1),
            reserve_the_seat=("Your seat is taken care of.", 5),
        )
        assert (await ask(agent, "please reserve a hotel"))["response"] == "A room is waiting."
        seat = await ask(agent, "reserve a seat")
        assert (seat["response"], seat["template"]["rating"]) == ("Window or aisle?", 4)
        assert (await ask(agent, "reserve one seat"))["response"] != "No."


async def test_variables_are_filled_from_values_and_from_the_text(connect):
    response = "Dear {name}, your seat on {date} costs {price}, {__class__}."
    async with connect() as agent:
        await answered(agent, 100, reserve_a_train_ticket=(response, 5))
        asked = "reserve a train ticket for Sarah on Friday"
        partly = await ask(agent, asked, values={"price": "{name}"})
        assert partly["response"] == "Dear Sarah, your seat on Friday costs {name}, {__class__}."
        assert (partly["missing"], partly["template"]["response"]) == (["__class__"], response)
        assert partly == await ask(agent, asked, values={"price": "{name}"}, seed=0)


async def test_one_seed_always_chooses_the_same_of_equal_responses(connect):
    made = {f"reserve_a_ticket_{letter}": (f"Answer {letter}", 5) for letter in "pqrs"}
    async with connect() as agent:
        await answered(agent, 100, **made)
        said = [(await ask(agent, "reserve a ticket", seed=seed))["response"] for seed in (*range(6), *range(6))]

    assert said[:6] == said[6:]
