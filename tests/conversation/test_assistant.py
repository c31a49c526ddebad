"""What a person brings on the command line, an agent finds through the server; and the other way round."""

import json
import subprocess
import sys

RECORDS = [
    {
        "messages": [{"role": "user", "content": "Which train goes to Kanazawa?"}],
        "response": "The Kagayaki.",
        "rating": 5,
    },
    {"messages": [{"role": "user", "content": "金沢行きは？"}], "response": "かがやきです。"},
]


async def test_what_was_imported_is_found_and_what_was_said_is_exported(house, connect, tmp_path):
    brought, taken = tmp_path / "brought.jsonl", tmp_path / "taken.jsonl"
    brought.write_text("".join(f"{json.dumps(record)}\n" for record in RECORDS))

    def assistant(*arguments):
        command = [sys.executable, "-m", "lyra_mcp", "assistant", *arguments, "--json"]
        done = subprocess.run(command, env=house.environment(), capture_output=True, text=True, check=True, timeout=60)
        return json.loads(done.stdout)

    assert assistant("import", str(brought))["imported"] == 2
    async with connect(house) as agent:
        found = await agent("recall", query="Kanazawa")
        japanese = await agent("recall", query="金沢")
        built = await agent("prompt_context", task="How do I get to Kanazawa?")
        said = [{"role": "user", "content": "And back?"}]
        kept = await agent("remember", memory={"kind": "conversation", "messages": said, "response": "The same."})
        await agent("feedback", action="rate", conversation_id=kept["id"], rating=4)

    assert "The Kagayaki." in found["hits"][0]["preview"]
    assert "かがやきです。" in japanese["hits"][0]["preview"]
    assert "The Kagayaki." in built["examples"][0]["assistant"]
    status = assistant("status", "--threshold", "2")
    assert (status["total"], status["rated"], status["ready_for_ft"]) == (3, 2, 2)
    assert status["proposal"]["conversations"] == 2
    assert assistant("export", str(taken))["exported"] == 3
    assert [json.loads(line)["response"] for line in taken.read_text().splitlines()] == [
        "The Kagayaki.",
        "かがやきです。",
        "The same.",
    ]
