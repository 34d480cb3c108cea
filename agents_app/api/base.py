"""What all our views share: JSON in, JSON out, described with their errors."""

from typing import Any

from rest_framework import viewsets
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.views import APIView

from agents_app.api.parsers import JSONBody
from agents_app.api.schema import Schema


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


class CrudViewSet(JSONView, viewsets.ModelViewSet):
    """Rows that clients make and change. A new one says where it is."""

    def get_success_headers(self, data: Any) -> dict[str, str]:
        return {"Location": self.reverse_action("detail", args=[data[self.lookup_field]])}
