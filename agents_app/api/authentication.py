"""Who is calling."""

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication

from agents_app.access import local_administrator


class OpenModeAuthentication(BaseAuthentication):
    """Without AUTH_REQUIRED, on loopback only, every caller is the local administrator.

    With it this one recognises nobody, and the classes that will stand beside it in the settings decide:
    tokens, and sessions of the browser.
    """

    def authenticate(self, request):
        return None if settings.AUTH_REQUIRED else (local_administrator(), None)

    def authenticate_header(self, request) -> str:
        return "Bearer"


class OpenModeScheme(OpenApiAuthenticationExtension):
    """How OpenAPI says it: nothing to send."""

    target_class = OpenModeAuthentication
    name: list[str] = []

    def get_security_definition(self, auto_schema) -> list[dict[str, str]]:
        return []

    def get_security_requirement(self, auto_schema) -> dict[str, list[str]]:
        return {}
