"""Sealed files, which server and worker both read and write: AES-256-GCM under a key that no disk holds in plain.

A sealed file stands beside or in the place of the plain one, with `SUFFIX` at its name's end; where both are there, the
sealed one holds. What it holds is bound to its place: no file can stand in for another.
"""

import hashlib
import secrets
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, PlainSerializer, SecretStr

SUFFIX = ".sealed"
MAGIC = b"LYRA JOB 1\n"
#: Of a log, which grows: frames of a length in four bytes, a nonce, and what was written at once.
LOG_MAGIC = b"LYRA LOG 1\n"
KEY_BYTES, NONCE_BYTES, LENGTH_BYTES = 32, 12, 4

#: The file of a job's folder by which the folder counts as sealed: it is there before anything else.
SAMPLES = "samples.jsonl"
WEIGHTS = "adapter_model.safetensors"
#: The adapter's folder inside a job's folder.
ADAPTER = "adapter"


def _is_key(key: SecretStr) -> SecretStr:
    try:
        fits = len(bytes.fromhex(key.get_secret_value())) == KEY_BYTES
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"must be {KEY_BYTES} bytes in hexadecimal")
    return key


#: A user's file key in a message between the two processes; shown nowhere else.
FileKey = Annotated[
    SecretStr,
    AfterValidator(_is_key),
    PlainSerializer(lambda key: key.get_secret_value(), return_type=str, when_used="json"),
]


class CannotOpen(Exception):
    """A sealed file without its key, with another, or with a bit that was changed; the message names the next step."""


def as_file_key(key: bytes | None) -> SecretStr | None:
    return None if key is None else SecretStr(key.hex())


def as_bytes(key: SecretStr | None) -> bytes | None:
    return None if key is None else bytes.fromhex(key.get_secret_value())


def sealed_path(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def is_sealed(path: Path) -> bool:
    return sealed_path(path).is_file()


def place_of_weights(folder: Path) -> str:
    """What an adapter's weights are bound to: the job that made them, in its folder and where they are served alike."""
    folder = folder.resolve()
    return f"{folder.parent.name if folder.name == ADAPTER else folder.name}/{WEIGHTS}"


def seal(key: bytes, content: bytes, place: str) -> bytes:
    return MAGIC + _encrypted(key, content, place)


def unseal(key: bytes | None, sealed: bytes, place: str) -> bytes:
    """What `seal` was given, or the whole of a log.

    Raises:
        CannotOpen: without the key, with another one, or where a bit was changed.
    """
    if key is None:
        raise CannotOpen(
            f"{place} is sealed and no key was given; ask through the server of its user, which has the key"
        )
    if sealed.startswith(LOG_MAGIC):
        frames = split_log(sealed)
        return b"".join(_decrypted(key, frame, log_place(place, number)) for number, frame in enumerate(frames))
    if not sealed.startswith(MAGIC):
        raise _changed(place)
    return _decrypted(key, sealed.removeprefix(MAGIC), place)


def read(path: Path, key: bytes | None, place: str) -> bytes:
    """A file, sealed or not.

    Raises:
        FileNotFoundError: it is not there.
        CannotOpen: see `unseal`.
    """
    try:
        sealed = sealed_path(path).read_bytes()
    except FileNotFoundError:
        return path.read_bytes()
    return unseal(key, sealed, place)


def sha256(path: Path, key: bytes | None, place: str) -> str:
    """Of what is in a file, sealed or not. Raises like `read`."""
    if is_sealed(path):
        return hashlib.sha256(read(path, key, place)).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Logs


def log_frame(key: bytes, content: bytes, place: str, number: int) -> bytes:
    """The next piece of a log, which begins with `LOG_MAGIC`; its number keeps the pieces in their order."""
    frame = _encrypted(key, content, log_place(place, number))
    return len(frame).to_bytes(LENGTH_BYTES, "big") + frame


def log_place(place: str, number: int) -> str:
    return f"{place}#{number}"


def split_log(sealed: bytes) -> list[bytes]:
    """The whole frames; one that a power cut tore is left out."""
    frames, at = [], len(LOG_MAGIC)
    while at + LENGTH_BYTES <= len(sealed):
        length = int.from_bytes(sealed[at : at + LENGTH_BYTES], "big")
        frame = sealed[at + LENGTH_BYTES : at + LENGTH_BYTES + length]
        if len(frame) < length:
            break
        frames.append(frame)
        at += LENGTH_BYTES + length
    return frames


# The cipher


def _encrypted(key: bytes, content: bytes, place: str) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - loaded where it is needed

    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, content, place.encode())


def _decrypted(key: bytes, written: bytes, place: str) -> bytes:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - likewise
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - likewise

    try:
        return AESGCM(key).decrypt(written[:NONCE_BYTES], written[NONCE_BYTES:], place.encode())
    except (InvalidTag, ValueError) as error:
        raise _changed(place) from error


def _changed(place: str) -> CannotOpen:
    return CannotOpen(
        f"{place}{SUFFIX} was changed, or belongs to another key; restore lyra.key from a backup, or train again"
    )
