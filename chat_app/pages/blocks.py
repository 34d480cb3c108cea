"""Blocks of Markdown for our pages: the parts of an answer that are whole while the rest of it is being written."""

import time
from collections.abc import Iterator
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.api.base import JSONView
from agents_app.exceptions import InvalidRequest
from chat_app.pages import markdown

MOST_BLOCKS = 100
MOST_CHARACTERS = 200_000  # of all blocks of a request
_CPU_SECONDS = 0.15  # of a response: a page requests the rest again


class BlockSerializer(serializers.Serializer):
    """A block, and the level of the first heading of its text; 0 if none came before."""

    text = serializers.CharField(trim_whitespace=False, max_length=MOST_CHARACTERS)
    first_title = serializers.IntegerField(default=0, min_value=0, max_value=6)


class BlocksSerializer(serializers.Serializer):
    blocks = serializers.ListField(child=BlockSerializer(), allow_empty=False, max_length=MOST_BLOCKS)


class BlocksView(JSONView):
    """Blocks of Markdown as HTML."""

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        """Return the first blocks, as many as may be rendered at once; `html` is null if one stays plain text."""
        serializer = BlocksSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        blocks = serializer.validated_data["blocks"]
        if sum(len(block["text"]) for block in blocks) > MOST_CHARACTERS:
            raise InvalidRequest(f"'blocks' must have at most {MOST_CHARACTERS:,} characters.", param="blocks")
        return Response({"data": list(_rendered(blocks))})


def _rendered(blocks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    end = time.thread_time() + _CPU_SECONDS
    for block in blocks:
        yield {"html": markdown.block_to_html(block["text"], block["first_title"])}
        if time.thread_time() > end:
            return
