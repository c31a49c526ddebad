"""What a request meets before MCP: names, origins, sizes, times, rates."""

import asyncio
import json
import ssl
from dataclasses import replace

import httpx2
import pytest

from lyra_mcp.errors import Invalid
from lyra_mcp.http.hosts import known_hosts
from lyra_mcp.http.refusals import RequestRefused
from lyra_mcp.http.serving import Options, bound


async def test_the_local_user_needs_no_token_as_long_as_there_is_none(serving, era):
    async with serving() as site, site.agent(mode=era) as agent:
        status = await agent.call("server_status")

        assert status["database"]["state"] == "open"
        assert (site.settings.home / "users" / "local" / "lyra.db").exists()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.1", "localhost:1", "", "[::1"])
async def test_a_request_for_another_name_is_refused(serving, initialize, host):
    async with serving() as site, site.browser(host=host) as browser:
        replies = [await browser.post("/mcp", json=initialize), await browser.get("/secret")]

    assert [reply.status_code for reply in replies] == [421, 421]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1", "file://", "evil"]
)
@pytest.mark.parametrize("path", ["/mcp", "/ready", "/live"])
async def test_a_web_page_of_another_origin_is_refused(serving, initialize, origin, path):
    async with serving() as site, site.browser(origin=origin) as browser:
        replies = [await browser.post(path, json=initialize), await browser.get(path), await browser.options(path)]

    assert [reply.status_code for reply in replies] == [403, 403, 403]
    assert not any("access-control-allow-origin" in reply.headers for reply in replies)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST"])
async def test_a_page_of_the_servers_own_may_ask(serving, initialize, name):
    async with serving() as site, site.browser() as browser:
        own = {"host": f"{name}:{site.port}", "origin": f"http://{name}:{site.port}"}
        reply = await browser.post("/mcp", json=initialize, headers=own)

    assert reply.status_code == 200


def test_a_server_goes_by_its_address_its_ports_default_and_the_names_it_was_given():
    assert known_hosts("127.0.0.1", 8765, ()) == {"127.0.0.1:8765", "localhost:8765", "[::1]:8765"}
    assert {"10.0.0.5:443", "10.0.0.5", "localhost"} <= known_hosts("10.0.0.5", 443, ())
    assert {"[fe80::1]:99"} <= known_hosts("fe80::1", 99, ())
    given = known_hosts("0.0.0.0", 8765, ("Lyra.example.org", "other:9"))
    assert {"lyra.example.org", "lyra.example.org:8765", "other:9"} <= given
    assert not any(name.startswith("0.0.0.0") or name == "other:9:8765" for name in given)


@pytest.mark.parametrize("declares", [True, False])
async def test_a_body_that_is_too_large_is_refused(serving, generous, declares):
    async def chunks():
        for _ in range(4):
            yield b" " * 1000

    async with serving(limits=replace(generous, body_bytes_max=2000)) as site, site.browser() as browser:
        reply = await browser.post("/mcp", content=b" " * 4000 if declares else chunks())
        fits = await browser.post("/mcp", content=b" " * 1999)

    assert (reply.status_code, fits.status_code) == (413, 400)


async def test_a_body_that_does_not_come_is_not_waited_for(serving, generous):
    async with serving(limits=replace(generous, body_timeout_s=0.2)) as site:
        reply = await _send(site, _head(site, "content-length: 100") + b"{")

    assert reply.startswith(b"HTTP/1.1 408 ")


async def test_a_head_that_comes_byte_by_byte_keeps_no_connection(serving, generous):
    async with serving(limits=replace(generous, head_timeout_s=0.2)) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)

        async def drip() -> None:
            for byte in _head(site, "content-length: 0")[:40]:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.wait_for(asyncio.shield(ended), 0.1)

        ended = asyncio.ensure_future(reader.read())
        dripping = asyncio.gather(_until_closed(drip, ended), return_exceptions=True)
        async with asyncio.timeout(10):
            rest = await ended
        await dripping
        writer.close()

    assert rest == b""


async def _until_closed(drip, ended):
    while not ended.done():
        try:
            await drip()
        except (TimeoutError, ConnectionError):
            continue


async def test_a_head_that_is_too_large_is_refused(serving):
    async with serving() as site:
        reply = await _send(site, _head(site, "x-long: " + "a" * 40_000))

    assert reply.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))


async def test_who_asks_too_often_is_told_how_long_to_wait(serving, generous, initialize):
    few = replace(generous, requests_per_s=0.01, requests_burst=3)
    async with serving(limits=few) as site:
        alice, bob = site.token("alice"), site.token("bob")
        async with site.browser(alice) as browser, site.browser(bob) as other:
            replies = [await browser.post("/mcp", json=initialize) for _ in range(4)]
            of_another = await other.post("/mcp", json=initialize)

    assert [reply.status_code for reply in replies] == [200, 200, 200, 429]
    assert 1 <= int(replies[3].headers["retry-after"]) <= 100
    assert of_another.status_code == 200


async def test_an_address_that_guesses_tokens_is_slowed_down_and_a_valid_token_is_not(serving, generous, initialize):
    few = replace(generous, failures_per_s=0.01, failures_burst=2)
    async with serving(limits=few) as site:
        alice = site.token("alice")
        async with site.browser("lyra_guess") as guesser, site.browser(alice) as browser:
            guesses = [(await guesser.post("/mcp", json=initialize)).status_code for _ in range(4)]
            valid = await browser.post("/mcp", json=initialize)

    assert guesses == [401, 401, 429, 429]
    assert valid.status_code == 200


async def test_one_user_cannot_take_all_sessions(serving, generous, initialize):
    async with serving(limits=replace(generous, sessions_per_user_max=2)) as site:
        alice, bob = site.token("alice"), site.token("bob")
        async with site.browser(alice) as browser, site.browser(bob) as other:
            opened = [await browser.post("/mcp", json=initialize) for _ in range(3)]
            of_another = await other.post("/mcp", json=initialize)
            ended = await browser.delete("/mcp", headers={"mcp-session-id": opened[0].headers["mcp-session-id"]})
            again = await browser.post("/mcp", json=initialize)

    assert [reply.status_code for reply in opened] == [200, 200, 429]
    assert (of_another.status_code, ended.status_code, again.status_code) == (200, 200, 200)


async def test_the_probes_need_no_token_and_tell_no_secret(serving):
    async with serving() as site:
        site.token("alice")
        async with site.browser(host="10.1.2.3:80") as probe:
            live, ready, posted = await probe.get("/live"), await probe.get("/ready"), await probe.post("/ready")
            site.settings.home.joinpath("tokens.json").chmod(0o644)
            unready = await probe.get("/ready")
            refused = await probe.post("/mcp", headers={"host": f"localhost:{site.port}"}, json={})

    assert (live.status_code, live.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "problems": []})
    assert posted.status_code == 405
    assert (unready.status_code, unready.json()) == (503, {"status": "unready", "problems": ["tokens"]})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/mcp/..", 404), ("PUT", "/mcp", 405), ("PATCH", "/mcp", 405), ("GET", "//mcp", 404)],
)
async def test_there_is_nothing_else(serving, method, path, status):
    async with serving() as site:
        reply = await _send(site, _head(site, "content-length: 0", method=method, path=path))

    assert reply.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"NaN", b"[" * 100_000, b'{"a":' * 200 + b"1" + b"}" * 200, b"9" * 5000],
    ids=["empty", "cut", "bytes", "nan", "brackets", "deep", "digits"],
)
async def test_a_body_that_is_not_json_is_refused(serving, body):
    async with serving() as site, site.browser() as browser:
        replies = [
            await browser.post("/mcp", content=body),
            await browser.post("/mcp", content=body, headers={"mcp-protocol-version": "2026-07-28"}),
        ]

    assert [reply.status_code for reply in replies] == [400, 400]


async def test_a_body_that_is_no_http_ends_the_connection_and_nothing_else(serving, caplog):
    """uvicorn answers that itself, while our own answer to the head is under way."""
    async with serving() as site:
        for path in ("/mcp", "/nothing"):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            writer.write(_head(site, "transfer-encoding: chunked", path=path) + b"no length\r\n")
            async with asyncio.timeout(20):
                assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()
        async with site.browser() as browser:
            assert (await browser.get("/live")).status_code == 200

    assert not [record for record in caplog.records if record.exc_info]


async def test_every_answer_is_kept_out_of_caches(serving, initialize):
    async with serving() as site, site.browser() as browser:
        replies = [await browser.get("/live"), await browser.get("/no"), await browser.post("/mcp", json=initialize)]

    for reply in replies:
        assert (reply.headers["cache-control"], reply.headers["x-content-type-options"]) == ("no-store", "nosniff")
        assert "server" not in reply.headers


async def test_over_tls_the_same_server_answers_and_in_the_clear_it_does_not(serving, certificate, era):
    cert, key = certificate
    trusting = ssl.create_default_context(cafile=str(cert))
    async with serving(Options(port=0, tls_cert=cert, tls_key=key), verify=trusting) as site:
        assert site.address.startswith("https://127.0.0.1:")
        async with site.agent(site.token("alice"), mode=era) as agent:
            assert (await agent.call("server_status"))["database"]["state"] == "open"
        async with httpx2.AsyncClient(trust_env=False) as plain:
            with pytest.raises(httpx2.HTTPError):
                await plain.get(f"http://127.0.0.1:{site.port}/live")


@pytest.mark.parametrize("options", [{"tls_cert": "cert.pem"}, {"tls_cert": "no.pem", "tls_key": "no.pem"}])
async def test_half_a_certificate_is_refused_in_words(serving, tmp_path, options):
    with pytest.raises(Invalid, match=r"belong together|is no file"):
        async with serving(Options(port=0, **{name: tmp_path / file for name, file in options.items()})):
            pass


async def test_an_address_that_is_taken_is_refused_in_words(serving):
    async with serving() as site:
        with pytest.raises(Invalid, match=r"cannot be used .* choose another --port"), bound(Options(port=site.port)):
            pass


async def test_twenty_clients_at_once_are_all_served(serving, era):
    async with serving() as site:

        async def work(number: int) -> list[str]:
            async with site.agent(site.token(f"user{number % 10}"), mode=era) as agent:
                added = await agent.call("add_evidence", claim=f"Claim {number}.", fragments=[{"text": "it is so"}])
                claims = (await agent.call("get_claims", query=f"Claim {number}"))["claims"]
                return [added["claim_id"], *(claim["claim_id"] for claim in claims)]

        async with asyncio.timeout(120):
            found = await asyncio.gather(*map(work, range(20)))

    assert all(first in rest for first, *rest in found)
    assert len({first for first, *_ in found}) == 20


def _head(site, *lines, method="POST", path="/mcp"):
    fixed = [f"{method} {path} HTTP/1.1", f"host: 127.0.0.1:{site.port}", "content-type: application/json"]
    return "\r\n".join([*fixed, *lines, "", ""]).encode()


async def _send(site, written):
    """What the server says to these bytes until it closes, or until nothing more can come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(written)
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head


def test_the_bodies_of_refusals_can_be_read_by_clients():
    body = json.loads(RequestRefused(404, "there is nothing here").response().body)

    assert body == {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "there is nothing here"}}
