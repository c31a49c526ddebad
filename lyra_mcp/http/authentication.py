"""Who asks: a bearer token becomes an identity, or the request ends here."""

import logging
import os
from collections.abc import Callable
from datetime import datetime

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.routes import build_resource_metadata_url
from pydantic import AnyHttpUrl

from lyra_mcp.domain.identities import Identity
from lyra_mcp.errors import LyraError
from lyra_mcp.http.hosts import Headers
from lyra_mcp.http.jwks import JwksVerifier, ScopeMissing, TokenRefused
from lyra_mcp.http.refusals import RequestRefused
from lyra_mcp.operations.tokens import PREFIX, find_token
from lyra_mcp.settings import Settings
from lyra_mcp.storage import tokens as file
from lyra_mcp.storage.tokens import Token

log = logging.getLogger(__name__)

BEARER = "bearer "


class Verifiers:
    """Our own tokens and the authorization server's. The file of tokens counts as it is at each request."""

    def __init__(
        self, settings: Settings, oauth: JwksVerifier | None, *, is_private: bool, clock: Callable[[], datetime]
    ) -> None:
        """`is_private`: only this machine can reach the server."""
        self._settings, self.oauth, self._is_private, self._clock = settings, oauth, is_private, clock
        self._read: tuple[tuple[int, int, int] | None, list[Token] | None] | None = None

    @property
    def are_configured(self) -> bool:
        """Whether a token is needed. Raises StorageFailed where that cannot be known."""
        return self.oauth is not None or self._tokens() is not None

    async def identify(self, headers: Headers) -> Identity:
        """The identity behind a request; the local user's where no token is configured.

        Raises:
            RequestRefused: 401 for no token or one that does not count, 403 without a scope, 503 if nobody can tell.
        """
        try:
            # A file of tokens that was removed under a running server must not open it to the world.
            if self._is_private and not self.are_configured:
                return Identity(self._settings.user, "owner", "none")
            return await self._verify(_bearer(headers))
        except TokenRefused as error:
            raise self._refusal(error) from error
        except LyraError as error:
            log.warning("tokens cannot be verified: %s", error)
            message = "tokens cannot be verified now; the server's log says why; try again in a minute"
            raise RequestRefused(503, message, headers={"Retry-After": "30"}) from error

    async def _verify(self, token: str) -> Identity:
        if token.startswith(PREFIX) or self.oauth is None:
            found = find_token(self._tokens() or [], token, now=self._clock())
            if found is None:
                raise TokenRefused
            return Identity(found.user, found.role, found.token_id)
        return await self.oauth.identify(token)

    def _tokens(self) -> list[Token] | None:
        stamp = _stamp(self._settings)
        if self._read is None or self._read[0] != stamp:
            self._read = (stamp, file.read_tokens(self._settings.home))
        return self._read[1]

    def _refusal(self, error: TokenRefused) -> RequestRefused:
        words = {"error": "invalid_token", "error_description": "a valid token is needed"}
        status, message = 401, "a valid token is needed: `Authorization: Bearer ...`; the server's owner gives them out"
        if isinstance(error, ScopeMissing):
            words = {"error": "insufficient_scope", "scope": "lyra:reader"}
            status, message = 403, "the token has none of the scopes lyra:reader, lyra:trainer and lyra:owner"
        if self.oauth is not None:
            words["resource_metadata"] = metadata_url(self.oauth)
        challenge = "Bearer " + ", ".join(f'{name}="{value}"' for name, value in words.items())
        return RequestRefused(status, message, headers={"WWW-Authenticate": challenge})


def as_user(identity: Identity) -> AuthenticatedUser:
    """In the SDK's words: it binds sessions and half-finished questions to token, issuer and subject."""
    claims = None if identity.issuer is None else {"iss": identity.issuer}
    return AuthenticatedUser(
        AccessToken(token="", client_id=identity.token_id, scopes=[], subject=identity.user, claims=claims)
    )


def metadata_url(oauth: JwksVerifier) -> str:
    """Source: RFC 9728, section 3.1."""
    return str(build_resource_metadata_url(AnyHttpUrl(oauth.audience)))


def _bearer(headers: Headers) -> str:
    found = [value for key, value in headers if key == b"authorization"]
    if len(found) != 1:
        raise TokenRefused
    written = found[0].decode("latin-1")
    if not written.lower().startswith(BEARER):
        raise TokenRefused
    return written[len(BEARER) :].strip()


def _stamp(settings: Settings) -> tuple[int, int, int] | None:
    """What changes whenever the file or its mode does."""
    try:
        found = os.stat(file.path_of(settings.home))  # noqa: PTH116 - three numbers, at each request
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns, found.st_size
