"""Describe the API's errors and streams in OpenAPI."""

from http import HTTPStatus
from typing import Any

from drf_spectacular.openapi import AutoSchema

from agents_app.api.permissions import IsAdministrator, IsEditor
from agents_app.api.serializers.errors import ErrorSerializer

_DESCRIPTIONS = {
    400: "The request is malformed or a value is invalid.",
    401: "Not authenticated, or the token is unknown, expired or revoked.",
    403: "Not permitted for this user, or the Origin is not allowed.",
    404: "Not found, or not visible to this user.",
    409: "It is in use or conflicts with another object.",
    413: "The body is larger than MAX_BODY_BYTES of the server: `limits.body_bytes` of `/v1/info`.",
    415: "The body is not JSON.",
    429: "A rate limit or quota is exceeded.",
    503: "The server is temporarily unavailable.",
}
_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "How to authenticate."}},
    429: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds.", "required": True}},
    503: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
}

# One event of a stream: OpenAPI 3.1 cannot describe a stream as a whole.
EVENT = {
    "type": "object",
    "description": "An event of the stream.",
    "required": ["data"],
    "properties": {
        "id": {"type": "string", "description": "The value for `Last-Event-ID`, if the stream has ids."},
        "event": {"type": "string", "description": "Its type."},
        "data": {"type": "string", "description": "JSON, or `[DONE]`."},
    },
}


def errors(method: str, path: str, *, body: bool, public: bool = False, guarded: bool = False) -> dict[str, Any]:
    """Return the error responses of an operation. `guarded`: some authenticated users may not call it."""
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
    """Add the error responses as components: a hook of drf-spectacular."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    result["components"]["responses"] = {
        _name(status): {"description": text, "content": content}
        | ({"headers": _HEADERS[status]} if status in _HEADERS else {})
        for status, text in _DESCRIPTIONS.items()
    }
    return result


_CRUD = {
    "list": "List {many}.",
    "create": "Create {one}.",
    "retrieve": "Return {one}.",
    "update": "Replace {one}.",
    "partial_update": "Change {one}.",
    "destroy": "Delete {one}.",
}


class Schema(AutoSchema):
    """Add its error responses to each operation, and to those of a noun what the verb does."""

    def get_summary(self) -> str | None:
        sentence = _CRUD.get(getattr(self.view, "action", None) or "")
        rows = getattr(self.view, "queryset", None)
        if sentence is None or rows is None:
            return super().get_summary()
        names = rows.model._meta
        one, many = getattr(self.view, "noun", (names.verbose_name, names.verbose_name_plural))
        return sentence.format(one=f"{'an' if one[0] in 'aeiouAM' else 'a'} {one}", many=many)

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
        return isinstance(permission, IsEditor) or (isinstance(permission, IsAdministrator) and not reads)
