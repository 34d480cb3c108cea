"""How the API describes itself."""

from typing import Any

from drf_spectacular.openapi import AutoSchema

from agents_app.api.serializers import ErrorSerializer


class Schema(AutoSchema):
    """Every operation also says how its errors look."""

    def _get_response_bodies(self, direction="response") -> dict[str, Any]:
        bodies = super()._get_response_bodies(direction)
        error = self._get_response_for_code(ErrorSerializer, "default", direction=direction)
        return bodies | {"default": error | {"description": "An error."}}
