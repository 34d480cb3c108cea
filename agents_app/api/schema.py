"""How the API describes itself."""

from http import HTTPStatus
from typing import Any

from drf_spectacular.openapi import AutoSchema

from agents_app.api.permissions import IsAdministrator
from agents_app.api.serializers.errors import ErrorSerializer

_DESCRIPTIONS = {
    400: "The request is malformed, or what it asks for makes no sense.",
    401: "Nobody is signed in, or the token is unknown, expired or revoked.",
    403: "The caller may not do this, or a page of another site asks for it.",
    404: "There is no such thing, or it is somebody else's.",
    409: "It is in use, or in the way of something else.",
    413: "The body is larger than 1 MiB.",
    415: "The body is not JSON.",
    429: "Too much at once, or too much today.",
    503: "The server cannot do this right now.",
}
_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "How to sign in."}},
    429: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds.", "required": True}},
    503: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
}

# Each event of a stream. (3.1 has no words for the stream as a whole.)
EVENT = {
    "type": "object",
    "description": "An event of the stream.",
    "required": ["data"],
    "properties": {
        "id": {"type": "string", "description": "What `Last-Event-ID` takes, where a stream has one."},
        "event": {"type": "string", "description": "Its type."},
        "data": {"type": "string", "description": "JSON, or `[DONE]`."},
    },
}


def errors(method: str, path: str, *, body: bool, public: bool = False, guarded: bool = False) -> dict[str, Any]:
    """The errors that an operation may answer with. `guarded`: not for everybody who has signed in."""
    possible = {400, 429, 503}
    if not public:
        possible.add(401)
    if "{" in path:
        possible.add(404)
    if method.upper() not in ("GET", "HEAD"):
        possible |= {403, 409, 413} | ({415} if body else set())
    if guarded:
        possible.add(403)
    return {str(status): {"$ref": f"#/components/responses/{_name(status)}"} for status in sorted(possible)}


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "")


def add_errors(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Say once how each error looks: a hook of drf-spectacular."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    result["components"]["responses"] = {
        _name(status): {"description": text, "content": content}
        | ({"headers": _HEADERS[status]} if status in _HEADERS else {})
        for status, text in _DESCRIPTIONS.items()
    }
    return result


class Schema(AutoSchema):
    """Every operation also says which errors it may answer with."""

    def _get_response_bodies(self, direction="response") -> dict[str, Any]:
        self.resolve_serializer(ErrorSerializer, direction)  # so that it is among the components
        failures = errors(
            self.method,
            self.path,
            body=self.method in ("POST", "PUT", "PATCH") and self.get_request_serializer() is not None,
            public=not self.view.authentication_classes,
            guarded=any(self._excludes_users(permission) for permission in self.view.get_permissions()),
        )
        return super()._get_response_bodies(direction) | failures

    def _excludes_users(self, permission: Any) -> bool:
        reads = type(permission) is not IsAdministrator and self.method == "GET"
        return isinstance(permission, IsAdministrator) and not reads
