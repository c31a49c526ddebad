"""Files that open with a passphrase: AES-256-GCM in frames, so that they may be large, and cannot be cut unnoticed."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lyra_mcp.errors import Invalid
from lyra_mcp.storage.master_keys import ARGON2, derive

MAGIC = b"LYRA SEALED 1\n"
FRAME_BYTES = 1 << 20
_TAG_BYTES = 16
_HEADER_BYTES_MAX = 4_096


class SealedWriter:
    """What is written is sealed frame by frame; only `close` makes the file whole.

    The nonce is a random prefix and the frame's number; the last frame says that it is the last.
    """

    def __init__(self, file: IO[bytes], passphrase: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - loaded where it is needed

        parameters: dict[str, Any] = {"salt": secrets.token_hex(16), "prefix": secrets.token_hex(8), **ARGON2}
        header = json.dumps(parameters).encode() + b"\n"
        self._file, self._header, self._prefix = file, header, bytes.fromhex(parameters["prefix"])
        self._cipher = AESGCM(derive(passphrase, parameters))
        self._buffer, self._frame = bytearray(), 0
        file.write(MAGIC + header)

    def write(self, content: bytes) -> int:
        self._buffer += content
        while len(self._buffer) > FRAME_BYTES:
            self._seal(bytes(self._buffer[:FRAME_BYTES]), is_last=False)
            del self._buffer[:FRAME_BYTES]
        return len(content)

    def flush(self) -> None:
        """A frame is written when it is full."""

    def close(self) -> None:
        self._seal(bytes(self._buffer), is_last=True)

    def _seal(self, content: bytes, *, is_last: bool) -> None:
        nonce = self._prefix + self._frame.to_bytes(4, "big")
        self._file.write(self._cipher.encrypt(nonce, content, _about(self._header, is_last=is_last)))
        self._frame += 1


def unseal(path: Path, passphrase: str) -> Iterator[bytes]:
    """The content in pieces.

    Raises:
        Invalid: it is no sealed file, the passphrase is another, or it was changed or cut.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - loaded where it is needed
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - likewise

    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise Invalid(f"{path.name} is no sealed file of Lyra; a plain export is an ordinary zip")
        header = file.readline(_HEADER_BYTES_MAX)
        try:
            parameters = json.loads(header)
            cipher, prefix = AESGCM(derive(passphrase, parameters)), bytes.fromhex(parameters["prefix"])
        except (ValueError, KeyError, TypeError) as error:
            raise Invalid(f"{path.name} is damaged at its beginning; take another copy") from error
        number, frame = 0, file.read(FRAME_BYTES + _TAG_BYTES)
        while True:
            following = file.read(FRAME_BYTES + _TAG_BYTES)
            nonce, about = prefix + number.to_bytes(4, "big"), _about(header, is_last=not following)
            try:
                yield cipher.decrypt(nonce, frame, about)
            except InvalidTag as error:
                raise Invalid(f"the passphrase is another, or {path.name} was changed or cut; try again") from error
            if not following:
                return
            number, frame = number + 1, following


def _about(header: bytes, *, is_last: bool) -> bytes:
    return header + (b"last" if is_last else b"more")
