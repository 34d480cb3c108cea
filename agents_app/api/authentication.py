"""Authenticate a request for DRF."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from agents_app.access import callers


class CallerAuthentication(BaseAuthentication):
    """Accept a token or a browser's session; in the open mode neither is needed."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        caller = callers.of_request(request._request)
        if caller is not None:
            return caller.user, caller.token
        if request.headers.get("Authorization"):
            raise AuthenticationFailed("The token is unknown, expired or revoked.")
        return None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class CallerScheme(OpenApiAuthenticationExtension):
    """Describe the authentication in OpenAPI."""

    target_class = CallerAuthentication
    name: list[str] = ["token", "session"]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer", "description": "A token of `POST /v1/tokens`."},
            {
                "type": "apiKey",
                "in": "cookie",
                "name": settings.SESSION_COOKIE_NAME,
                "description": "A browser's session. Unsafe methods also need an allowed Origin.",
            },
        ]

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[str]]]:
        return [{name: []} for name in self.name]
