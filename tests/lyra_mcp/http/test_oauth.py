"""Access tokens of an authorization server, with real signatures and a key server on the loopback."""

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lyra_mcp.domain.identities import user_of_subject
from lyra_mcp.errors import Invalid
from lyra_mcp.http.jwks import verifier_of

ISSUER = "https://login.example.org"
AUDIENCE = "https://lyra.example.org/mcp"
METADATA = "/.well-known/oauth-protected-resource/mcp"


class KeyServer:
    """`/keys` as an authorization server serves it; counts how often it is asked."""

    def __init__(self):
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.keys = [_public(self.rsa, "r1", "RS256"), _public(self.ec, "e1", "ES256")]
        self.asked = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner.asked += 1
                body = json.dumps({"keys": owner.keys}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def token(self, key=None, kid="r1", algorithm="RS256", **changes):
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "someone", "exp": now + 60, "nbf": now, "iat": now}
        claims |= {"scope": "openid lyra:owner"}
        kept = {name: value for name, value in (claims | changes).items() if value is not None}
        return jwt.encode(kept, key or self.rsa, algorithm=algorithm, headers={"kid": kid} if kid else {})

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(name="keys", scope="module")
def _keys():
    server = KeyServer()
    yield server
    server.close()


@pytest.fixture
def oauth(keys):
    return {"oauth_issuer": ISSUER, "oauth_audience": AUDIENCE, "oauth_jwks_url": keys.url}


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_a_subject_has_a_database_of_their_own(serving, keys, oauth, algorithm, era):
    key, kid = (keys.rsa, "r1") if algorithm == "RS256" else (keys.ec, "e1")
    async with serving(**oauth) as site:
        async with site.agent(keys.token(key, kid, algorithm), mode=era) as agent:
            added = await agent.call("add_evidence", claim="Theirs.", fragments=[{"text": "it is so"}])
        async with site.agent(keys.token(sub="another"), mode=era) as agent:
            of_another = await agent.text("get_claims", claim_id=added["claim_id"])
        async with site.agent(keys.token(key, kid, algorithm, jti="renewed"), mode=era) as agent:
            [claim] = (await agent.call("get_claims", claim_id=added["claim_id"]))["claims"]
        folders = {path.name for path in (site.settings.home / "users").iterdir()}

    assert claim["text"] == "Theirs."
    assert "E_NOT_FOUND" in of_another
    assert folders == {user_of_subject(ISSUER, "someone"), user_of_subject(ISSUER, "another")}


async def test_every_check_of_a_token_counts(serving, keys, oauth, initialize):
    now = int(time.time())
    public_pem = base64.urlsafe_b64decode(keys.keys[0]["n"] + "==")
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    bad = {
        "expired": keys.token(exp=now - 100),
        "not yet": keys.token(nbf=now + 100),
        "without an end": keys.token(exp=None),
        "another issuer": keys.token(iss="https://evil.example"),
        "no issuer": keys.token(iss=None),
        "another audience": keys.token(aud="https://other.example/mcp"),
        "no audience": keys.token(aud=None),
        "no subject": keys.token(sub=None),
        "an empty subject": keys.token(sub=""),
        "another key": keys.token(other),
        "an unknown key": keys.token(other, kid="unknown"),
        "a key of another kind": keys.token(keys.ec, "r1", "ES256"),
        "no key named among two": keys.token(other, kid=None),
        "the public key as a secret": keys.token(public_pem, "r1", "HS256"),
        "no signature": keys.token().rpartition(".")[0] + ".",
        "alg none": jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "exp": now + 60}, None, algorithm="none"),
        "a changed claim": _changed(keys.token()),
        "no token": "abc",
        "two dots": "..",
    }
    async with serving(**oauth) as site:
        statuses = {}
        for what, token in bad.items():
            async with site.browser(token) as browser:
                statuses[what] = (await browser.post("/mcp", json=initialize)).status_code

    assert statuses == dict.fromkeys(bad, 401)


async def test_the_scope_is_the_role(serving, keys, oauth, initialize):
    async with serving(**oauth) as site:
        async with site.agent(keys.token(scope="lyra:reader")) as agent:
            refused = await agent.text("add_evidence", claim="x", fragments=[{"text": "x"}])
        async with site.browser(keys.token(scope="openid email")) as browser:
            none = await browser.post("/mcp", json=initialize)

    assert "E_FORBIDDEN" in refused
    assert none.status_code == 403
    assert 'error="insufficient_scope"' in none.headers["www-authenticate"]


async def test_clients_learn_where_tokens_come_from(serving, oauth, initialize):
    async with serving(**oauth) as site, site.browser() as browser:
        refused = await browser.post("/mcp", json=initialize)
        metadata = await browser.get(METADATA)

    assert refused.status_code == 401
    assert f'resource_metadata="https://lyra.example.org{METADATA}"' in refused.headers["www-authenticate"]
    assert metadata.json() == {
        "resource": AUDIENCE,
        "authorization_servers": [ISSUER],
        "scopes_supported": ["lyra:reader", "lyra:trainer", "lyra:owner"],
        "bearer_methods_supported": ["header"],
    }


async def test_our_own_tokens_count_beside_the_authorization_servers(serving, keys, oauth, initialize):
    async with serving(**oauth) as site:
        own = site.token("alice")
        async with site.browser(own) as one, site.browser(keys.token()) as other, site.browser() as nobody:
            replies = [await browser.post("/mcp", json=initialize) for browser in (one, other, nobody)]

    assert [reply.status_code for reply in replies] == [200, 200, 401]


async def test_invented_keys_do_not_make_us_ask_for_keys_again_and_again(serving, keys, oauth, initialize):
    before = keys.asked
    async with serving(**oauth) as site:
        for number in range(5):
            async with site.browser(keys.token(kid=f"invented{number}")) as browser:
                assert (await browser.post("/mcp", json=initialize)).status_code == 401

    assert keys.asked - before == 1


async def test_where_keys_cannot_be_had_nobody_comes_in_and_the_server_says_so(serving, keys, oauth, initialize):
    gone = oauth | {"oauth_jwks_url": "http://127.0.0.1:9/keys"}
    async with serving(**gone) as site, site.browser(keys.token()) as browser:
        replies = [await browser.post("/mcp", json=initialize) for _ in range(2)]

    assert [reply.status_code for reply in replies] == [503, 503]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"oauth_jwks_url": None}, "belong together"),
        ({"oauth_jwks_url": "http://login.example.org/keys"}, "LYRA_OAUTH_JWKS_URL must be an https address"),
        ({"oauth_issuer": "login.example.org"}, "LYRA_OAUTH_ISSUER must be an https address"),
    ],
)
def test_half_a_configuration_is_refused(settings, oauth, changes, said):
    with pytest.raises(Invalid, match=said):
        verifier_of(settings.model_copy(update=oauth | changes))


def _public(key, kid, algorithm):
    kind = jwt.algorithms.RSAAlgorithm if algorithm == "RS256" else jwt.algorithms.ECAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, "alg": algorithm, "use": "sig"}


def _changed(token):
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    changed = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "admin"}).encode()).decode().rstrip("=")
    return f"{head}.{changed}.{signature}"
