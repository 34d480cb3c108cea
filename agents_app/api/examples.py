"""What OpenAPI says of the endpoints that answer in two ways, and first of all of them."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from agents_app.api.schema import EVENT
from agents_app.api.serializers.sessions import EventsSerializer

EVENTS: dict[str, Any] = {
    "parameters": [
        OpenApiParameter("after", int, description="The newest number that the client has; 0 for all."),
        OpenApiParameter("limit", int, description="How many events a page of JSON has at most, 1 to 200."),
        OpenApiParameter(
            "Last-Event-ID", int, OpenApiParameter.HEADER, description="The same as `after`, of a stream."
        ),
    ],
    "responses": {(200, "application/json"): EventsSerializer, (200, "text/event-stream"): EVENT},
}


def add_summaries(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """A hook of drf-spectacular: what is read first of an operation is the first sentence of its description."""
    for path in result["paths"].values():
        for operation in path.values():
            first, dot, _ = operation.get("description", "").partition(". ")
            operation.setdefault("summary", (first + dot).strip().replace("\n", " "))
    return result
