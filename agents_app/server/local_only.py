"""Refuse requests and sockets that are not of this machine, if the server has no sign-in."""

from collections.abc import Awaitable, Callable
from typing import Any

from agents_app.access import open_mode
from agents_app.api.error_responses import error_response
from agents_app.server import health

Application = Callable[..., Awaitable[None]]

_FOREIGN = 4403  # close code of a socket
_EXEMPT = {*health.PROBES}  # monitors may ask, whoever they are: the answers tell nothing


def local_only(application: Application) -> Application:
    """Return the application, for this machine only while `open_mode.applies()`: every address, page and file."""

    async def local(scope: dict[str, Any], receive: Any, send: Any) -> None:
        reason = _refusal(scope) if open_mode.applies() else None
        if reason is None:
            await application(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": _FOREIGN, "reason": reason[:120]})
        else:
            await _send(reason, send)

    return local


def _refusal(scope: dict[str, Any]) -> str | None:
    if scope["path"].rstrip("/") in _EXEMPT:
        return None
    peer = str((scope.get("client") or [""])[0] or "")
    headers = [(name.decode("latin1"), value.decode("latin1")) for name, value in scope["headers"]]
    forwarded_for = [value for name, value in headers if name.lower() == "x-forwarded-for"]
    return open_mode.refusal(peer, [name for name, _ in headers], forwarded_for)


async def _send(reason: str, send: Any) -> None:
    response = error_response(403, reason, "not_this_machine")
    headers = [(name.lower().encode("latin1"), value.encode("latin1")) for name, value in response.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
