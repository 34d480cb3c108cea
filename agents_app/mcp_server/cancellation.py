"""Cancel the run of a request that the client cancels, on whichever instance it runs."""

import logging

import orjson

from agents_app import runs
from agents_app.database.errors import storage_errors
from agents_app.exceptions import AgentError
from agents_app.mcp_server.database import database
from agents_app.mcp_server.requests import McpRequest
from agents_app.mcp_server.resumption import RequestId
from agents_app.models import Run

logger = logging.getLogger(__name__)

_METHOD = "notifications/cancelled"


def cancelled_request(body: bytes) -> RequestId | None:
    """Return the id of the request that a body cancels; None if the body is something else."""
    try:
        message = orjson.loads(body)
    except ValueError:
        return None
    if not isinstance(message, dict) or message.get("method") != _METHOD or "id" in message:
        return None
    params = message.get("params")
    request_id = params.get("requestId") if isinstance(params, dict) else None
    return request_id if isinstance(request_id, str | int) else None


async def cancel_request(request: McpRequest, request_id: RequestId) -> None:
    """Cancel the run that the client's request `request_id` started, if it is unfinished."""
    await database.run(_cancel, request, request_id)


def _cancel(request: McpRequest, request_id: RequestId) -> None:
    try:
        with storage_errors():
            unfinished = Run.objects.visible_to(request.user).unfinished()
            for run in unfinished.filter(message_id__startswith=request.message_id_prefix(request_id)):
                runs.cancel(run, by=request.user.get_username())
    except AgentError as error:
        logger.warning("Cannot cancel a run of an MCP client: %s", error)
