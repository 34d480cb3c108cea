"""A client does not want an answer any more: its run is stopped, whichever instance is told so."""

import logging

import orjson

from agents_app import runs
from agents_app.database.errors import storage_errors
from agents_app.exceptions import AgentError
from agents_app.mcp_server.database import database
from agents_app.mcp_server.requests import Asking, RequestId
from agents_app.models import Run

logger = logging.getLogger(__name__)

_METHOD = "notifications/cancelled"


def asked_for(body: bytes) -> RequestId | None:
    """The id of the request that a body cancels; None where it does something else."""
    try:
        message = orjson.loads(body)
    except ValueError:
        return None
    if not isinstance(message, dict) or message.get("method") != _METHOD or "id" in message:
        return None
    params = message.get("params")
    request_id = params.get("requestId") if isinstance(params, dict) else None
    return request_id if isinstance(request_id, str | int) else None


async def cancel_request(asking: Asking, request_id: RequestId) -> None:
    """Stop the run that the client's request has started, if there is one and it goes on."""
    await database.run(_cancel, asking, request_id)


def _cancel(asking: Asking, request_id: RequestId) -> None:
    try:
        with storage_errors():
            unfinished = Run.objects.visible_to(asking.user).unfinished()
            for run in unfinished.filter(message_id__startswith=asking.prefix(request_id)):
                runs.cancel(run, by=asking.user.get_username())
    except AgentError as error:
        logger.warning("A run of an MCP client could not be stopped: %s", error)
