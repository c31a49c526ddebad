"""What each user may rely on over HTTP: keys, erasure, retention and audit of their own, and who tried more."""

import asyncio
import json
from datetime import timedelta

import pytest
from pydantic import SecretStr

from lyra_mcp.domain.identities import Identity
from lyra_mcp.errors import StorageFailed
from lyra_mcp.operations import auditing, retention
from lyra_mcp.operations.denials import AGAIN_S, Denials
from lyra_mcp.operations.services import tenant_services
from lyra_mcp.operations.tenants import Tenants
from lyra_mcp.operations.tokens import give_out, take_back
from lyra_mcp.storage.keys import KeyStore

TRAINING = {"training_samples_min": 10, "trigger_corrections": 10}
FACT = {"kind": "fact", "category": "a", "key": "b", "value": "c"}


async def _taught(agent, machine):
    """A user with a trained and served version, a memory and an export; returns the job's id."""
    fragments = [{"text": f"{number} is not so"} for number in range(12)]
    added = await agent.call("add_evidence", claim="It is so.", fragments=fragments)
    for edge in added["edges"]:
        await agent.call("feedback", action="edge_correct", edge_id=edge["edge_id"], correct_label="supports")
    job_id = (await agent.call("finetune", action="start", confirm=True, force=True))["job_id"]
    machine.finish(job_id)
    await agent.call("finetune_status", job_id=job_id)
    await agent.call("remember", memory=FACT)
    await agent.call("privacy", action="export", path="mine.zip")
    return job_id


def _files(home, *parts):
    return sorted(path.relative_to(home).as_posix() for part in parts for path in (home / part).rglob("*"))


async def test_an_erasure_reaches_what_is_the_users_own_and_nothing_else(serving, machine, worker):
    users = ["local", "alice", "bob"]
    async with serving(**TRAINING) as site:
        home = site.settings.home
        (home / "logs").mkdir(parents=True)
        (home / "logs" / "worker.log").write_text("of everybody")
        job_ids = {}
        for user in users:
            async with site.agent(site.token(user)) as agent:
                job_ids[user] = await _taught(agent, machine)
        worker.loaded = f"users/bob/{job_ids['bob']}"
        others = [f"jobs/{job_ids[user]}" for user in ("local", "bob")]
        others += [f"adapters/{job_ids['local']}", "adapters/users/bob", "exports/local", "exports/bob", "logs"]
        before = _files(home, *others)
        async with site.agent(site.token("alice")) as alice:
            erased = await alice.call("privacy", action="erase", confirm=True)
            left = await alice.call("privacy", action="report")
            audit = await alice.call("privacy", action="audit")
        rows = {}
        for user in ("local", "bob"):
            async with site.agent(site.token(user)) as agent:
                rows[user] = (await agent.call("privacy", action="report"))["report"]["stored"]["jobs"]

    assert [model["adapter_path"] for model in erased["stale_models"]] == [f"users/alice/{job_ids['alice']}"]
    assert left["report"]["stored"].get("claims") is None
    assert [event["event"] for event in audit["events"]] == ["erased"]
    assert rows == {"local": 1, "bob": 1}
    assert len(before) > 20
    assert _files(home, *others) == before
    assert not any((home / place).exists() for place in (f"jobs/{job_ids['alice']}", "adapters/users/alice"))
    assert not any(path.is_file() for path in (home / "exports" / "alice").rglob("*"))
    assert worker.loaded == f"users/bob/{job_ids['bob']}"


async def test_what_is_served_of_an_erased_user_is_unloaded(serving, machine, worker):
    async with serving(**TRAINING) as site, site.agent(site.token("alice")) as alice:
        job_id = await _taught(alice, machine)
        await alice.call("adapters", action="load", adapter_path=f"users/alice/{job_id}")
        await alice.call("privacy", action="erase", confirm=True)

    assert worker.loaded is None


async def test_a_users_keys_are_wrapped_by_the_master_key_of_the_settings(services):
    secret = SecretStr("a long passphrase")
    settings = services.settings.model_copy(
        update={"home": services.settings.home / "other", "key_source": "passphrase", "passphrase": secret}
    )
    local = type(services)(**{**_fields(services), "settings": settings})
    tenants = Tenants()
    async with tenants.held(local, "alice") as alice, alice.database.transaction():
        pass
    await tenants.close()

    assert KeyStore(settings.home, "alice", passphrase=secret.get_secret_value()).find() is not None
    with pytest.raises(StorageFailed, match="passphrase"):
        KeyStore(settings.home, "alice").find()


def _fields(services):
    return {name: getattr(services, name) for name in services.__dataclass_fields__}


async def test_the_rules_of_each_user_who_comes_are_applied(services, clock):
    alice = tenant_services(services, "alice")
    bob = tenant_services(services, "bob")
    for one in (alice, bob):
        await _remember_an_episode(one)
    await retention.set_rule(alice, "episode", 1)
    for one in (alice, bob):
        await one.close()
    clock.moment += timedelta(days=3)
    tenants = Tenants()
    counts = {}
    async with asyncio.timeout(20):
        for user in ("alice", "bob"):
            async with tenants.held(services, user) as one:
                if user == "alice":
                    await _until_forgotten(one)
                counts[user] = await _count(one)
    await tenants.close()

    assert counts == {"alice": 0, "bob": 1}


async def test_the_rules_of_users_who_never_come_back_are_applied(serving, services, settings, clock, monkeypatch):
    absent = [f"user{number}" for number in range(3)]
    for user in absent:
        await _store_with_a_rule(tenant_services(services, user))
    clock.moment += timedelta(days=3)
    monkeypatch.setattr(retention, "FIRST_S", 0)
    async with serving():
        async with asyncio.timeout(30):
            for user in absent:
                await _until_applied(tenant_services(services, user))
    counts, actors = [], set()
    for user in absent:
        one = tenant_services(services, user)
        counts.append(await _count(one))
        actors |= {entry.actor for entry in (await auditing.check(one))[1] if entry.event == "retention_applied"}
        await one.close()

    assert counts == [0, 0, 0]
    assert actors == {"retention"}


async def test_a_database_that_cannot_be_opened_is_on_record_and_the_others_turn_comes(services, clock, caplog):
    for user in ("alice", "bob", "carol"):
        await _store_with_a_rule(tenant_services(services, user))
    damaged = tenant_services(services, "bob").database.path
    damaged.write_bytes(b"x" * 8192)
    clock.moment += timedelta(days=3)
    tenants = Tenants()
    await tenants.retain_everybody(services)
    open_users = tenants.open_users
    await tenants.retain_everybody(services)
    await tenants.close()
    counts = []
    for user in ("alice", "carol"):
        one = tenant_services(services, user)
        counts.append(await _count(one))
        await one.close()
    _, entries = await auditing.check(services)

    assert counts == [0, 0]
    assert open_users == []
    assert [(entry.event, entry.actor, json.loads(entry.detail)) for entry in entries] == [
        ("retention_failed", "retention", {"user": "bob", "code": "E_STORAGE"})
    ]
    assert "for bob" in caplog.text


async def test_who_is_absent_is_looked_after_once_a_day_and_who_is_here_stays_open(services, clock):
    for user in ("alice", "bob"):
        await _store_with_a_rule(tenant_services(services, user))
    (services.settings.home / "users" / "no user").mkdir()
    moment = 0.0
    tenants = Tenants(clock=lambda: moment)
    counts = []
    async with tenants.held(services, "alice") as alice:
        for hours in (0.0, 23.0, 24.0):
            moment = hours * 3600
            clock.moment += timedelta(days=3 * bool(hours))
            await tenants.retain_everybody(services)
            assert tenants.open_users == ["alice"]
            assert await _count(alice) == await _count_of(services, "bob")
            counts.append(await _count(alice))
    await tenants.close()

    assert counts == [1, 1, 0]


async def _store_with_a_rule(services):
    await _remember_an_episode(services)
    await retention.set_rule(services, "episode", 1)
    await services.close()


async def _count_of(services, user):
    one = tenant_services(services, user)
    try:
        return await _count(one)
    finally:
        await one.close()


async def _until_applied(services):
    await _until_forgotten(services)
    await services.close()


async def _remember_an_episode(services):
    async with services.database.transaction() as tx:
        await tx.execute(
            "INSERT INTO memories (memory_id, kind, text, text_digest, created_at)"
            " VALUES ('mem_1', 'episode', 'x', 'd', ?)",
            (services.now(),),
        )
        await tx.execute("INSERT INTO episodes (memory_id, event_type, description) VALUES ('mem_1', 'a', 'x')")


async def _count(services):
    async with services.database.reading() as tx:
        return (await (await tx.execute("SELECT count(*) FROM memories")).fetchone())[0]


async def _until_forgotten(services):
    while await _count(services):  # noqa: ASYNC110 - the fact is in the database
        await asyncio.sleep(0.01)


async def test_who_acted_stands_in_the_audit_of_their_own_database(serving):
    async with serving() as site:
        actors = {}
        for user in ("alice", "local"):
            async with site.agent(site.token(user)) as agent:
                await agent.call("privacy", action="consent", purpose="store", granted=True)
                [event] = (await agent.call("privacy", action="audit"))["events"]
                actors[user] = (event["event"], event["actor"])

    assert actors == {"alice": ("consent_granted", "alice"), "local": ("consent_granted", "local")}


async def test_tokens_and_refused_roles_are_on_the_record_of_the_local_user(serving, services, era):
    token, secret = await give_out(services, user="alice", role="reader", days=None)
    async with serving() as site:
        async with site.agent(secret, mode=era) as alice:
            for _ in range(3):
                await alice.text("privacy", action="erase", confirm=True)
            await alice.text("adapters", action="zanzibar", version=1)
            await alice.text("zanzibar")
        await take_back(services, token.token_id)
    verdict, entries = await auditing.check(services)
    tried = {"user": "alice", "token": token.token_id, "role": "reader", "needed": "owner"}

    assert verdict.valid
    assert [(entry.event, json.loads(entry.detail)) for entry in entries] == [
        ("token_added", {"token": token.token_id, "user": "alice", "role": "reader"}),
        ("role_denied", {**tried, "tool": "privacy", "action": ""}),
        ("role_denied", {**tried, "tool": "adapters", "action": ""}),
        ("role_denied", {**tried, "tool": "other", "action": ""}),
        ("token_revoked", {"token": token.token_id, "user": "alice", "role": "reader"}),
    ]
    assert secret not in str(entries)


async def test_the_same_refused_attempt_is_recorded_once_an_hour(services):
    moments = iter((0.0, 1.0, AGAIN_S - 1, AGAIN_S, AGAIN_S + 1))
    denials = Denials(clock=lambda: next(moments))
    bob = Identity("bob", "reader", "0" * 12)
    for _ in range(5):
        await denials.record(services, bob, "adapters", "prune", "owner")
    _, entries = await auditing.check(services)

    assert [(entry.actor, json.loads(entry.detail)["action"]) for entry in entries] == [("bob", "prune")] * 2
