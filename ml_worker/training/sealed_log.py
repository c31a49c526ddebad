"""The log of a sealed job: what the child prints, sealed line by line as it is printed."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from ml_worker.job_folders import JobFolder, write_atomically
from schema import sealing


class SealedLog(io.TextIOBase):
    """A stream for `print`; each flush and each whole line is a frame of its own, so that a kill loses half a line.

    What libraries write past Python, to the file descriptors, is not kept.

    Raises:
        JobRefused: `sealed`, where an earlier run's log does not open with the folder's key.
    """

    def __init__(self, folder: JobFolder) -> None:
        assert folder.key is not None, "a sealed log needs a key"
        self._key, self._place = folder.key, folder.place(folder.log)
        self._path = sealing.sealed_path(folder.log)
        earlier = b"" if self._is_growing() else _earlier(folder)
        if not self._is_growing():
            frame = sealing.log_frame(self._key, earlier, self._place, 0)
            write_atomically(self._path, sealing.LOG_MAGIC + frame)
            folder.log.unlink(missing_ok=True)
        frames = sealing.split_log(self._path.read_bytes())
        self._number = len(frames)
        self._size = len(sealing.LOG_MAGIC) + sum(sealing.LENGTH_BYTES + len(frame) for frame in frames)
        self._file = self._path.open("r+b", buffering=0)
        self._file.truncate(self._size)  # a frame that a kill tore
        self._file.seek(self._size)
        self._text = ""

    def _is_growing(self) -> bool:
        try:
            with self._path.open("rb") as file:
                return file.read(len(sealing.LOG_MAGIC)) == sealing.LOG_MAGIC
        except FileNotFoundError:
            return False

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._text += text
        if "\n" in text:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Raises OSError where the disk is full; the log stays whole up to there."""
        if self.closed or not self._text:
            return
        content, self._text = self._text.encode("utf-8", "replace"), ""
        frame = sealing.log_frame(self._key, content, self._place, self._number)
        try:
            written = self._file.write(frame)
        except OSError:
            self._file.truncate(self._size)
            self._file.seek(self._size)
            raise
        if written != len(frame):  # the last bytes of a disk: the next write says that it is full
            self._file.truncate(self._size)
            self._file.seek(self._size)
            return
        self._number, self._size = self._number + 1, self._size + len(frame)

    def close(self) -> None:
        if not self.closed:
            self.flush()
            self._file.close()
        super().close()


def _earlier(folder: JobFolder) -> bytes:
    """What was logged before the folder was sealed."""
    try:
        return folder.read(folder.log)
    except FileNotFoundError:
        return b""


@contextmanager
def sealed_output(folder: JobFolder) -> Iterator[None]:
    """Where the folder is sealed, whatever this process says goes sealed into its log."""
    if not folder.is_sealed:
        yield
        return
    log = SealedLog(folder)
    with redirect_stdout(log), redirect_stderr(log):
        try:
            yield
        finally:
            log.close()
