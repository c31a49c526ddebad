"""The keys of one user: random, wrapped by the master key, replaced without a moment in which none can be read."""

import base64
import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lyra_mcp.errors import Invalid, StorageFailed
from lyra_mcp.settings import KeySource
from lyra_mcp.storage.files import write_private
from lyra_mcp.storage.master_keys import ARGON2, KEY_BYTES, Master, MasterKeys, Source, derive

KEY_FILE = "lyra.key"
NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class UserKeys:
    database: bytes
    #: Never changes while the data live; the keys of the audit and of backups are derived from it.
    root: bytes
    #: A change of the database's key was begun: it fits one of the two.
    pending: bytes | None = None

    @property
    def audit(self) -> bytes:
        return _derived(self.root, b"audit")

    @property
    def backup(self) -> bytes:
        return _derived(self.root, b"backup")

    @property
    def files(self) -> bytes:
        """The file key: seals what trainings read, learn and write. It is lent to the worker."""
        return _derived(self.root, b"files")


@dataclass(frozen=True, slots=True)
class Found:
    keys: UserKeys
    #: Not wrapped by the current master key: written anew as soon as it has opened the database.
    is_old: bool


class KeyStore:
    def __init__(self, home: Path, user: str, *, source: KeySource = "file", passphrase: str | None = None) -> None:
        self.user = user
        self.path = home / "users" / user / KEY_FILE
        self._home = home
        self._is_automatic = source == "auto"
        self._masters = MasterKeys(home, source=source, passphrase=passphrase)

    def source(self) -> Source | None:
        """Where the master key lies; None before there is one."""
        return self._masters.source()

    def fell_back(self) -> bool:
        """The master key is a file because nothing better was there, and not because somebody chose that."""
        return self._is_automatic and self.source() == "file"

    def find(self) -> Found | None:
        """The keys as they are kept; None where there is no key file.

        Raises:
            StorageFailed: the file is damaged, or the master key cannot be had.
        """
        try:
            written = self.path.read_bytes()
        except FileNotFoundError:
            return None
        if len(written) == 2 * KEY_BYTES:  # as the first releases wrote it: the bare key of the database
            return Found(UserKeys(_from_hex(written), secrets.token_bytes(KEY_BYTES)), is_old=True)
        blob = _parse(written)
        return Found(self._unwrap(blob, self._masters.find(blob["master"])), is_old=False)

    def create(self) -> UserKeys:
        keys = UserKeys(secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES))
        self.save(keys)
        return keys

    def save(self, keys: UserKeys) -> None:
        """Replace the key file; a power cut leaves the old one."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(self.path, keys, self._masters.current())

    def rotate_master(self) -> Source:
        """Wrap the keys of every user of this home by a new master key; the old one ends with the last of them."""
        new = self._masters.add()
        for path in sorted(self._home.glob(f"users/*/{KEY_FILE}")):
            written = path.read_bytes()
            if len(written) == 2 * KEY_BYTES:
                continue  # wrapped when its user comes next
            blob = _parse(written)
            other = KeyStore(self._home, path.parent.name)
            keys = other._unwrap(blob, self._masters.find(blob["master"]))
            other._write(path, keys, new)
        self._masters.keep_only(new.master_id)
        return new.source

    def export(self, keys: UserKeys, passphrase: str) -> bytes:
        """The keys in a form that opens with a passphrase alone, on any machine."""
        parameters: dict[str, Any] = {"salt": secrets.token_hex(16), **ARGON2}
        sealed = wrap(derive(passphrase, parameters), _dump(keys), about=self.user)
        return json.dumps({"format": 1, "user": self.user, "kdf": parameters, **sealed}).encode()

    def read_export(self, written: bytes, passphrase: str) -> UserKeys:
        """Raises Invalid where it is no export of this user, or the passphrase is another."""
        try:
            blob = json.loads(written)
            return _load(unwrap(derive(passphrase, blob["kdf"]), blob, about=self.user))
        except (ValueError, KeyError, TypeError, StorageFailed) as error:
            raise Invalid(
                f"this is no exported key of the user {self.user!r}, or the passphrase is another; try again"
            ) from error

    def _unwrap(self, blob: dict[str, Any], master: Master) -> UserKeys:
        try:
            return _load(unwrap(master.key, blob, about=self.user))
        except StorageFailed as error:
            if master.source == "passphrase":
                raise StorageFailed("the passphrase is not the one of this key; set LYRA_PASSPHRASE anew") from error
            raise

    def _write(self, path: Path, keys: UserKeys, master: Master) -> None:
        sealed = wrap(master.key, _dump(keys), about=self.user)
        write_private(path, json.dumps({"format": 1, "master": master.master_id, **sealed}).encode())


def wrap(key: bytes, secret: bytes, *, about: str) -> dict[str, str]:
    """AES-256-GCM; `about` is bound to the secret, so that one user's file cannot stand in for another's."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - loaded where a key is needed

    nonce = secrets.token_bytes(NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, secret, about.encode())
    return {"nonce": base64.b64encode(nonce).decode(), "wrapped": base64.b64encode(sealed).decode()}


def unwrap(key: bytes, blob: dict[str, Any], *, about: str) -> bytes:
    """Raises StorageFailed where the key is another, or a bit was changed."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - likewise
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - likewise

    try:
        nonce, sealed = base64.b64decode(blob["nonce"]), base64.b64decode(blob["wrapped"])
        return AESGCM(key).decrypt(nonce, sealed, about.encode())
    except (InvalidTag, ValueError, KeyError, TypeError) as error:
        raise _damaged() from error


def settled(keys: UserKeys, database: bytes) -> UserKeys:
    """Once it is known which key fits."""
    return replace(keys, database=database, pending=None)


def with_pending(keys: UserKeys, database: bytes) -> UserKeys:
    """While the database is being replaced by one with another key."""
    return replace(keys, pending=database)


def _derived(root: bytes, purpose: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - loaded where a key is needed
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand  # noqa: PLC0415 - likewise

    return HKDFExpand(SHA256(), KEY_BYTES, b"lyra-mcp " + purpose).derive(root)


def _dump(keys: UserKeys) -> bytes:
    pending = keys.pending.hex() if keys.pending else None
    return json.dumps({"database": keys.database.hex(), "root": keys.root.hex(), "pending": pending}).encode()


def _load(secret: bytes) -> UserKeys:
    fields = json.loads(secret)
    pending = fields["pending"]
    return UserKeys(
        bytes.fromhex(fields["database"]), bytes.fromhex(fields["root"]), bytes.fromhex(pending) if pending else None
    )


def _from_hex(written: bytes) -> bytes:
    try:
        return bytes.fromhex(written.decode("ascii"))
    except ValueError as error:
        raise _damaged() from error


def _parse(written: bytes) -> dict[str, Any]:
    try:
        blob = json.loads(written)
    except ValueError as error:
        raise _damaged() from error
    if not isinstance(blob, dict) or not isinstance(blob.get("master"), str):
        raise _damaged()
    return blob


def _damaged() -> StorageFailed:
    return StorageFailed("the key file is damaged; restore lyra.key from a backup")
