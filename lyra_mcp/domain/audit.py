"""The audit's chain: each entry's mac covers the one before it, and the last one is also kept elsewhere."""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

#: What is recorded. Who read something is not.
Event = Literal[
    "consent_granted",
    "consent_revoked",
    "pattern_set",
    "pattern_removed",
    "exported",
    "backed_up",
    "restored",
    "erased",
    "forgotten",
    "retention_set",
    "retention_applied",
    "retention_failed",
    "key_rotated",
    "key_exported",
    "training_started",
    "intents_trained",
    "adapter_activated",
    "adapter_rolled_back",
    "adapters_pruned",
    "calibration_fitted",
    "calibration_rolled_back",
    "token_added",
    "token_revoked",
    "role_denied",
]

#: Numbers, ids, and lists of them.
Detail = Mapping[str, object]

#: The mac before the first entry.
GENESIS = "0" * 64
#: An id, a name or a moment; anything longer, or with a space in it, may be somebody's text.
_ID = re.compile(r"[\w.:/+@-]{0,128}")


@dataclass(frozen=True, slots=True)
class Entry:
    seq: int
    event: str
    actor: str
    #: JSON of ids and counts, as it was written.
    detail: str
    created_at: str
    mac: str


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry as it is kept outside the table; it may lag behind, and is never ahead."""

    seq: int
    mac: str


@dataclass(frozen=True, slots=True)
class Verdict:
    valid: bool
    entries: int
    head: str
    #: What is wrong, and since which entry; empty where the chain holds.
    problem: str = ""


def dump_detail(detail: Detail) -> str:
    """Canonical JSON.

    Raises:
        ValueError: a value may be a person's text, which the audit must not hold.
    """
    for name, value in detail.items():
        for part in _strings(value):
            if not _ID.fullmatch(part):
                raise ValueError(f"{name} is no id: the audit holds ids and counts")
    return json.dumps(detail, sort_keys=True, separators=(",", ":"))


def seal(key: bytes, previous_mac: str, *, seq: int, event: str, actor: str, detail: str, created_at: str) -> str:
    """HMAC-SHA256 over the previous mac and the entry, as hex."""
    fields = json.dumps([seq, event, actor, detail, created_at], separators=(",", ":"))
    return hmac.new(key, f"{previous_mac}{fields}".encode(), hashlib.sha256).hexdigest()


def verify(key: bytes, entries: Iterable[Entry], head: Head | None) -> Verdict:
    """Follow the chain from its beginning, and look for the head that was kept outside."""
    mac, count, seen = GENESIS, 0, head == Head(0, GENESIS)
    for entry in entries:
        expected = seal(
            key,
            mac,
            seq=entry.seq,
            event=entry.event,
            actor=entry.actor,
            detail=entry.detail,
            created_at=entry.created_at,
        )
        count += 1
        if entry.seq != count or not hmac.compare_digest(expected, entry.mac):
            return Verdict(False, count, mac, f"entry {count} was changed, or one before it was removed")
        mac = entry.mac
        seen = seen or head == Head(entry.seq, mac)
    if head is None:
        return Verdict(False, count, mac, "the head beside the database is missing, so the end cannot be trusted")
    if not seen:
        return Verdict(False, count, mac, f"the chain does not hold its entry {head.seq}: its end was cut or replaced")
    return Verdict(True, count, mac)


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [*value]
    return [part for part in value if isinstance(part, str)] if isinstance(value, list) else []
