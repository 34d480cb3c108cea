"""Lists: `{"object": "list", "data", "has_more", "next"}`, by keyset: stable while rows are added."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import orjson
from django.core.exceptions import ValidationError
from django.db.models import Model, Q
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from agents_app.exceptions import InvalidRequest

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 200
LARGEST_SEQ = 2**63 - 1


def whole_number(request: Request, name: str, default: int, *, least: int, most: int) -> int:
    """Return a number of the query.

    Raises:
        InvalidRequest: it is not a number, or out of range.
    """
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
        raise InvalidRequest(f"'{name}' must be a whole number from {least} to {most}.", param=name)
    return int(text)


def limit_of(request: Request) -> int:
    """Return how many items a page may have."""
    return whole_number(request, "limit", DEFAULT_LIMIT, least=1, most=LARGEST_LIMIT)


class ListPagination(BasePagination):
    """Keyset pagination. A view lists its orderings in `ordering_fields`, the default first.

    The primary key breaks ties, so that no row is skipped or repeated between two pages.
    """

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        self.request = request
        self.ordering = self._ordering(request, view)
        limit = limit_of(request)
        backwards = self.ordering.startswith("-")
        self.field = queryset.model._meta.get_field(self.ordering.removeprefix("-"))
        if cursor := request.query_params.get("cursor"):
            value, pk = self._decode(cursor, queryset.model)
            beyond = "lt" if backwards else "gt"
            name = self.field.name
            queryset = queryset.filter(Q(**{f"{name}__{beyond}": value}) | Q(**{name: value, f"pk__{beyond}": pk}))
        rows = list(queryset.order_by(self.ordering, "-pk" if backwards else "pk")[: limit + 1])
        self.has_more = len(rows) > limit
        self.page = rows[:limit]
        return self.page

    def _ordering(self, request: Request, view: Any) -> str:
        allowed = view.ordering_fields
        ordering = request.query_params.get("ordering") or allowed[0]
        if ordering not in allowed:
            raise InvalidRequest(f"'ordering' must be one of: {', '.join(allowed)}.", param="ordering")
        return ordering

    def _encode(self, row: Model) -> str:
        parts = [self.ordering, self.field.value_to_string(row), row._meta.pk.value_to_string(row)]
        return urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")

    def _decode(self, cursor: str, model: type[Model]) -> tuple[Any, Any]:
        try:
            parts = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            ordering, value, pk = (str(part) for part in parts)
            if ordering != self.ordering:
                raise ValueError("of another ordering")
            return self.field.to_python(value), model._meta.pk.to_python(pk)
        except (ValueError, TypeError, binascii.Error, ValidationError):
            raise InvalidRequest("Invalid 'cursor': use the URL in 'next'.", param="cursor") from None

    def get_paginated_response(self, data: Any) -> Response:
        url = None
        if self.has_more:
            url = replace_query_param(self.request.build_absolute_uri(), "cursor", self._encode(self.page[-1]))
        return Response({"object": "list", "data": data, "has_more": self.has_more, "next": url})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["object", "data", "has_more", "next"],
            "properties": {
                "object": {"type": "string", "const": "list"},
                "data": schema,
                "has_more": {"type": "boolean"},
                "next": {"type": ["string", "null"], "format": "uri", "description": "The URL of the next page."},
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT, "default": DEFAULT_LIMIT}
        ordering = {"type": "string", "enum": list(view.ordering_fields), "default": view.ordering_fields[0]}
        return [
            _query("limit", limit, "Items per page."),
            _query("cursor", {"type": "string"}, "Start of the page, from `next`."),
            _query("ordering", ordering, "Sort order; `-` reverses it."),
        ]


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
