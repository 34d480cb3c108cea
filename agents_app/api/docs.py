"""What OpenAPI says of the endpoints that answer in two ways."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from agents_app.api.serializers import EventsSerializer

EVENTS: dict[str, Any] = {
    "parameters": [
        OpenApiParameter("after", int, description="The newest number that the client has; 0 for all."),
        OpenApiParameter("limit", int, description="How many events a page of JSON has at most, 1 to 200."),
        OpenApiParameter(
            "Last-Event-ID", int, OpenApiParameter.HEADER, description="The same as `after`, of a stream."
        ),
    ],
    "responses": {(200, "application/json"): EventsSerializer, (200, "text/event-stream"): OpenApiTypes.STR},
}
