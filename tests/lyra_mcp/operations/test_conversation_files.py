"""Conversations come in from files, each once, and go out to files, and what goes out comes back the same."""

import json
import random

import pytest

from lyra_mcp.domain.exchanges import Exchange
from lyra_mcp.domain.memories import Message
from lyra_mcp.errors import Conflict, Invalid, StorageFailed
from lyra_mcp.operations import conversation_imports
from lyra_mcp.operations.assistant import read_assistant_status
from lyra_mcp.operations.conversation_exports import Exported, export_conversations
from lyra_mcp.operations.conversation_imports import ImportReport, Skipped, import_conversations
from lyra_mcp.operations.forgetting import forget
from lyra_mcp.operations.rating import rate
from lyra_mcp.operations.remembering import remember
from lyra_mcp.storage import exchanges, memories
from lyra_mcp.storage.conversation_files import ConversationFile

AT = "2026-01-02T03:04:05.000000+00:00"


def record(question, answer="Fine.", **fields):
    return {"messages": [{"role": "user", "content": question}], "response": answer, **fields}


@pytest.fixture(name="write")
def _write(tmp_path):
    """A file with these records, or lines, in it."""

    def write(*records, name="in.jsonl"):
        path = tmp_path / name
        lines = [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in records]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


async def take_in(services, path, report=None):
    return await import_conversations(services, ConversationFile(path), on_progress=lambda *_: None, report=report)


async def stored(services):
    async with services.database.transaction() as tx:
        return [exchange for _, exchange in await exchanges.list_exchanges(tx, after_seq=0, limit=100_000)]


async def test_a_conversation_comes_in_with_its_rating_and_its_time(services, write):
    path = write(record("何時？", "九時。", model="small", rating=5, comment="good", metadata={"k": 1}, created_at=AT))

    assert await take_in(services, path) == ImportReport({"plain": 1}, imported=1)

    whole = Exchange((Message("user", "何時？"),), "九時。", "small", 5, "good", {"k": 1}, AT)
    assert await stored(services) == [whole]
    status = await read_assistant_status(services)
    assert (status.total, status.rated, status.high_rated, status.ready_for_ft) == (1, 1, 1, 1)


async def test_nothing_comes_in_twice(services, write):
    path = write(record("one"), record("two", created_at=AT), record("one"))

    first, second = await take_in(services, path), await take_in(services, path)

    assert (first.imported, first.already_there) == (2, 1)
    assert (second.imported, second.already_there) == (0, 3)
    assert len(await stored(services)) == 2


async def test_what_was_said_twice_in_different_conversations_is_no_repetition(services, write):
    twins = [record("hi", metadata={"conversation": name}) for name in "ab"]
    times = [record("hi", created_at=f"2026-01-0{day}") for day in (1, 2)]

    report = await take_in(services, write(*twins, *times, record("hi", "Other.")))

    assert (report.imported, report.already_there) == (5, 0)


async def test_what_was_forgotten_may_come_in_again(services, write):
    path = write(record("one"))
    await take_in(services, path)
    async with services.database.transaction() as tx:
        [kept] = await memories.list_memories(tx)
    await forget(services, [kept.memory_id])

    assert (await take_in(services, path)).imported == 1


async def test_an_interrupted_import_goes_on_where_it_was(services, write, monkeypatch):
    path = write(*(record(f"question {number}") for number in range(25)))
    monkeypatch.setattr(conversation_imports, "BATCH_EXCHANGES", 10)
    report = ImportReport()

    def stop(_, so_far):
        if so_far.imported == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await import_conversations(services, ConversationFile(path), on_progress=stop, report=report)

    assert report.imported == len(await stored(services)) == 20
    again = await take_in(services, path)
    assert (again.imported, again.already_there) == (5, 20)


async def test_ten_thousand_records_with_broken_and_repeated_ones_among_them_lose_only_these(services, write):
    chance = random.Random(5)
    broken = {number: chance.choice(["{", "[]", '{"x": 1}', "\x07"]) for number in chance.sample(range(10_000), 70)}
    lines = [broken.get(number) or record(f"Question {number % 1_000} about trains?") for number in range(10_000)]

    report = await take_in(services, write(*lines))

    assert (report.imported, report.already_there, report.forms) == (1_000, 8_930, {"plain": 9_930})
    assert [skipped.place for skipped in report.skipped] == [f"line {number + 1}" for number in sorted(broken)]
    assert len(await stored(services)) == 1_000


async def test_what_cannot_be_kept_is_skipped_with_the_reason(services, write):
    long = record("x" * 2_000_001)
    bad = {"messages": [{"role": "user", "content": "?"}], "response": "!", "metadata": json.loads("[" * 20 + "]" * 20)}

    report = await take_in(services, write(long, bad, record("a\0b"), record("good")))

    assert report.imported == 2
    assert report.mended == ["line 3"]
    assert report.skipped[0] == Skipped("line 2", "metadata is a list and no object")
    assert report.skipped[1].place == "line 1"
    assert "may have 2,000,000 bytes" in report.skipped[1].reason


async def test_what_the_file_cannot_give_leaves_what_came_before(services, write, tmp_path):
    path = write(record("one"), name="conversations.json")
    broken = tmp_path / "absent.zip"
    broken.write_bytes(b"PK\x05\x06" + b"\0" * 18)

    with pytest.raises(Invalid, match=r"holds no conversations\.json"):
        await take_in(services, broken)

    assert (await take_in(services, path)).imported == 1


# Export


@pytest.fixture(name="other")
async def _other(settings, build_services):
    """Another user's services."""
    built = build_services(settings.model_copy(update={"user": "other"}))
    yield built
    await built.close()


async def test_what_goes_out_comes_back_the_same(services, other, write, tmp_path):
    rows = [
        record("何時？\n\x1b[31m", "> quoted\r\n\t`code`", rating=2, comment="slow", created_at=AT, model="m"),
        record("line\u2028separator 🚄", metadata={"topic": "trains", "n": [1, None, True, 0.5]}),
    ]
    await take_in(services, write(*rows))
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"

    assert await export_conversations(services, first) == Exported(2, 0)
    await take_in(other, first)
    await export_conversations(other, second)

    assert await stored(other) == await stored(services)
    assert second.read_bytes() == first.read_bytes()
    assert (await take_in(services, first)).already_there == 2


async def test_an_export_of_many_pages_holds_them_all(services, write, tmp_path):
    await take_in(services, write(*(record(f"question {number}") for number in range(450))))
    out = tmp_path / "out.jsonl"

    assert await export_conversations(services, out) == Exported(450, 0)
    assert [json.loads(line)["messages"][0]["content"] for line in out.read_text().splitlines()] == [
        f"question {number}" for number in range(450)
    ]


PRIVATE = "anna@example.org"


async def test_personal_data_stay_behind_unless_the_person_says_otherwise(services, write, tmp_path):
    everywhere = record(
        f"I am {PRIVATE}", f"Hello {PRIVATE}", rating=5, comment=PRIVATE, metadata={PRIVATE: [{"to": PRIVATE}]}
    )
    await take_in(services, write(everywhere, record("nothing private")))
    for form in ("jsonl", "markdown"):
        masked, verbatim = tmp_path / f"masked.{form}", tmp_path / f"verbatim.{form}"

        assert await export_conversations(services, masked, form=form) == Exported(2, 1)
        assert await export_conversations(services, verbatim, form=form, is_verbatim=True) == Exported(2, 0)

        assert PRIVATE not in masked.read_text()
        assert "[REDACTED_EMAIL]" in masked.read_text()
        assert PRIVATE in verbatim.read_text()


async def test_what_cannot_be_searched_is_not_written(services, write, tmp_path):
    await take_in(services, write(record(f"I am {PRIVATE}")))
    async with services.database.transaction() as tx:
        await tx.execute("INSERT INTO privacy_patterns (name, pattern, created_at) VALUES ('broken', '(', 'now')")

    with pytest.raises(Invalid, match="the pattern cannot be used"):
        await export_conversations(services, tmp_path / "out.jsonl")

    assert {path.name for path in tmp_path.iterdir()}.isdisjoint({"out.jsonl", "out.jsonl.partial"})


async def test_markdown_is_for_reading_and_cannot_be_mistaken(services, write, tmp_path):
    said = record("# No heading\n\x1b]0;title\x07", "Yes.\n\nNo.", model="small", rating=4, comment="ok", created_at=AT)
    await take_in(services, write(said | {"metadata": {"title": "Trains\n# x"}}))
    out = tmp_path / "out.md"

    await export_conversations(services, out, form="markdown")

    assert out.read_text() == (
        "# Conversations\n\n"
        "## 2026-01-02 03:04 · Trains # x\n\nsmall · rated 4 of 5: ok\n\n"
        "**user**\n\n> # No heading\n> ␛]0;title␇\n\n"
        "**assistant**\n\n> Yes.\n>\n> No.\n\n"
    )


async def test_a_file_that_is_there_stays_unless_the_person_says_otherwise(services, tmp_path):
    out = tmp_path / "out.jsonl"
    out.write_text("mine")

    with pytest.raises(Conflict, match="--overwrite"):
        await export_conversations(services, out)
    assert out.read_text() == "mine"

    await export_conversations(services, out, overwrite=True)
    assert out.read_text() == ""


async def test_a_place_that_cannot_be_written_is_an_error(services, tmp_path):
    with pytest.raises(StorageFailed, match="cannot be written"):
        await export_conversations(services, tmp_path / "absent" / "out.jsonl")


async def test_a_conversation_of_the_tools_goes_out_too(services, tmp_path, write):
    kept = await remember(services, Exchange((Message("user", "?"),), "!").conversation())
    await rate(services, kept.id, 3, "so so")
    out = tmp_path / "out.jsonl"

    await export_conversations(services, out)

    [line] = map(json.loads, out.read_text().splitlines())
    assert (line["response"], line["rating"], line["comment"]) == ("!", 3, "so so")
