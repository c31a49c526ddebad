"""The master key, by which the keys of users are wrapped: in the system's keyring, in a file, or from a passphrase."""

import base64
import json
import secrets
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from lyra_mcp.errors import StorageFailed
from lyra_mcp.settings import KeySource
from lyra_mcp.storage.files import locked, write_private

KEY_BYTES = 32
MASTER_FILE = "master.key"
KEYRING_SERVICE = "lyra-mcp"

#: Argon2id; written beside each salt, so that they can be raised later. 64 MiB, three passes: 0.2 s.
ARGON2 = {"memory_kib": 65_536, "iterations": 3, "lanes": 4}

Source = Literal["keyring", "file", "passphrase"]


@dataclass(frozen=True, slots=True)
class Master:
    master_id: str
    key: bytes
    source: Source


class MasterKeys:
    """The master keys of one home: one is current; during a rotation the one before it is kept beside it."""

    def __init__(self, home: Path, *, source: KeySource, passphrase: str | None) -> None:
        self._home = home
        self._source = source
        self._passphrase = passphrase

    @property
    def path(self) -> Path:
        return self._home / MASTER_FILE

    def current(self) -> Master:
        """The master key in use; made where there is none.

        Raises:
            StorageFailed: its source does not answer, or the passphrase is missing.
        """
        with self._held():
            ring = self._read()
            if ring is None:
                ring = {"format": 1, "current": "", "masters": {}}
                return self._add(ring)
            return self._open(ring, ring["current"])

    def find(self, master_id: str) -> Master:
        """Raises StorageFailed where it is unknown here."""
        ring = self._read()
        if ring is None or master_id not in ring["masters"]:
            raise StorageFailed(
                f"the master key of this key file is not in {self.path}; restore that file from a backup,"
                " or run `lyra-mcp key import` with an exported key"
            )
        return self._open(ring, master_id)

    def source(self) -> Source | None:
        """Where the current master key lies; None before there is one."""
        ring = self._read()
        return ring["masters"][ring["current"]]["source"] if ring else None

    def add(self) -> Master:
        """Make a new current master key; the old ones stay readable until `keep_only`."""
        with self._held():
            return self._add(self._read() or {"format": 1, "current": "", "masters": {}})

    def keep_only(self, master_id: str) -> None:
        """Forget every other master key; what only they could open is lost."""
        with self._held():
            ring = self._read()
            assert ring is not None
            doomed = [one for one in ring["masters"] if one != master_id]
            ring["masters"] = {master_id: ring["masters"][master_id]}
            write_private(self.path, json.dumps({**ring, "current": master_id}).encode())
            for one in doomed:
                _forget_in_keyring(one)

    def _held(self) -> Any:
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return locked(self._home / "master.lock")

    def _read(self) -> dict[str, Any] | None:
        try:
            ring = json.loads(self.path.read_bytes())
            assert ring["masters"][ring["current"]]["source"] in ("keyring", "file", "passphrase")
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise StorageFailed(f"the master key file is damaged; restore {self.path} from a backup") from error
        found: dict[str, Any] = ring
        return found

    def _add(self, ring: dict[str, Any]) -> Master:
        master_id, key = secrets.token_hex(8), secrets.token_bytes(KEY_BYTES)
        source = self._choose(master_id, key)
        entry: dict[str, Any] = {"source": source}
        if source == "file":
            entry["key"] = key.hex()
        elif source == "passphrase":
            entry |= {"salt": secrets.token_hex(16), **ARGON2}
            key = derive(self._needed_passphrase(), entry)
        ring["masters"][master_id] = entry
        ring["current"] = master_id
        write_private(self.path, json.dumps(ring).encode())
        return Master(master_id, key, source)

    def _choose(self, master_id: str, key: bytes) -> Source:
        """The source of a new key; one in the keyring is kept there by now."""
        match self._source:
            case "file":
                return "file"
            case "passphrase":
                self._needed_passphrase()
                return "passphrase"
            case "keyring":
                if not _keep_in_keyring(master_id, key):
                    raise StorageFailed(
                        "no system keyring answers; install lyra-mcp[keyring], or set LYRA_KEY_SOURCE to file or"
                        " passphrase"
                    )
                return "keyring"
            case "auto":
                if self._passphrase:
                    return "passphrase"
                return "keyring" if _keep_in_keyring(master_id, key) else "file"

    def _open(self, ring: dict[str, Any], master_id: str) -> Master:
        entry = ring["masters"][master_id]
        match entry["source"]:
            case "file":
                return Master(master_id, bytes.fromhex(entry["key"]), "file")
            case "keyring":
                return Master(master_id, _find_in_keyring(master_id), "keyring")
            case _:
                return Master(master_id, derive(self._needed_passphrase(), entry), "passphrase")

    def _needed_passphrase(self) -> str:
        if not self._passphrase:
            raise StorageFailed("the key needs the passphrase; set LYRA_PASSPHRASE and start again")
        return self._passphrase


def derive(passphrase: str, parameters: dict[str, Any]) -> bytes:
    """Argon2id (RFC 9106) with the salt and costs that were written down."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # noqa: PLC0415 - loaded where a key is needed

    return Argon2id(
        salt=bytes.fromhex(parameters["salt"]),
        length=KEY_BYTES,
        iterations=parameters["iterations"],
        lanes=parameters["lanes"],
        memory_cost=parameters["memory_kib"],
    ).derive(passphrase.encode())


def _keep_in_keyring(master_id: str, key: bytes) -> bool:
    """Whether a system keyring took the key and gives it back."""
    if find_spec("keyring") is None:
        return False
    import keyring  # noqa: PLC0415 - an extra, and it looks for its backends when it is imported
    from keyring.errors import KeyringError  # noqa: PLC0415 - likewise

    written = base64.b64encode(key).decode()
    try:
        keyring.set_password(KEYRING_SERVICE, master_id, written)
        return bool(keyring.get_password(KEYRING_SERVICE, master_id) == written)
    except (KeyringError, RuntimeError):  # some backends raise what their bus raises
        return False


def _find_in_keyring(master_id: str) -> bytes:
    if find_spec("keyring") is None:
        raise StorageFailed("the master key lies in the system keyring; install lyra-mcp[keyring]")
    import keyring  # noqa: PLC0415 - see above
    from keyring.errors import KeyringError  # noqa: PLC0415 - likewise

    try:
        written = keyring.get_password(KEYRING_SERVICE, master_id)
    except (KeyringError, RuntimeError) as error:
        raise StorageFailed("the system keyring does not answer; unlock it and call again") from error
    if written is None:
        raise StorageFailed(
            "the system keyring no longer holds the master key; run `lyra-mcp key import` with an exported key"
        )
    return base64.b64decode(written)


def _forget_in_keyring(master_id: str) -> None:
    if find_spec("keyring") is None:
        return
    import keyring  # noqa: PLC0415 - see above
    from keyring.errors import KeyringError  # noqa: PLC0415 - likewise

    try:
        keyring.delete_password(KEYRING_SERVICE, master_id)
    except (KeyringError, RuntimeError):
        return  # it was not there, or the keyring is closed: nothing refers to it any more
