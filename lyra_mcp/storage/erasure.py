"""An erasure that was decided is finished, whatever interrupts it: its order lies beside the database until then."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lyra_mcp.storage.files import shred, shred_folder, sync_folder, write_private

ORDER_FILE = "erasure.json"
#: What belongs to the user's folder and survives: locks, and the order itself until the end.
_KEPT = {"lyra.lock", "lyra.open", ORDER_FILE}


@dataclass(frozen=True, slots=True)
class Order:
    """Ids and counts: what was stored, and which folders of the home go with it."""

    #: Folders and files inside the home, relative to it.
    doomed: Sequence[str]
    #: What the audit of the empty database begins with.
    actor: str
    detail: dict[str, Any]
    created_at: str


def write_order(folder: Path, order: Order) -> None:
    """From here on the data are lost, also if the power fails."""
    write_private(folder / ORDER_FILE, json.dumps(asdict(order)).encode())


def read_order(folder: Path) -> Order | None:
    try:
        return Order(**json.loads((folder / ORDER_FILE).read_bytes()))
    except FileNotFoundError:
        return None


def finish_erasure(folder: Path) -> None:
    """Delete what an order names, the key first: without it the rest is noise. Nothing happens without an order.

    The order stays until the empty database has recorded it: see `forget_order`.
    """
    order = read_order(folder)
    if order is None or (folder / f"{ORDER_FILE}.done").exists():
        return
    shred(folder / "lyra.key")
    home = folder.parent.parent
    for name in order.doomed:
        path = home / name
        assert path.resolve().is_relative_to(home.resolve()), "an erasure stays inside the home"
        shred_folder(path)
    for path in folder.iterdir():
        if path.name not in _KEPT:
            shred_folder(path)
    write_private(folder / f"{ORDER_FILE}.done", b"")
    sync_folder(folder)


def forget_order(folder: Path) -> None:
    """Called when the audit of the empty database has taken the record."""
    (folder / ORDER_FILE).unlink(missing_ok=True)
    (folder / f"{ORDER_FILE}.done").unlink(missing_ok=True)
