"""Who asks: our own tokens, at each request anew, and sessions that belong to one of them."""

import stat
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from mcp.shared.exceptions import MCPError

from lyra_mcp.errors import Invalid
from lyra_mcp.http.hosts import is_loopback
from lyra_mcp.http.serving import Options
from lyra_mcp.operations.tokens import add_token, list_tokens, revoke_token


async def test_once_there_is_a_token_everybody_needs_one(serving, initialize):
    async with serving() as site, site.browser() as nobody:
        before = await nobody.post("/mcp", json=initialize)
        token = site.token("alice")
        after = await nobody.post("/mcp", json=initialize)
        async with site.browser(token) as alice:
            known = await alice.post("/mcp", json=initialize)

    assert [reply.status_code for reply in (before, after, known)] == [200, 401, 200]
    assert after.headers["www-authenticate"].startswith('Bearer error="invalid_token"')


@pytest.mark.parametrize(
    "written",
    ["", "Bearer", "Basic {token}", "{token}", "Bearer {token}x", "Bearer lyra_", "Bearer é", "bearer\t{token}"],
)
async def test_what_is_no_valid_token_is_refused(serving, initialize, written):
    async with serving() as site:
        header = written.format(token=site.token("alice")).encode("latin-1")
        async with site.browser() as browser:
            reply = await browser.post("/mcp", json=initialize, headers=[("authorization", header)])
            twice = await browser.post("/mcp", json=initialize, headers=[("authorization", header)] * 2)

    assert (reply.status_code, twice.status_code) == (401, 401)


async def test_a_token_in_the_address_is_not_read(serving, initialize):
    async with serving() as site, site.browser() as browser:
        reply = await browser.post(f"/mcp?access_token={site.token('alice')}", json=initialize)

    assert reply.status_code == 401


async def test_a_revoked_token_ends_with_the_next_request_and_the_door_stays_shut(serving, initialize):
    async with serving() as site:
        token = site.token("alice")
        async with site.browser(token) as alice, site.browser() as nobody:
            before = await alice.post("/mcp", json=initialize)
            session = {"mcp-session-id": before.headers["mcp-session-id"]}
            revoke_token(site.settings, list_tokens(site.settings)[0].token_id)
            after = await alice.post("/mcp", json=initialize, headers=session)
            without = await nobody.post("/mcp", json=initialize)

    assert [reply.status_code for reply in (before, after, without)] == [200, 401, 401]


async def test_a_token_expires(serving, initialize):
    async with serving() as site:
        past = datetime.now(UTC) - timedelta(days=3)
        expired, valid = site.token("alice", days=2, now=past), site.token("alice", days=4, now=past)
        async with site.browser(expired) as one, site.browser(valid) as other:
            replies = [await one.post("/mcp", json=initialize), await other.post("/mcp", json=initialize)]

    assert [reply.status_code for reply in replies] == [401, 200]


@pytest.mark.parametrize("whose", ["bob", "alice"])
async def test_a_session_belongs_to_the_token_that_opened_it(serving, initialize, whose):
    """Also another token of the same user: it may have another role."""
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    async with serving() as site:
        alices, others = site.token("alice"), site.token(whose)
        async with site.browser(alices) as alice, site.browser(others) as other:
            opened = await alice.post("/mcp", json=initialize)
            session = {"mcp-session-id": opened.headers["mcp-session-id"]}
            foreign = [
                await other.post("/mcp", json=listing, headers=session),
                await other.get("/mcp", headers=session),
                await other.delete("/mcp", headers=session),
            ]
            own = await alice.post("/mcp", json=listing, headers=session)

    assert [reply.status_code for reply in foreign] == [404, 404, 404]
    assert own.status_code == 200


async def test_a_half_finished_question_cannot_be_answered_with_another_token(serving, machine, settings):
    """What the newest protocol hands to the client between two requests is sealed for one token."""
    async with serving(training_samples_min=1, trigger_corrections=1) as site:
        alices, bobs = site.token("alice"), site.token("bob")
        for token in (alices, bobs):
            async with site.agent(token) as agent:
                [edge] = (await agent.call("add_evidence", claim="A claim.", fragments=[{"text": "so"}]))["edges"]
                await agent.call("feedback", action="edge_correct", edge_id=edge["edge_id"], correct_label="refutes")
        async with site.browser(alices) as alice, site.browser(bobs) as bob:
            first = (await alice.post("/mcp", json=_start_training(), headers=MODERN)).json()["result"]
            answered = _start_training(
                requestState=first["requestState"],
                inputResponses={
                    key: {"action": "accept", "content": {"confirm": True}} for key in first["inputRequests"]
                },
            )
            replies = [(await one.post("/mcp", json=answered, headers=MODERN)).json() for one in (bob, alice)]

    assert "error" in replies[0]
    assert replies[1]["result"]["structuredContent"]["state"] == "preparing"
    assert [verb for verb, _ in machine.asked].count("start") == 1


def test_the_file_holds_no_token_and_is_the_owners_alone(settings):
    token, secret = add_token(settings, user="alice", role="reader", days=None, now=datetime.now(UTC))
    path = settings.home / "tokens.json"

    assert secret.startswith("lyra_")
    assert len(secret) > 40
    assert secret.encode() not in path.read_bytes()
    assert secret.removeprefix("lyra_").encode() not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list_tokens(settings) == [token]


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_an_address_that_others_can_reach_needs_tokens(serving, host):
    with pytest.raises(Invalid, match=r"can be reached from other machines.*lyra-mcp token add"):
        async with serving(Options(host=host, port=0)):
            pass


@pytest.mark.parametrize(
    ("host", "is_private"),
    [
        *((host, True) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost")),
        *(
            (host, False)
            for host in ("0.0.0.0", "::", "192.0.2.7", "10.0.0.1", "example.org", "127.0.0.1.evil.example")
        ),
        *((host, False) for host in ("", "127.1", "0", "2130706433", "::ffff:10.0.0.1")),
    ],
)
def test_only_loopback_is_private(host, is_private):
    assert is_loopback(host) == is_private


async def test_removing_the_tokens_of_a_running_server_does_not_open_it_to_the_world(serving, settings, initialize):
    add_token(settings, user="alice", role="reader", days=None, now=datetime.now(UTC))
    async with serving(Options(host="0.0.0.0", port=0)) as site, site.browser() as nobody:
        before = await nobody.post("/mcp", json=initialize)
        (settings.home / "tokens.json").unlink()
        after = await nobody.post("/mcp", json=initialize)

    assert [reply.status_code for reply in (before, after)] == [401, 401]


async def test_with_tokens_any_address_may_be_served(serving, initialize):
    async with serving() as loopback:
        token = loopback.token("alice")
    options = Options(host="0.0.0.0", port=0, allowed_hosts=("lyra.example.org",))
    async with serving(options) as site, site.browser(token) as alice, site.browser() as nobody:
        replies = [
            await alice.post("/mcp", json=initialize),
            await alice.post("/mcp", json=initialize, headers={"host": "lyra.example.org"}),
            await alice.post("/mcp", json=initialize, headers={"host": "evil.example"}),
            await nobody.post("/mcp", json=initialize),
        ]

    assert [reply.status_code for reply in replies] == [200, 200, 421, 401]


async def test_the_log_names_users_and_tools_and_holds_neither_texts_nor_tokens(serving, caplog):
    caplog.set_level("INFO", logger="lyra_mcp.access")
    async with serving() as site:
        token = site.token("alice")
        async with site.agent(token) as alice:
            await alice.call("judge", pairs=[{"premise": "a secret premise", "hypothesis": "secret"}])
            await alice.text("no_such_secret_tool")
            for prompt in ("no_such_secret_prompt", "correction_session"):
                with suppress(MCPError):
                    await alice.client.get_prompt(prompt, {"secret": "secret"})
        async with site.browser("lyra_secret_guess") as browser:
            await browser.get("/secret/path?with=secret", headers={"user-agent": "secret"})
            await browser.request("SECRET", "/mcp", content=b"secret")
        token_id = list_tokens(site.settings)[0].token_id

    written = "\n".join(record.getMessage() for record in caplog.records if record.name == "lyra_mcp.access")
    assert "secret" not in caplog.text.lower()
    assert token not in caplog.text
    assert f'"user": "alice", "token_id": "{token_id}", "role": "owner", "tool": "judge", "status": 200' in written
    assert '"path": "other", "user": null' in written


MODERN = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "finetune"}


def _start_training(**answers):
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
    }
    params = {"name": "finetune", "arguments": {"action": "start"}, "_meta": meta, **answers}
    return {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": params}
