"""Continue a run that waits for results of its caller's tools."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from agents_app.database.errors import storage_errors
from agents_app.models import Approval, Run
from agents_app.models.agent_versions import definition
from agents_app.models.overrides import Overrides
from agents_app.runs import approvals, client_tools
from agents_app.runs.client_tools import Output
from agents_app.runs.starting import allowed


def continue_with(run: Run, outputs: Mapping[int, Output], *, user: Any, overrides: Overrides) -> int:
    """Give the results of calls, by their steps: all of them, or none. Returns the number of the last event.

    `overrides`: the options of the run from now on.

    Raises:
        InvalidRequest: a result is too long, or has characters that cannot be stored; or the agent has a tool of the
            name of one of the new options.
        AlreadyAnswered: somebody else answered one of the calls first, or it expired.
        NotFound, Conflict, StorageUnavailable: as of `approvals.respond`.
    """
    kind, by = Approval.Kind.CLIENT_TOOL, user.get_username()
    with storage_errors(), transaction.atomic():
        if run.agent_version_id:
            client_tools.check_names(overrides, definition(run.agent_version_id))
            overrides = allowed(overrides, run.agent_version_id, user)
        seqs = [
            approvals.respond(run, step, kind, response=output.text, is_error=output.is_error, by=by)
            for step, output in outputs.items()
        ]
        Run.objects.filter(pk=run.pk).update(overrides=overrides)
    return max(seqs)


def next_overrides(run: Run, turn: int, request: Overrides, *, has_tools: bool) -> Overrides:
    """Return the options of a run that goes on after its model turn `turn`, from those of the request.

    What the request does not say stays as it was. `has_tools`: whether it says something of tools.
    """
    before = run.overrides
    parameters = {name: value for name, value in before.parameters.items() if name != "tool_choice"}
    return dataclasses.replace(
        before,
        instructions=request.instructions or before.instructions,
        parameters=parameters | request.parameters,
        client_tools=request.client_tools if has_tools else before.client_tools,
        response=before.response | {"continued": before.response.get("continued", {}) | {str(turn): request.response}},
    )
