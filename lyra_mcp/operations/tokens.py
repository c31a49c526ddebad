"""Tokens for HTTP: give out, list, revoke, and recognise."""

import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime, timedelta
from secrets import token_hex, token_urlsafe

from lyra_mcp.domain.identities import OAUTH_PREFIX, is_user_name
from lyra_mcp.domain.roles import Role
from lyra_mcp.errors import Invalid, NotFound
from lyra_mcp.operations.services import Services
from lyra_mcp.settings import Settings
from lyra_mcp.storage import audit_log
from lyra_mcp.storage import tokens as file
from lyra_mcp.storage.tokens import Token

PREFIX = "lyra_"
SECRET_BYTES = 32


def add_token(settings: Settings, *, user: str, role: Role, days: int | None, now: datetime) -> tuple[Token, str]:
    """Give out a token; the second value is the token itself, which is kept nowhere.

    Raises:
        Invalid: the name cannot be a folder's name of its own.
        StorageFailed, DiskFull: nothing was given out.
    """
    _check_user(settings, user)
    secret = PREFIX + token_urlsafe(SECRET_BYTES)
    token = Token(
        token_id=token_hex(6),
        sha256=_digest(secret),
        user=user,
        role=role,
        created_at=now,
        expires_at=None if days is None else now + timedelta(days=days),
    )
    with file.held(settings.home):
        file.write_tokens(settings.home, [*(file.read_tokens(settings.home) or []), token])
    return token, secret


async def give_out(services: Services, *, user: str, role: Role, days: int | None) -> tuple[Token, str]:
    """As `add_token`, and on the record of the local user. Raises as `add_token`."""
    async with services.database.transaction() as tx:
        token, secret = add_token(services.settings, user=user, role=role, days=days, now=services.clock())
        detail = {"token": token.token_id, "user": user, "role": role}
        await audit_log.append(tx, "token_added", services.actor, detail, created_at=services.now())
    return token, secret


async def take_back(services: Services, token_id: str) -> Token:
    """As `revoke_token`, and on the record; where no record can be written, it is revoked all the same.

    Raises:
        NotFound: no such token.
        StorageFailed, DiskFull: it is revoked, and the record could not be written.
    """
    token = revoke_token(services.settings, token_id)
    async with services.database.transaction() as tx:
        detail = {"token": token.token_id, "user": token.user, "role": token.role}
        await audit_log.append(tx, "token_revoked", services.actor, detail, created_at=services.now())
    return token


def list_tokens(settings: Settings) -> list[Token]:
    return file.read_tokens(settings.home) or []


def revoke_token(settings: Settings, token_id: str) -> Token:
    """A running server refuses it from its next request on. Raises NotFound."""
    with file.held(settings.home):
        tokens = list_tokens(settings)
        found = next((token for token in tokens if token.token_id == token_id), None)
        if found is None:
            raise NotFound(f"no token {token_id[:80]!r}; `lyra-mcp token list` shows them")
        # The file stays, also when it is empty: revoking the last token must not open the door.
        file.write_tokens(settings.home, [token for token in tokens if token is not found])
    return found


def find_token(tokens: Iterable[Token], secret: str, *, now: datetime) -> Token | None:
    """The token with that secret, unless it has expired. Looks at every one, so that the time says nothing."""
    digest = _digest(secret)
    matching = [token for token in tokens if hmac.compare_digest(token.sha256, digest)]
    return next((token for token in matching if token.expires_at is None or now < token.expires_at), None)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _check_user(settings: Settings, user: str) -> None:
    if user == settings.user:
        return
    if not is_user_name(user):
        raise Invalid(
            f"{user[:80]!r} cannot be a user's name: up to 64 of a-z, 0-9, dot, hyphen and underscore, a letter or"
            f" digit first, and not {OAUTH_PREFIX!r}; choose another"
        )
    if user == settings.user.casefold():
        raise Invalid(f"{user!r} differs from the local user {settings.user!r} in case only; choose one of the two")
