"""The pages, which scripts fill from the API and the WebSocket; and the schema of its frames."""

import os
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_safe

from agents_app.access import own_agents
from agents_app.api.documents import Document
from agents_app.api.security import content_security_policy
from agents_app.configuration.config_dir import config_dir
from agents_app.models import Agent, Provider, Run
from chat_app.pages.languages import catalogue, translated
from chat_app.websocket.schema import SCHEMA


@never_cache
@require_safe
@translated
def chat(request: HttpRequest) -> HttpResponse:
    return _chat(request)


@never_cache
@require_safe
@xframe_options_sameorigin
@translated
def agent_trial(request: HttpRequest) -> HttpResponse:
    """Return the chat alone, for a frame beside the form of an agent."""
    response = _chat(request, is_trial=True)
    response["Content-Security-Policy"] = content_security_policy("'self'")
    return response


def _chat(request: HttpRequest, *, is_trial: bool = False) -> HttpResponse:
    provider = default_provider()
    context = {
        "no_model": provider is None,
        "demonstration_model": uses_demonstration_model(provider),
        "examples": examples(),
        "longest_message": settings.MAX_MESSAGE_CHARACTERS,
        "most_file_bytes": settings.FILES_MAX_BYTES,
        "configuration_problem": config_dir.problem if _is_superuser(request.user) else "",  # it has names and values
        "is_trial": is_trial,
    }
    return _page(request, "chat", **context)


@never_cache
@require_safe
@translated
def agents(request: HttpRequest) -> HttpResponse:
    efforts = [value for value, _label in Agent._meta.get_field("reasoning_effort").choices or ()]
    may_make_agents = own_agents.may_make_agents(request.user)
    return _page(request, "agents", may_make_agents=may_make_agents, efforts=efforts)


@never_cache
@require_safe
@translated
def waiting(request: HttpRequest) -> HttpResponse:
    return _page(request, "waiting")


@never_cache
@require_safe
@translated
def models(request: HttpRequest) -> HttpResponse:
    return _administrators_page(request, "models")


@never_cache
@require_safe
@translated
def tools(request: HttpRequest) -> HttpResponse:
    return _administrators_page(request, "tools")


@never_cache
@require_safe
@translated
def tasks(request: HttpRequest) -> HttpResponse:
    return _page(request, "tasks")


@never_cache
@require_safe
@translated
def runs(request: HttpRequest) -> HttpResponse:
    return _page(request, "runs", statuses=Run.Status.values, triggers=Run.Trigger.values)


@never_cache
@require_safe
@translated
def tokens(request: HttpRequest) -> HttpResponse:
    return _page(request, "tokens")


def _page(request: HttpRequest, name: str, **context: Any) -> HttpResponse:
    """Return the page, or a redirect to sign in if that is needed."""
    if settings.AUTH_REQUIRED and not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    return render(request, f"chat_app/{name}.html", {"here": name} | frame(request.user) | context)


def _administrators_page(request: HttpRequest, name: str) -> HttpResponse:
    if request.user.is_authenticated and not _is_superuser(request.user):
        raise PermissionDenied
    return _page(request, name)


def frame(user: Any) -> dict[str, Any]:
    """Return the context of every page: the menus of this user, and the texts of the scripts."""
    is_open = not settings.AUTH_REQUIRED
    return {
        "auth_required": settings.AUTH_REQUIRED,
        "is_member": is_open or user.is_authenticated,
        "is_administrator": is_open or user.is_staff,
        "is_superuser": _is_superuser(user),
        "language": get_language(),
        "catalogue": catalogue(),
    }


def _is_superuser(user: Any) -> bool:
    return not settings.AUTH_REQUIRED or user.is_superuser


def default_provider() -> Provider | None:
    """Return the provider of the default agent."""
    agent = Agent.objects.select_related("provider").default()
    return (agent and agent.provider) or Provider.objects.default()


def uses_demonstration_model(provider: Provider | None) -> bool:
    """Return whether that is the demonstration model of the installation."""
    if provider is None or provider.kind != Provider.Kind.LOCAL:
        return False
    return not os.environ.get("LOCAL_MODEL_PATH")


def examples() -> list[dict[str, str]]:
    """Return the examples of an empty chat, with their agents: those of a new database."""
    return [
        {
            "agent": "assistant",
            "title": _("Ask a question"),
            "message": _("Explain in two sentences what an AI agent is."),
        },
        {
            "agent": "writer",
            "title": _("Draft a message"),
            "message": _("Write a short, friendly note that thanks a colleague for help."),
        },
        {
            "agent": "developer",
            "title": _("Write some code"),
            "message": _("Write a Python function that reverses the words of a sentence."),
        },
    ]


_frames_document = Document(lambda: SCHEMA, "application/schema+json")


@require_safe
def frames_schema(request: HttpRequest) -> HttpResponseBase:
    """Return the JSON Schema of the socket's frames."""
    return _frames_document.response(request)


@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    """Return the interactive API documentation."""
    return render(request, "chat_app/api_docs.html")
