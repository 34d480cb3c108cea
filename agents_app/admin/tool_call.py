"""Calling a tool of an MCP server by hand, from the admin: the same verbs as over REST."""

import json
from collections.abc import Sequence
from typing import Any

from asgiref.sync import async_to_sync
from django import forms
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse

from agents_app.admin.base import StrictDecoder, short
from agents_app.exceptions import AgentError
from agents_app.integrations import mcp_servers
from agents_app.models import McpServer

_LONGEST_SHOWN = 100_000


class ToolCallForm(forms.Form):
    tool = forms.ChoiceField(help_text="Its description and arguments are shown below.")
    arguments = forms.JSONField(
        required=False,
        decoder=StrictDecoder,
        initial=dict,
        widget=forms.Textarea(attrs={"rows": 8, "cols": 80, "spellcheck": "false", "class": "vLargeTextField"}),
        help_text='An object, for example {"path": "/tmp"}. The tool is really called, with all that it does.',
    )

    def __init__(self, tools: Sequence[Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tool"].choices = [(tool.own_name, tool.own_name) for tool in tools]  # type: ignore[attr-defined]

    def clean_arguments(self) -> dict[str, Any]:
        arguments = self.cleaned_data["arguments"]
        if arguments is None:
            return {}
        if not isinstance(arguments, dict):
            raise forms.ValidationError('Give an object, for example {"path": "/tmp"}.')
        return arguments


def call_tool(request: HttpRequest, pk: int) -> HttpResponse:
    """The form, the tools as they are now, and what came of the call."""
    if not request.user.is_superuser:  # as over REST
        raise PermissionDenied
    server = get_object_or_404(McpServer, pk=pk)
    problem, outcome = "", None
    tools: Sequence[Any] = ()
    try:
        tools = mcp_servers.tools(server)
        form = ToolCallForm(tools, request.POST or None)
        if form.is_valid():
            outcome = _call(request, server, **form.cleaned_data)
    except AgentError as error:
        problem = str(error)
        form = ToolCallForm(tools, request.POST or None)
    context = {
        **admin.site.each_context(request),
        "title": f"Call a tool of {server.name}",
        "server": server,
        "form": form,
        "problem": problem,
        "outcome": outcome,
        "shown": short(outcome.result.content, _LONGEST_SHOWN) if outcome else "",
        "tools": [(tool, json.dumps(tool.parameters, indent=2, ensure_ascii=False)) for tool in tools],
    }
    return TemplateResponse(request, "agents_app/admin/call_tool.html", context)


def _call(request: HttpRequest, server: McpServer, *, tool: str, arguments: dict[str, Any]) -> mcp_servers.Outcome:
    """Write down who calls what, for it may change the world, and call it. The arguments may be secret."""
    prepared = mcp_servers.prepare(server, tool, arguments)
    message = f"Called the tool {tool[:100]}."
    assert request.user.pk is not None
    LogEntry.objects.log_actions(request.user.pk, [server], CHANGE, message, single_object=True)
    return async_to_sync(prepared.make)()
