"""Base classes of the views: JSON in, JSON out, with errors described in OpenAPI."""

from typing import Any

from django.db import transaction
from rest_framework import viewsets
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents_app.access import limits
from agents_app.api import audit
from agents_app.api.parsers import JSONBody
from agents_app.api.schema import Schema
from agents_app.exceptions import InvalidRequest, NotFound


class JSONAlways(BaseContentNegotiation):
    """Answer in JSON whatever the client accepts: an answer is more useful than a 406."""

    def select_parser(self, request, parsers):
        media_type = request.content_type.split(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == media_type), None)

    def select_renderer(self, request, renderers, format_suffix=None):
        return renderers[0], renderers[0].media_type


# DRF's objects form reference cycles, which only the garbage collector frees. It runs seldom, because it counts objects
# and not their size: before it ran, a hundred bodies of 1 MiB were over a gigabyte.


def release_request(request: Request) -> None:
    """Break the request's reference cycle, so that it is freed with its last user."""
    request.parser_context.clear()


def _release_response(response: Response) -> None:
    response.renderer_context = {}  # type: ignore[attr-defined]


class Limited(APIView):
    """A view that limits requests: by address before authentication, then by user."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Count the request.

        Raises:
            RateLimited: too many requests.
        """
        limits.take_request_from(request)
        super().initial(request, *args, **kwargs)
        if request.user.is_authenticated:
            limits.take_request(request.user)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        answer = super().finalize_response(request, response, *args, **kwargs)
        release_request(request)
        body: Any = request.__dict__.get("_full_data")
        if type(body) in (dict, list):  # parsed from JSON, not from a form
            body.clear()  # serializers keep it, in cycles of their own
        if isinstance(answer, Response):
            answer.add_post_render_callback(_release_response)
        return answer


class JSONView(Limited):
    """The first base class of every view."""

    parser_classes: tuple[type[BaseParser], ...] = (JSONBody,)
    content_negotiation_class = JSONAlways
    metadata_class = None  # OPTIONS is for browsers: the middleware answers it
    schema = Schema()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Reject NUL characters, which PostgreSQL cannot store.

        Raises:
            InvalidRequest: the query has one.
            NotFound: the path has one.
        """
        for name, value in request.query_params.items():
            if "\x00" in value:
                raise InvalidRequest(f"'{name[:50]}' must not contain NUL characters.", param=name[:50])
        if any("\x00" in str(value) for value in kwargs.values()):
            raise NotFound("Not found.")
        super().initial(request, *args, **kwargs)


class CrudViewSet(JSONView, viewsets.ModelViewSet):
    """Rows that clients create and change. Changes by administrators are logged."""

    def perform_create(self, serializer: Any) -> None:
        with transaction.atomic():
            super().perform_create(serializer)
            audit.record(self.request.user, serializer.instance, audit.ADDITION, serializer.initial_data)

    def perform_update(self, serializer: Any) -> None:
        with transaction.atomic():
            super().perform_update(serializer)
            audit.record(self.request.user, serializer.instance, audit.CHANGE, serializer.initial_data)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        row = self.get_object()
        with transaction.atomic():
            audit.record(request.user, row, audit.DELETION)
            self.perform_destroy(row)
        return Response(status=204)

    def get_success_headers(self, data: Any) -> dict[str, str]:
        return {"Location": self.reverse_action("detail", args=[data[self.lookup_field]])}
