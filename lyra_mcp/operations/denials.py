"""Who tried over HTTP what their role does not allow: on the record of the local user, whose server it is."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from lyra_mcp.domain.identities import Identity
from lyra_mcp.domain.roles import NEEDED, Role
from lyra_mcp.errors import LyraError
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import audit_log

log = logging.getLogger(__name__)

#: The same attempt is recorded once in this time: nobody fills the record by asking again and again.
AGAIN_S = 3600.0
#: Attempts that are remembered for that.
ATTEMPTS_MAX = 10_000

_Attempt = tuple[str, str, str]


class Denials:
    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        #: When each was recorded, the longest ago first.
        self._recorded: OrderedDict[_Attempt, float] = OrderedDict()

    async def record(self, local: Services, identity: Identity, tool: str, action: object, needed: Role) -> None:
        """Ids only; a record that cannot be written is logged, and the attempt stays refused."""
        attempt = (identity.token_id, *_known(tool, action))
        if not self._is_new(attempt):
            return
        detail = {
            "user": identity.user,
            "token": identity.token_id,
            "role": identity.role,
            "needed": needed,
            "tool": attempt[1],
            "action": attempt[2],
        }
        try:
            async with local.database.transaction() as tx:
                await audit_log.append(tx, "role_denied", identity.user, detail, created_at=local.now())
        except LyraError as error:
            log.warning("a refused call could not be put on the record: %s", error)

    def _is_new(self, attempt: _Attempt) -> bool:
        now = self._clock()
        if now - self._recorded.get(attempt, -AGAIN_S) < AGAIN_S:
            return False
        self._recorded[attempt] = now
        self._recorded.move_to_end(attempt)
        while len(self._recorded) > ATTEMPTS_MAX:
            self._recorded.popitem(last=False)
        return True


def _known(tool: str, action: object) -> tuple[str, str]:
    """Our own names only; what else a caller wrote is text of theirs."""
    needed = NEEDED.get(tool)
    if needed is None:
        return "other", ""
    return tool, action if isinstance(action, str) and isinstance(needed, dict) and action in needed else ""
