"""What all our views share: JSON in, JSON out, described with their errors."""

from typing import Any

from rest_framework import viewsets
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.views import APIView

from agents_app.api.parsers import JSONBody
from agents_app.api.schema import Schema
from agents_app.exceptions import InvalidRequest, NotFound


class JSONAlways(BaseContentNegotiation):
    """Whatever a client says it accepts, it gets JSON: an answer is more use than a 406."""

    def select_parser(self, request, parsers):
        sent = request.content_type.split(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == sent), None)

    def select_renderer(self, request, renderers, format_suffix=None):
        return renderers[0], renderers[0].media_type


class JSONView(APIView):
    """Comes first among the bases of every view."""

    parser_classes = (JSONBody,)
    content_negotiation_class = JSONAlways
    metadata_class = None  # OPTIONS is for browsers, which the middleware answers
    schema = Schema()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """As DRF's, after refusing what no row can hold: PostgreSQL has no NUL characters in its texts.

        Raises:
            InvalidRequest: one is in the query.
            NotFound: one is in the path.
        """
        for name, value in request.query_params.items():
            if "\x00" in value:
                raise InvalidRequest(f"'{name[:50]}' must not contain NUL characters.", param=name[:50])
        if any("\x00" in str(value) for value in kwargs.values()):
            raise NotFound("There is no such thing.")
        super().initial(request, *args, **kwargs)


class CrudViewSet(JSONView, viewsets.ModelViewSet):
    """Rows that clients make and change. A new one says where it is."""

    def get_success_headers(self, data: Any) -> dict[str, str]:
        return {"Location": self.reverse_action("detail", args=[data[self.lookup_field]])}
