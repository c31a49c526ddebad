"""A user's database is opened at their first request and closed when nobody uses it."""

import asyncio
from dataclasses import fields

import pytest

from lyra_mcp.operations.status import read_status
from lyra_mcp.operations.tenants import Tenants


async def test_each_user_has_a_folder_and_the_worker_is_shared(services):
    tenants = Tenants()
    async with tenants.held(services, "alice") as alice, tenants.held(services, "bob") as bob:
        assert alice.worker is bob.worker is services.worker
        assert {one.settings.user_dir.name for one in (alice, bob, services)} == {"alice", "bob", "local"}
        assert alice.by_hand is not bob.by_hand
        assert alice.settings.default_adapter is None
    await tenants.close()


async def test_the_local_user_is_the_one_the_server_began_with(services):
    async with Tenants().held(services, services.settings.user) as local:
        assert local is services


async def test_the_databases_used_longest_ago_are_closed_and_open_again_by_themselves(services):
    tenants = Tenants(open_max=2)
    for user in ("a", "b", "c", "a", "d"):
        async with tenants.held(services, user) as one:
            assert (await read_status(one)).database.claims == 0
    open_users = tenants.open_users
    await tenants.close()

    assert open_users == ["a", "d"]
    assert tenants.open_users == []


async def test_a_database_in_use_is_not_closed(services):
    tenants = Tenants(open_max=1)
    async with tenants.held(services, "a") as first:
        async with first.database.transaction() as tx:
            for user in ("b", "c"):
                async with tenants.held(services, user):
                    pass
            assert await (await tx.execute("SELECT 1")).fetchone()
        assert "a" in tenants.open_users
    await tenants.close()


async def test_an_idle_database_is_closed_at_anybodys_next_request(services):
    moment = 0.0
    tenants = Tenants(idle_s=60, clock=lambda: moment)
    async with tenants.held(services, "a"):
        pass
    moment = 61.0
    async with tenants.held(services, "b"):
        pass
    open_users = tenants.open_users
    await tenants.close()

    assert open_users == ["b"]


async def test_what_somebody_loaded_by_hand_outlives_a_closed_database(services):
    tenants = Tenants(open_max=0)
    async with tenants.held(services, "a") as one:
        one.by_hand.adapter = "base"
    async with tenants.held(services, "a") as again:
        assert again.by_hand.adapter == "base"
    await tenants.close()


@pytest.mark.parametrize("open_max", [0, 3])
async def test_many_requests_of_many_users_at_once_never_meet_a_closed_database(services, open_max):
    tenants = Tenants(open_max=open_max)

    async def work(number: int) -> None:
        async with tenants.held(services, f"user{number % 7}") as one, one.database.transaction() as tx:
            assert await (await tx.execute("SELECT 1")).fetchone()

    async with asyncio.timeout(60):
        await asyncio.gather(*map(work, range(60)))
    await tenants.close()


async def test_every_part_is_either_a_users_own_or_known_to_be_shared(services):
    """A field added to `Services` fails here until somebody has decided."""
    shared = {"worker", "jobs", "clock", "new_id", "chance"}
    tenants = Tenants()
    async with tenants.held(services, "alice") as alice:
        same = {one.name for one in fields(services) if getattr(alice, one.name) is getattr(services, one.name)}
    await tenants.close()

    assert same == shared
