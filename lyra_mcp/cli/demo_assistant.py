"""The assistant's part of the demonstration: found in other words, a rating that changes the prompt, a wish learned."""

import asyncio
import time

from lyra_mcp.cli import demo_tables as tables
from lyra_mcp.cli.demo_host import POLL_S, CallFailed, Host
from lyra_mcp.cli.demo_memories import (
    ANSWERED,
    ASKED,
    RATING,
    RECOLLECTIONS,
    TASK,
    WISH_RATING,
    WISHED,
    WISHES,
    Recollection,
)
from lyra_mcp.cli.demo_script import Script
from lyra_mcp.cli.demo_tables import Answer

#: Ten short memories take the model less than a second.
INDEX_TIMEOUT_S = 60.0
HITS = 3


async def assist(script: Script, host: Host) -> None:
    script.summary["assistant"] = {}
    await _recall(script, host)
    await _rate(script, host)
    await _learn(script, host)


async def _recall(script: Script, host: Host) -> None:
    sentence = f"The agent is told {len(RECOLLECTIONS)} things and keeps them. Later they are asked for in other words."
    async with script.begin("recall", sentence):
        started = time.monotonic()
        for one in RECOLLECTIONS:
            memory = {"kind": "episode", "event_type": one.event_type, "description": one.description}
            await host.call("remember", memory=memory)
        stored_s = time.monotonic() - started
        rows = [await _ask(host, one) for one in RECOLLECTIONS if one.question is not None]
        script.summary["assistant"]["recall"] = {
            "stored": len(RECOLLECTIONS),
            "questions": len(rows),
            "found_first": sum(row["rank"] == 1 for row in rows),
            "rows": rows,
        }
        script.console.print(tables.recalled(rows))
        script.console.print(
            f"\n{len(RECOLLECTIONS)} memories written in {stored_s:.2f} s, each on the disk before the answer and "
            "without any model; the vectors followed by themselves."
        )


async def _ask(host: Host, wanted: Recollection) -> Answer:
    recalled = await _recall_with_vectors(host, wanted.question or "")
    ranks = [number for number, hit in enumerate(recalled["hits"], start=1) if wanted.description in hit["preview"]]
    return {
        "question": wanted.question,
        "wanted": wanted.description,
        "rank": ranks[0] if ranks else None,
        "first": recalled["hits"][0]["preview"] if recalled["hits"] else "",
        "why": recalled["hits"][0]["why"] if recalled["hits"] else "nothing was found",
    }


async def _recall_with_vectors(host: Host, query: str) -> Answer:
    """Ask again while the vectors are coming, which only the first question should meet."""
    deadline = time.monotonic() + INDEX_TIMEOUT_S
    while True:
        recalled = await host.call_when_warm("recall", query=query, limit=HITS)
        if recalled["index_state"] == "ready" and not recalled.get("degraded"):
            return recalled
        if time.monotonic() > deadline:
            raise CallFailed(f"the memories have no vectors after {INDEX_TIMEOUT_S:g} s: {recalled['index_state']}")
        await asyncio.sleep(POLL_S)


async def _rate(script: Script, host: Host) -> None:
    sentence = "An exchange is kept. Only when the person rates it well does it become an example in the next prompt."
    async with script.begin("rate", sentence):
        kept = await _converse(host, ASKED, ANSWERED)
        before = await host.call("prompt_context", task=TASK, include=["examples"])
        await host.call("feedback", action="rate", conversation_id=kept, rating=RATING)
        after = await host.call("prompt_context", task=TASK, include=["examples"])
        script.summary["assistant"]["rating"] = {
            "task": TASK,
            "examples_before": [example["id"] for example in before["examples"]],
            "examples_after": [example["id"] for example in after["examples"]],
            "conversation_id": kept,
            "prompt": after["prompt"],
        }
        rows = [("before", before), (f"after {RATING} of 5", after)]
        script.console.print(tables.prompts((when, found["examples"], found["tokens"]) for when, found in rows))


async def _learn(script: Script, host: Host) -> None:
    key, value = WISHED
    sentence = (
        f"Nobody sets a preference. {len(WISHES)} times the person asks for the same thing, and likes the answer."
    )
    async with script.begin("learn a preference", sentence):
        before = await host.call("preferences", action="get", key=key)
        for asked, answered in WISHES:
            kept = await _converse(host, asked, answered)
            await host.call("feedback", action="rate", conversation_id=kept, rating=WISH_RATING)
        after = await host.call("preferences", action="get", key=key)
        prompt = await host.call("prompt_context", task=TASK, include=["prefix"])
        learned = after["preferences"][key]
        script.summary["assistant"]["preference"] = {
            "key": key,
            "wished": value,
            "before": before["preferences"][key],
            "after": learned,
            "prefix": prompt["prefix"],
        }
        script.console.print(tables.preference(key, before["preferences"][key], learned))
        script.console.print(
            f'\nThe next prompt begins: "{prompt["prefix"]}" What the person says themselves would beat it, and '
            'preferences(action="undo") takes a change back.'
        )


async def _converse(host: Host, asked: str, answered: str) -> str:
    memory = {"kind": "conversation", "messages": [{"role": "user", "content": asked}], "response": answered}
    kept: str = (await host.call("remember", memory=memory))["id"]
    return kept
