"""Describe in OpenAPI the endpoints that return JSON or a stream, and summarize all endpoints."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from agents_app.api.schema import EVENT
from agents_app.api.serializers.sessions import EventsSerializer

EVENTS: dict[str, Any] = {
    "parameters": [
        OpenApiParameter("after", int, description="The number of the last event that the client has; 0 for all."),
        OpenApiParameter("limit", int, description="Events per page of JSON, 1 to 200."),
        OpenApiParameter(
            "Last-Event-ID", int, OpenApiParameter.HEADER, description="For a stream, the same as `after`."
        ),
    ],
    "responses": {(200, "application/json"): EventsSerializer, (200, "text/event-stream"): EVENT},
}


def add_summaries(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Set each summary to the first sentence of its description: a hook of drf-spectacular."""
    for path in result["paths"].values():
        for operation in path.values():
            first, dot, _ = operation.get("description", "").partition(". ")
            operation.setdefault("summary", (first + dot).strip().replace("\n", " "))
    return result
