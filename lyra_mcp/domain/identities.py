"""Who asks over HTTP, and under which name their folder stands: no two people share one, and none leaves its place."""

import base64
import hashlib
import re
from dataclasses import dataclass

from lyra_mcp.domain.roles import Role

#: Lower case, because some file systems do not tell it from upper case.
USER_PATTERN = r"[a-z0-9][a-z0-9._-]{0,63}"
#: Folders of people whom an authorization server knows begin so; no token of ours may.
OAUTH_PREFIX = "oauth-"


@dataclass(frozen=True, slots=True)
class Identity:
    """As the connection proved it, never as an argument said."""

    #: Also the name of their folder.
    user: str
    role: Role
    #: Names the token in logs and binds sessions to it; never the token itself.
    token_id: str
    #: Who vouched for it; null: this server.
    issuer: str | None = None


def is_user_name(name: str) -> bool:
    """Whether a token may be given to that name, beside the local user's own."""
    return re.fullmatch(USER_PATTERN, name) is not None and not name.startswith(OAUTH_PREFIX)


def user_of_subject(issuer: str, subject: str) -> str:
    """A folder's name for any subject of any issuer: the whole SHA-256 of both, so that no two meet."""
    written = f"{len(issuer)}:{issuer}{subject}".encode("utf-8", "surrogatepass")
    digest = base64.b32encode(hashlib.sha256(written).digest()).decode("ascii")
    return OAUTH_PREFIX + digest.rstrip("=").lower()
