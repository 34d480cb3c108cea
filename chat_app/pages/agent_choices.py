"""What the form of an agent offers: models, tools and groups, as far as the user may use them."""

from typing import Any

from django.contrib.auth.models import Group
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.access import own_agents
from agents_app.api.base import JSONView
from agents_app.exceptions import NotFound
from agents_app.integrations import providers
from agents_app.models import McpServer, Provider
from agents_app.models.mcp_servers import tool_name
from chat_app.pages.languages import in_language

BUILTIN_TOOLS = {
    "current_time": _("Tell date and time"),
    "calculate": _("Calculate"),
    "fetch_url": _("Read a web page"),
    "ask_user": _("Ask you a question"),
    "read_file": _("Read attached files"),
    "read_result": _("Read earlier results"),
    "give_file": _("Make a file to download"),
    "run_code": _("Run Python code"),
    "ask_agent": _("Ask another agent"),
    "create_task": _("Create a task"),
    "list_tasks": _("List your tasks"),
    "update_task": _("Change a task"),
    "enable_task": _("Enable a task"),
    "disable_task": _("Disable a task"),
    "delete_task": _("Delete a task"),
    "run_task": _("Run a task now"),
    "get_run": _("Look up a run"),
    "cancel_run": _("Stop a run"),
}


class AgentChoicesView(JSONView):
    """What an agent of this user may have."""

    permission_classes = (IsAuthenticated,)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        user = request.user
        servers = McpServer.objects.enabled() if user.is_superuser else own_agents.open_servers()
        with in_language(request):
            return Response(
                {
                    "providers": [_provider(user, each) for each in _providers(user)],
                    "builtin_tools": [{"name": name, "label": str(label)} for name, label in BUILTIN_TOOLS.items()],
                    "mcp_servers": [_server(each) for each in servers.order_by("name")],
                    "groups": _groups(user),
                    "may_publish": user.is_superuser,
                }
            )


class ModelsView(JSONView):
    """The models of a provider, by its own list."""

    permission_classes = (IsAuthenticated,)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        """Ask the provider named by `?provider=`, else the default one. A provider that does not answer has none."""
        name = request.query_params.get("provider", "")
        provider = Provider.objects.filter(name=name).first() if name else Provider.objects.default()
        if provider is None or not _has_any_model(request.user, provider):
            raise NotFound("There is no such provider whose models you may choose.")
        report = providers.check(provider)
        return Response({"models": report.models, "problem": "" if report.ok else report.message})


def _providers(user: Any) -> list[Provider]:
    """Return those that an agent may name, after the default one."""
    rows = list(Provider.objects.in_order_of_default())
    return rows[:1] + [row for row in rows[1:] if _has_any_model(user, row)]


def _has_any_model(user: Any, provider: Provider) -> bool:
    return user.is_superuser or (own_agents.may_make_agents(user) and provider.open_to_users)


def _provider(user: Any, provider: Provider) -> dict[str, Any]:
    return {
        "name": provider.name,
        "default_model": provider.default_model,
        "has_any_model": _has_any_model(user, provider),
    }


def _server(server: McpServer) -> dict[str, Any]:
    tools = [{"name": tool_name(server.name, tool), "label": tool} for tool in server.tool_names]
    return {
        "name": server.name,
        "description": server.description,
        "tools": tools,
        "is_checked": bool(server.checked_at),
    }


def _groups(user: Any) -> list[str]:
    groups = Group.objects.all() if user.is_superuser else user.groups.all()
    return list(groups.order_by("name").values_list("name", flat=True)[:1000])
