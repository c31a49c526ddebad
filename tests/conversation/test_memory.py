"""Memory through the real server: word for word, many at once, over a restart, and over a kill after the reply."""

import asyncio
import json

import pytest

JAPANESE = "設定はダークモードで、\n“引用” と 絵文字 🦉 と 結合文字 が\u3099 と 制御文字 \x07 も。"


def talk(text: str, response: str = "はい") -> dict:
    return {"kind": "conversation", "messages": [{"role": "user", "content": text}], "response": response}


async def read(agent, memory_id):
    [content] = (await agent.client.read_resource(f"memory://{memory_id}")).contents
    return json.loads(content.text)


def read_by(host, memory_id):
    [content] = host.request("resources/read", {"uri": f"memory://{memory_id}"})["result"]["contents"]
    return json.loads(content["text"])


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_all_four_kinds_come_back_word_for_word(house, connect, mode):
    memories = [
        {**talk(JAPANESE, JAPANESE), "model": "m", "metadata": {"言語": ["日本語", None, 1.5]}},
        {"kind": "fact", "category": "好み", "key": "表示", "value": JAPANESE, "confidence": 0.5, "source": "会話"},
        {"kind": "episode", "event_type": "会議", "description": JAPANESE, "context": {"出席": ["アリス"]}},
        {"kind": "workflow", "name": "朝", "steps": ["メール", JAPANESE]},
    ]
    async with connect(house, mode=mode) as agent:
        for memory in memories:
            kept = await agent("remember", memory=memory)
            whole = (await read(agent, kept["id"]))["memory"]
            assert {name: whole[name] for name in memory if name != "kind"} == {
                name: value for name, value in memory.items() if name != "kind"
            }


async def test_a_conversation_lives_rated_superseded_and_forgotten(house, connect):
    async with connect(house) as agent:
        kept = await agent("remember", memory=talk("橋はいつ開きますか"))
        rated = await agent("feedback.rate", rating=5, comment="よい")
        assert (rated["conversation_id"], rated["rating"]) == (kept["id"], 5)

        fact = {"kind": "fact", "category": "preferences", "key": "favorite_language"}
        old = await agent("remember", memory={**fact, "value": "Python"})
        new = await agent("remember", memory={**fact, "value": "Go"})
        assert (new["supersedes"], new["similar"][0]["relation"]) == (old["id"], "contradicts")
        assert [value["value"] for value in (await read(agent, new["id"]))["history"]] == ["Go", "Python"]

        refusal = await agent.refusal("forget", ids=[kept["id"]])
        assert "橋はいつ開きますか" in refusal
        assert "confirm=true" in refusal
        done = await agent("forget", ids=[kept["id"], new["id"]], confirm=True)
        assert (done["forgotten"], done["restored"]) == ([kept["id"], new["id"]], [old["id"]])


async def test_a_megabyte_is_remembered_and_more_than_two_are_refused(house, connect):
    async with connect(house) as agent:
        kept = await agent("remember", memory=talk("語" * 333_000))
        assert (await read(agent, kept["id"]))["memory"]["messages"][0]["content"] == "語" * 333_000

        refusal = await agent.refusal("remember", memory=talk("語" * 700_000))
        assert "a memory may have 2,000,000 bytes and this one has 2,100,006; split it" in refusal


async def test_a_hundred_at_once_from_two_users_never_cross(house, connect):
    """Each user's server rates its own; an id of the other is not there."""
    other_house = house.having(user=f"{house.settings['user']}-b")
    async with connect(house) as alice, connect(other_house) as bob:
        users = (alice, bob)
        kept = [await asyncio.gather(*(user("remember", memory=talk(f"{n}")) for n in range(20))) for user in users]
        ids = [[one["id"] for one in of_user] for of_user in kept]
        assert len({*ids[0], *ids[1]}) == 40

        await asyncio.gather(
            *(
                users[number % 2](
                    "feedback.rate",
                    conversation_id=ids[number % 2][number // 2 % 20],
                    rating=number % 2 + 4,
                    comment=f"user {number % 2}",
                )
                for number in range(100)
            )
        )
        for number, user in enumerate(users):
            for memory_id in ids[number]:
                whole = (await read(user, memory_id))["memory"]
                assert (whole["rating"], whole["comment"]) == (number + 4, f"user {number}")
        assert (await alice.refusal("feedback.rate", conversation_id=ids[1][0], rating=1)).startswith("E_NOT_FOUND: ")


def test_what_was_answered_survives_a_kill_right_after_the_reply(house, host):
    kept = []
    for _ in range(3):
        server = host(house)
        for number in range(5):
            kept.append(server.answer("remember", memory=talk(f"{JAPANESE} {len(kept)} {number}"))["id"])
        rated = server.answer("feedback.rate", rating=5)["conversation_id"]
        server.kill()
        assert rated == kept[-1]

    server = host(house)
    wholes = [read_by(server, memory_id)["memory"] for memory_id in kept]
    assert [whole["messages"][0]["content"] for whole in wholes] == [
        f"{JAPANESE} {number} {number % 5}" for number in range(15)
    ]
    assert [whole["rating"] for whole in wholes] == ([None] * 4 + [5]) * 3


def test_a_restart_keeps_everything_but_whose_last_conversation_it_was(house, host):
    first = host(house)
    talked = first.answer("remember", memory=talk("one"), idempotency_key="key")
    workflow = {"kind": "workflow", "name": "morning", "steps": ["a"]}
    first.answer("remember", memory=workflow)
    used = {"kind": "episode", "event_type": "routine", "description": "done", "context": {"workflow": "morning"}}
    assert first.answer("remember", memory=used)["use_count"] == 1
    first.close()

    second = host(house)
    assert second.refusal("feedback.rate", rating=5).startswith("E_NOT_FOUND: no conversation was remembered over this")
    assert second.answer("remember", memory=talk("one"), idempotency_key="key") == talked
    assert second.answer("remember", memory={**workflow, "steps": ["a", "b"]})["use_count"] == 1
    assert read_by(second, talked["id"])["memory"]["rating"] is None
    assert second.answer("feedback.rate", conversation_id=talked["id"], rating=4)["rating"] == 4
