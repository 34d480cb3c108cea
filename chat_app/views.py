"""The chat page, drawn by its script from the frames of the WebSocket; and those frames' schema."""

import os

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from agents_app.models import Agent, Provider
from chat_app.frames_schema import SCHEMA


@never_cache
@require_safe
def chat(request: HttpRequest) -> HttpResponse:
    return render(request, "chat_app/chat.html", {"demonstration_model": uses_demonstration_model()})


def uses_demonstration_model() -> bool:
    """Whether the default agent answers with the tiny model that comes with the installation."""
    agent = Agent.objects.select_related("provider").default()
    provider = (agent and agent.provider) or Provider.objects.default()
    if provider is None or provider.kind != Provider.Kind.LOCAL:
        return False
    return not os.environ.get("LOCAL_MODEL_PATH")


@require_safe
def frames_schema(request: HttpRequest) -> JsonResponse:
    """The frames of the socket as JSON Schema."""
    return JsonResponse(SCHEMA, content_type="application/schema+json")
