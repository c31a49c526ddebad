"""OAuth 2.1 resource server: access tokens that somebody else issued, checked against the issuer's public keys.

Source: RFC 9068 (JWT access tokens), RFC 8725 (best current practices), RFC 8707 (the audience is this server).
"""

import logging
from collections.abc import Callable
from time import monotonic
from urllib.parse import urlsplit

import anyio
import httpx2
import jwt

from lyra_mcp.domain.identities import Identity, user_of_subject
from lyra_mcp.domain.roles import ROLES, Role
from lyra_mcp.errors import Invalid, Unavailable
from lyra_mcp.http.hosts import is_loopback
from lyra_mcp.settings import Settings

log = logging.getLogger(__name__)

#: Asymmetric only: with HS256 a public key would do as the secret.
ALGORITHMS = ("RS256", "ES256")
#: Clocks differ.
LEEWAY_S = 30
FETCH_TIMEOUT_S = 5.0
KEYS_BYTES_MAX = 2**20
#: Keys are fetched again after this time, ...
KEYS_AGE_S = 3600.0
#: ... and whatever happens at most so often: anybody can invent an unknown key.
REFETCH_S = 30.0
SCOPE_PREFIX = "lyra:"
UNREADABLE = "the authorization server's keys cannot be read; try again in a minute"


class TokenRefused(Exception):
    """Not a token that counts here."""


class ScopeMissing(TokenRefused):
    """A token that counts, and has none of our scopes."""


class JwksVerifier:
    def __init__(self, *, issuer: str, audience: str, jwks_url: str, clock: Callable[[], float] = monotonic) -> None:
        self.issuer, self.audience = issuer, audience
        self._jwks_url, self._clock = jwks_url, clock
        self._keys: list[jwt.PyJWK] = []
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._lock = anyio.Lock()

    async def identify(self, token: str) -> Identity:
        """Raises TokenRefused, ScopeMissing; Unavailable where the issuer's keys cannot be had."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise TokenRefused
            key = await self._find_key(header.get("kid"), str(header["alg"]))
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                issuer=self.issuer,
                audience=self.audience,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise TokenRefused from error
        subject = claims["sub"]
        if not isinstance(subject, str) or not subject:
            raise TokenRefused
        return Identity(user_of_subject(self.issuer, subject), _role(claims.get("scope")), "oauth", self.issuer)

    async def _find_key(self, key_id: object, algorithm: str) -> jwt.PyJWK:
        async with self._lock:
            found = self._matching(key_id, algorithm)
            if (found is None or self._is_old(self._fetched_at, KEYS_AGE_S)) and self._is_old(
                self._tried_at, REFETCH_S
            ):
                self._tried_at = self._clock()
                try:
                    await self._fetch()
                except Unavailable:
                    if found is None:
                        raise
                else:
                    found = self._matching(key_id, algorithm)
        if found is None and self._fetched_at is None:
            raise Unavailable(UNREADABLE)
        if found is None:
            raise TokenRefused
        return found

    def _matching(self, key_id: object, algorithm: str) -> jwt.PyJWK | None:
        usable = [key for key in self._keys if key.algorithm_name == algorithm and key.public_key_use in (None, "sig")]
        if key_id is None:
            return usable[0] if len(usable) == 1 else None
        return next((key for key in usable if key.key_id == key_id), None)

    def _is_old(self, moment: float | None, age_s: float) -> bool:
        return moment is None or self._clock() - moment >= age_s

    async def _fetch(self) -> None:
        try:
            async with (
                httpx2.AsyncClient(timeout=FETCH_TIMEOUT_S, follow_redirects=False) as client,
                client.stream("GET", self._jwks_url) as reply,
            ):
                reply.raise_for_status()
                written = b""
                async for chunk in reply.aiter_bytes():
                    written += chunk
                    if len(written) > KEYS_BYTES_MAX:
                        raise Unavailable("the authorization server's keys are too large; check LYRA_OAUTH_JWKS_URL")
            self._keys = jwt.PyJWKSet.from_json(written.decode()).keys
        except (httpx2.HTTPError, jwt.PyJWTError, ValueError, KeyError, AttributeError, TypeError) as error:
            log.warning("the authorization server's keys cannot be read: %s", type(error).__name__)
            raise Unavailable(UNREADABLE) from error
        self._fetched_at = self._clock()


def verifier_of(settings: Settings) -> JwksVerifier | None:
    """Raises Invalid where only a part of it is set, or an address is neither https nor on this machine."""
    issuer, audience, jwks_url = settings.oauth_issuer, settings.oauth_audience, settings.oauth_jwks_url
    if issuer is None and audience is None and jwks_url is None:
        return None
    if issuer is None or audience is None or jwks_url is None:
        raise Invalid("LYRA_OAUTH_ISSUER, LYRA_OAUTH_AUDIENCE and LYRA_OAUTH_JWKS_URL belong together; set all three")
    named = {"LYRA_OAUTH_ISSUER": issuer, "LYRA_OAUTH_AUDIENCE": audience, "LYRA_OAUTH_JWKS_URL": jwks_url}
    for name, url in named.items():
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise Invalid(f"{name} must be an https address; correct it")
    return JwksVerifier(issuer=issuer, audience=audience, jwks_url=jwks_url)


def _role(scope: object) -> Role:
    """The greatest of our scopes."""
    scopes = scope.split() if isinstance(scope, str) else []
    for role in reversed(ROLES):
        if f"{SCOPE_PREFIX}{role}" in scopes:
            return role
    raise ScopeMissing
