"""One `Services` for each user over HTTP: opened at the first request, its database closed when nobody uses it."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

import anyio

from lyra_mcp.operations import retention
from lyra_mcp.operations.services import Services, tenant_services

#: Databases that stay open without a request; each may keep 64 MiB of pages in memory.
OPEN_MAX = 8
#: A database nobody asked for so long is closed at the next request of anybody.
IDLE_S = 600.0


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
        self._retain(tenant)
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

    def _retain(self, tenant: _Tenant) -> None:
        """Forget what is too old by this user's rules, once a day at most, beside their request."""
        if not tenant.services.database.path.exists():
            return
        if tenant.retained_at is not None and self._clock() - tenant.retained_at < retention.EVERY_S:
            return
        tenant.retained_at = self._clock()
        tenant.requests += 1
        task = asyncio.create_task(self._retained(tenant), name="retention")
        self._retaining.add(task)
        task.add_done_callback(self._retaining.discard)

    async def _retained(self, tenant: _Tenant) -> None:
        try:
            await retention.apply_if_any(tenant.services)
        finally:
            with anyio.CancelScope(shield=True):
                await self._release(tenant)

    async def _acquire(self, local: Services, user: str) -> _Tenant:
        async with self._lock:
            if user not in self._tenants:
                self._tenants[user] = _Tenant(tenant_services(local, user))
            self._tenants.move_to_end(user)
            tenant = self._tenants[user]
            tenant.requests += 1
            tenant.is_open = True
            return tenant

    async def _release(self, tenant: _Tenant) -> None:
        async with self._lock:
            tenant.requests -= 1
            tenant.used_at = self._clock()
            unused = [one for one in self._tenants.values() if one.is_open and not one.requests]
            too_many = len(self.open_users) - self._open_max
            for number, one in enumerate(unused):
                if number < too_many or self._clock() - one.used_at >= self._idle_s:
                    await _close(one)


async def _close(tenant: _Tenant) -> None:
    await tenant.services.index.close()
    await tenant.services.database.close()
    tenant.is_open = False
