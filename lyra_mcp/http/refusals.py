"""How a request is refused: a status, a code and what to do, in the form MCP's clients read."""

import json
import math

from starlette.responses import Response

INVALID_REQUEST = -32600


class RequestRefused(Exception):
    """Raised before anything was answered."""

    def __init__(self, status: int, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}

    def response(self) -> Response:
        error = {"code": INVALID_REQUEST, "message": str(self)}
        body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}, ensure_ascii=False)
        return Response(body, self.status, self.headers, media_type="application/json")


def too_many(wait_s: float, whose: str) -> RequestRefused:
    seconds = max(1, math.ceil(wait_s))
    return RequestRefused(
        429,
        f"too many requests {whose}; wait {seconds} s and send it again",
        headers={"Retry-After": str(seconds)},
    )
