"""Files of conversations: read record by record, however large and however broken; written whole or not at all."""

import codecs
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from lyra_mcp.errors import Conflict, Invalid, NotFound
from lyra_mcp.storage.database import translate

#: The file in an export's archive; large exports come in numbered parts.
MEMBER = re.compile(r"conversations(-\d+)?\.jsonl?")
CHUNK_BYTES = 1 << 20
#: Longer records are refused: they would fill the memory before anybody could say what is wrong with them.
RECORD_CHARS_MAX = 256 << 20
BLANK = " \t\r\n"
#: What people said is for nobody else's eyes; a partial file of a process with our number is nobody's any more.
PRIVATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True, slots=True)
class Found:
    """One record of a file, or why there is none at this place."""

    #: Such as `line 7` or `item 7`, with the file in front where an archive has several.
    place: str
    record: Any
    problem: str | None
    #: How far the file is read.
    done_bytes: int


class ConversationFile:
    """An export as it was downloaded: an archive, a JSON list, or a line for each record."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _refused(path):
            self._members = self._find_members()
            self.total_bytes = sum(size for _, size in self._members) or path.stat().st_size

    def _find_members(self) -> list[tuple[str, int]]:
        """Empty: it is no archive."""
        if not zipfile.is_zipfile(self._path):
            return []
        with zipfile.ZipFile(self._path) as archive:
            found = [each for each in archive.infolist() if MEMBER.fullmatch(PurePosixPath(each.filename).name)]
        if not found:
            raise Invalid(f"{self._path.name} holds no conversations.json; name the archive as it was downloaded")
        return sorted((each.filename, each.file_size) for each in found)

    def __iter__(self) -> Iterator[Found]:
        """
        Raises:
            Invalid: the file as a whole cannot be read.
        """
        with _refused(self._path):
            if not self._members:
                with self._path.open("rb") as file:
                    yield from _records(file, "", 0)
                return
            with zipfile.ZipFile(self._path) as archive:
                before = 0
                for name, size in self._members:
                    prefix = f"{name}: " if len(self._members) > 1 else ""
                    with archive.open(name) as file:
                        yield from _records(file, prefix, before)
                    before += size


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise Invalid(f"the archive {path.name} is damaged or locked ({error}); download it again") from error
    except OSError as error:
        raise Invalid(f"{path} cannot be read ({error.strerror or error})") from error


def _records(file: IO[bytes], prefix: str, before: int) -> Iterator[Found]:
    """`before`: bytes of the files read before this one."""
    start = file.read(CHUNK_BYTES)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Invalid("the file is in UTF-16; save it as UTF-8")
    start = start.removeprefix(b"\xef\xbb\xbf")
    is_list = start.lstrip().startswith(b"[")
    read = _Reader(file, start, before)
    for number, (record, problem) in enumerate(_items(read) if is_list else _lines(read), start=1):
        if record is not None or problem is not None:
            yield Found(f"{prefix}{'item' if is_list else 'line'} {number}", record, problem, read.done_bytes)


class _Reader:
    """Counts what it reads; begins with what was read to look at."""

    def __init__(self, file: IO[bytes], start: bytes, before: int) -> None:
        self._file, self._start = file, start
        self.done_bytes = before + len(start)

    def chunk(self, size: int) -> bytes:
        """Empty at the end."""
        start, self._start = self._start, b""
        if start:
            return start
        read = self._file.read(size)
        self.done_bytes += len(read)
        return read


# A line for each record


def _lines(read: _Reader) -> Iterator[tuple[Any, str | None]]:
    rest = b""
    while chunk := read.chunk(CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield _parse_line(line)
        if len(rest) > RECORD_CHARS_MAX:
            raise Invalid(f"a line is longer than {RECORD_CHARS_MAX} characters; this is no file of conversations")
    if rest:
        yield _parse_line(rest)


def _parse_line(line: bytes) -> tuple[Any, str | None]:
    if not line.strip():
        return None, None
    try:
        return _none_is_a_problem(DECODER.decode(line.decode()))
    except (ValueError, RecursionError) as error:
        return None, _why(error)


# A list


def _items(read: _Reader) -> Iterator[tuple[Any, str | None]]:
    """The items of a JSON list. After a broken one nobody can say where the next begins, so it is the last."""
    text = _Text(read)
    text.skip("[")
    while (mark := text.peek()) not in {"]", ""}:
        try:
            item = text.item()
        except (ValueError, RecursionError) as error:
            yield None, f"{_why(error)}; the list cannot be read beyond it"
            return
        yield _none_is_a_problem(item)
        mark = text.peek()
        if mark == ",":
            text.skip(",")
        elif mark != "]":
            break
    if mark != "]":
        yield None, "the file ends, or goes on with something else, before its list does; download it again"


class _Text:
    """A window over the text of a file, moved forward item by item."""

    def __init__(self, read: _Reader) -> None:
        self._read = read
        self._text, self._at = "", 0
        self._size = CHUNK_BYTES
        #: Bytes that are no UTF-8 become U+FFFD: in a list they must not cost all that follows.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in BLANK:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def skip(self, mark: str) -> None:
        if self.peek() == mark:
            self._at += 1

    def item(self) -> Any:
        """
        Raises:
            ValueError: there is no whole JSON value here.
        """
        while True:
            try:
                item, end = DECODER.raw_decode(self._text, self._at)
            except ValueError:
                if self._more():
                    continue
                raise
            # A number may go on in the next chunk; everything else says where it ends.
            if end < len(self._text) or not self._more():
                self._at = end
                return item

    def _more(self) -> bool:
        """Read on; each time twice as much, because an item is parsed again from its beginning."""
        chunk = self._read.chunk(self._size)
        if not chunk:
            return False
        self._text = self._text[self._at :] + self._decoder.decode(chunk)
        self._at = 0
        self._size = max(CHUNK_BYTES, len(self._text))
        if len(self._text) > RECORD_CHARS_MAX:
            raise Invalid(f"an item is longer than {RECORD_CHARS_MAX} characters; this is no file of conversations")
        return True


# Both


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


#: `strict` would refuse control characters inside texts, which some programs write as they are.
DECODER = json.JSONDecoder(strict=False, parse_constant=_no_number)


def _none_is_a_problem(item: Any) -> tuple[Any, str | None]:
    return (None, "it is null") if item is None else (item, None)


def _why(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"it is no UTF-8 at byte {error.start + 1}"
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON ({error.msg.lower()} at character {error.pos + 1})"
    return str(error)


@contextmanager
def write_whole(path: Path, *, overwrite: bool) -> Iterator[IO[str]]:
    """A file that appears under its name when all of it is on the disk; after a failure what was there stays.

    Raises:
        Conflict: there is such a file.
        DiskFull, StorageFailed: it cannot be written.
    """
    if path.exists() and not overwrite:
        raise Conflict(f"{path} exists; choose another name, or say --overwrite")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with os.fdopen(os.open(partial, PRIVATE, 0o600), "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise translate(error, path=path) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
