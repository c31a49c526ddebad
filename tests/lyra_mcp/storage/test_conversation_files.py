"""Files of conversations are read to their end whatever is broken in them, and written whole or not at all."""

import json
import zipfile

import pytest

from lyra_mcp.errors import Conflict, Invalid, NotFound, StorageFailed
from lyra_mcp.storage import conversation_files
from lyra_mcp.storage.conversation_files import ConversationFile, write_whole


@pytest.fixture(name="read")
def _read(tmp_path):
    """What a file of these bytes holds: (place, record, problem) each."""

    def read(content, name="conversations.json"):
        path = tmp_path / name
        path.write_bytes(content)
        return [(found.place, found.record, found.problem) for found in ConversationFile(path)]

    return read


@pytest.fixture(params=[16, 1 << 20], ids=["small chunks", "one chunk"])
def _chunks(request, monkeypatch):
    monkeypatch.setattr(conversation_files, "CHUNK_BYTES", request.param)


@pytest.mark.usefixtures("_chunks")
def test_a_list_is_read_item_by_item_also_over_the_bounds_of_chunks(read):
    items = [{"n": 1}, {"text": "日本語 🚄 \x1b"}, [1.5], "x", 12345, {"deep": {"er": [None]}}]
    content = json.dumps(items, ensure_ascii=False, indent=1).encode()

    assert read(b"\xef\xbb\xbf" + content) == [(f"item {n}", item, None) for n, item in enumerate(items, start=1)]


@pytest.mark.usefixtures("_chunks")
def test_lines_are_read_with_the_broken_ones_named(read):
    content = b'{"n": 1}\n\n{"n": \n\xff\xfe\r\nnull\n{"n": NaN}\n{"t": "\x07"}\r\n{"n": 2}'

    assert read(content) == [
        ("line 1", {"n": 1}, None),
        ("line 3", None, "it is no JSON (expecting value at character 7)"),
        ("line 4", None, "it is no UTF-8 at byte 1"),
        ("line 5", None, "it is null"),
        ("line 6", None, "NaN is no number in JSON"),
        ("line 7", {"t": "\x07"}, None),
        ("line 8", {"n": 2}, None),
    ]


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("end", ['{"n": ', "", ", ", "}", ",,", ', {"n" 3}]'])
def test_a_list_that_breaks_off_gives_what_came_before(read, end):
    *whole, broken = read(f'[{{"n": 1}}, {{"n": 2}} {end}'.encode())

    assert whole == [("item 1", {"n": 1}, None), ("item 2", {"n": 2}, None)]
    assert (broken[0], broken[1]) == ("item 3", None)
    assert "list" in broken[2]


def test_what_is_nested_too_deeply_is_one_broken_record(read):
    deep = b"[" * 100_000 + b"]" * 100_000

    assert read(deep + b'\n{"n": 1}')[-1][2] == "it is nested too deeply; the list cannot be read beyond it"
    assert read(b'{"a":' + deep + b'}\n{"n": 1}') == [
        ("line 1", None, "it is nested too deeply"),
        ("line 2", {"n": 1}, None),
    ]


def test_an_empty_file_holds_nothing(read):
    assert read(b"") == read(b"[]") == read(b" \n \n") == []


def test_an_archive_is_read_as_it_was_downloaded(tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("user.json", "{}")
        archive.writestr("data/conversations-000.json", '[{"n": 1}]')
        archive.writestr("data/conversations-001.json", '[{"n": 2}')

    file = ConversationFile(path)

    assert [(found.place, found.record) for found in file][:2] == [
        ("data/conversations-000.json: item 1", {"n": 1}),
        ("data/conversations-001.json: item 1", {"n": 2}),
    ]
    assert file.total_bytes == 19


def test_progress_ends_where_the_file_ends(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"n": 1}\n' * 1000)
    file = ConversationFile(path)

    assert [found.done_bytes for found in file][-1] == file.total_bytes == path.stat().st_size


def test_what_is_no_export_is_refused(tmp_path):
    empty = tmp_path / "empty.zip"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("notes.txt", "x")
    wide = tmp_path / "wide.json"
    wide.write_text("[]", encoding="utf-16")

    with pytest.raises(Invalid, match=r"empty\.zip holds no conversations\.json"):
        ConversationFile(empty)
    with pytest.raises(Invalid, match="save it as UTF-8"):
        list(ConversationFile(wide))
    with pytest.raises(NotFound, match="there is no file"):
        ConversationFile(tmp_path / "absent.json")
    with pytest.raises(Invalid, match="Is a directory"):
        list(ConversationFile(tmp_path))


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps([{"n": n} for n in range(1000)]))
    content = bytearray(path.read_bytes())
    content[200:260] = b"\0" * 60
    path.write_bytes(content)

    with pytest.raises(Invalid, match="damaged"):
        list(ConversationFile(path))


def test_a_file_appears_whole_and_private(tmp_path):
    path = tmp_path / "out.jsonl"
    with write_whole(path, overwrite=False) as file:
        file.write("日本\n")
        assert not path.exists()

    assert path.read_bytes() == "日本\n".encode()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("old")

    with pytest.raises(Conflict, match="--overwrite"), write_whole(path, overwrite=False):
        pass
    with pytest.raises(UnicodeEncodeError), write_whole(path, overwrite=True) as file:
        file.write("new" * 10_000 + "\ud83d")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with (
        pytest.raises(StorageFailed, match="No such file or directory"),
        write_whole(tmp_path / "absent" / "out.jsonl", overwrite=False),
    ):
        pass
