"""GET /v1/models: the agents that the caller may use, as models."""

from typing import Any

from django.http import HttpResponseBase, JsonResponse
from rest_framework.request import Request

from agents_app.database.errors import storage_errors
from agents_app.models import Agent
from agents_app.models.agent_names import find_enabled
from chat_app.openai_api.endpoint import caller, database, endpoint

_OWNER = "aintandem"


async def index(request: Request) -> HttpResponseBase:
    """Return all models, by name."""
    return JsonResponse({"object": "list", "data": await database.run(_all, request)})


async def one(request: Request, name: str) -> HttpResponseBase:
    """Return one model."""
    return JsonResponse(await database.run(_one, request, name))


models = endpoint(get=index)
model = endpoint(get=one)


def _all(request: Request) -> list[dict[str, Any]]:
    user = caller(request)
    with storage_errors():
        return [_model(agent, agent.name) for agent in Agent.objects.visible_to(user).enabled().order_by("name")]


def _one(request: Request, name: str) -> dict[str, Any]:
    user = caller(request)
    with storage_errors():
        agent = find_enabled(user, name).agent
        return _model(agent, name)


def _model(agent: Agent, name: str) -> dict[str, Any]:
    created = int(agent.created_at.timestamp())
    return {"id": name, "object": "model", "created": created, "owned_by": _OWNER}
