"""Tools that the caller of a run executes: what a caller may define, and the results that it gives."""

import uuid
from dataclasses import dataclass

from django.db import connection

from agents_app.engine.client_tools import LONGEST_DESCRIPTION, LONGEST_OUTPUT, MOST_TOOLS, checked, taken_name
from agents_app.exceptions import InvalidRequest
from agents_app.models import Approval, Run
from agents_app.models.agent_versions import Definition
from agents_app.models.overrides import Overrides
from agents_app.models.runs import NEXT_OF_SESSION

__all__ = ["LONGEST_DESCRIPTION", "LONGEST_OUTPUT", "MOST_TOOLS", "Output", "check_names", "checked", "open_call"]


@dataclass(frozen=True, slots=True)
class Output:
    """The result of a call. `is_error`: it says that the tool failed."""

    text: str
    is_error: bool = False


def check_names(overrides: Overrides, version: Definition) -> None:
    """Check that the agent has no tools of the same names as the caller's.

    Raises:
        InvalidRequest: it has one. Names it.
    """
    if not overrides.client_tools:
        return
    own = [*version.builtin_tools, *(tool["name"] for tool in version.client_tools)]
    servers = (server.name for server in version.servers)
    if name := taken_name((tool["name"] for tool in overrides.client_tools), own, servers):
        raise InvalidRequest(f"'tools' has the name {name!r}, which the agent has for its own tools.", param="tools")


def open_call(session_id: str) -> Approval | None:
    """Return a call for whose result the session's next run waits."""
    with connection.cursor() as cursor:
        cursor.execute(NEXT_OF_SESSION, {"session": session_id})
        row = cursor.fetchone()
    if row is None or row[1] != Run.Status.WAITING:
        return None
    open_calls = Approval.objects.filter(kind=Approval.Kind.CLIENT_TOOL, status=Approval.Status.PENDING)
    return open_calls.filter(run=uuid.UUID(str(row[0]))).first()
