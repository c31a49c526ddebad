"""One `Services` for each user over HTTP: opened at the first request, its database closed when nobody uses it."""

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import anyio

from lyra_mcp.errors import LyraError
from lyra_mcp.operations import retention
from lyra_mcp.operations.services import Services, tenant_services
from lyra_mcp.settings import USER_PATTERN

log = logging.getLogger(__name__)

#: Databases that stay open without a request; each may keep 64 MiB of pages in memory.
OPEN_MAX = 8
#: A database nobody asked for so long is closed at the next request of anybody.
IDLE_S = 600.0
#: So often it is looked whose retention is due: whoever came in between has another time of day.
LOOK_S = 3600.0


@dataclass(slots=True)
class _Tenant:
    services: Services
    requests: int = 0
    is_open: bool = False
    used_at: float = 0.0
    #: When the rules of retention were last applied.
    retained_at: float | None = None


class Tenants:
    """The users of one server, beside the local one whom the home belongs to."""

    def __init__(
        self, *, open_max: int = OPEN_MAX, idle_s: float = IDLE_S, clock: Callable[[], float] = monotonic
    ) -> None:
        self._open_max, self._idle_s, self._clock = open_max, idle_s, clock
        #: The one used longest ago first. What somebody loaded by hand is kept, so nobody is forgotten.
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()
        #: Opening and closing take turns, so that no request meets a database that is being closed.
        self._lock = anyio.Lock()
        #: Retention of those who are here today; each holds its tenant, so that nothing is closed under it.
        self._retaining: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def held(self, local: Services, user: str) -> AsyncIterator[Services]:
        """A user's services, for as long as a request of theirs lasts."""
        if user == local.settings.user:
            yield local
            return
        tenant = await self._acquire(local, user)
        self._retain(local, tenant)
        try:
            yield tenant.services
        finally:
            with anyio.CancelScope(shield=True):
                await self._release(tenant)

    async def close(self) -> None:
        for task in self._retaining:
            task.cancel()
        if self._retaining:
            await asyncio.wait(self._retaining)
        async with self._lock:
            for tenant in self._tenants.values():
                await _close(tenant)

    @property
    def open_users(self) -> list[str]:
        return [user for user, tenant in self._tenants.items() if tenant.is_open]

    async def keep_retaining(self, local: Services) -> None:
        """Apply everybody's rules once a day, also of those who never come back, for as long as a server runs."""
        await anyio.sleep(retention.FIRST_S)
        while True:
            await self.retain_everybody(local)
            await anyio.sleep(LOOK_S)

    async def retain_everybody(self, local: Services) -> None:
        """One after the other; a database that is opened for this alone is closed again before the next one."""
        for user in await anyio.to_thread.run_sync(_list_users, local.settings.home):
            if user != local.settings.user and self._is_due(self._tenants.get(user)):
                is_visit = user not in self.open_users
                tenant = await self._acquire(local, user)
                tenant.retained_at = self._clock()
                await self._retained(local, tenant, is_visit=is_visit)

    def _retain(self, local: Services, tenant: _Tenant) -> None:
        """Likewise for a user who is here, beside their request."""
        if not tenant.services.database.path.exists() or not self._is_due(tenant):
            return
        tenant.retained_at = self._clock()
        tenant.requests += 1
        task = asyncio.create_task(self._retained(local, tenant, is_visit=False), name="retention")
        self._retaining.add(task)
        task.add_done_callback(self._retaining.discard)

    def _is_due(self, tenant: _Tenant | None) -> bool:
        if tenant is None or tenant.retained_at is None:
            return True
        return self._clock() - tenant.retained_at >= retention.EVERY_S

    async def _retained(self, local: Services, tenant: _Tenant, *, is_visit: bool) -> None:
        """Whatever is wrong with one user's data, the others' turn comes."""
        user = tenant.services.settings.user
        try:
            await retention.apply_due(tenant.services)
        except LyraError as error:
            await retention.record_failure(local, user, error)
        except Exception:  # a bug of ours, which must not end the retention of everybody else
            log.exception("what is due every day failed for %s", user)
        finally:
            with anyio.CancelScope(shield=True):
                await self._release(tenant, is_visit=is_visit)

    async def _acquire(self, local: Services, user: str) -> _Tenant:
        async with self._lock:
            if user not in self._tenants:
                self._tenants[user] = _Tenant(tenant_services(local, user))
            self._tenants.move_to_end(user)
            tenant = self._tenants[user]
            tenant.requests += 1
            tenant.is_open = True
            return tenant

    async def _release(self, tenant: _Tenant, *, is_visit: bool = False) -> None:
        async with self._lock:
            tenant.requests -= 1
            tenant.used_at = self._clock()
            if is_visit and not tenant.requests:
                await _close(tenant)
            unused = [one for one in self._tenants.values() if one.is_open and not one.requests]
            too_many = len(self.open_users) - self._open_max
            for number, one in enumerate(unused):
                if number < too_many or self._clock() - one.used_at >= self._idle_s:
                    await _close(one)


async def _close(tenant: _Tenant) -> None:
    await tenant.services.index.close()
    await tenant.services.database.close()
    tenant.is_open = False


def _list_users(home: Path) -> list[str]:
    """Everybody who has a database here."""
    found = (home / "users").glob("*/lyra.db")
    return sorted(path.parent.name for path in found if re.fullmatch(USER_PATTERN, path.parent.name))
