"""Files of a program's calls: links, embedded content of MCP and ids go in, links to what a run made come out."""

import base64
import re
from collections.abc import Callable
from typing import Any, TypedDict
from urllib.parse import urljoin

from django.urls import reverse

from agents_app.exceptions import InvalidRequest
from agents_app.files.incoming import IncomingFile, from_base64, from_url
from agents_app.mcp_server.requests import McpRequest
from agents_app.models import File, Run

MOST_FILES = 20
_MOST_LINKS = 100
_OWN = re.compile(r"(?:.*/v1/files/)?(file-[0-9a-f]{32})(?:/content)?", re.DOTALL)
SCHEMA: dict[str, Any] = {
    "type": "array",
    "maxItems": MOST_FILES,
    "description": "Files for the agent: ids of files that were uploaded to /v1/files, or content blocks of MCP: a "
    "resource_link (to an uploaded file or an https: address), an image, audio or an embedded resource.",
    "items": {
        "anyOf": [
            {"type": "string", "description": "ID of an uploaded file."},
            {
                "type": "object",
                "properties": {
                    "type": {"enum": ["resource_link", "image", "audio", "resource"]},
                    "uri": {"type": "string", "description": "Of a resource_link."},
                    "name": {"type": "string", "description": "Name of the file."},
                    "data": {"type": "string", "description": "Base64 of an image or audio."},
                    "mimeType": {"type": "string"},
                    "resource": {
                        "type": "object",
                        "description": "Embedded: `text`, or `blob` in base64, and its `uri`.",
                        "properties": {name: {"type": "string"} for name in ("uri", "text", "blob", "mimeType")},
                    },
                },
                "required": ["type"],
            },
        ]
    },
}


def read(blocks: list[Any]) -> list[IncomingFile]:
    """Return the files that a call names or brings. The blocks are of the schema.

    Raises:
        InvalidRequest: a block has not what its type needs. Names the field.
    """
    return [_read(block, f"files.{index}") for index, block in enumerate(blocks)]


def _read(block: str | dict[str, Any], path: str) -> IncomingFile:
    return _link(path, block, "") if isinstance(block, str) else _READERS[block["type"]](block, path)


def _link(path: str, uri: str, name: str) -> IncomingFile:
    own = _OWN.fullmatch(uri)
    return IncomingFile(path, file_id=own[1]) if own else from_url(path, uri, stem="file", name=name)


def _resource_link(block: dict[str, Any], path: str) -> IncomingFile:
    return _link(f"{path}.uri", _require(block, "uri", path), block.get("name", ""))


def _media(block: dict[str, Any], path: str) -> IncomingFile:
    data = _require(block, "data", path)
    media_type, name = block.get("mimeType", ""), block.get("name", "")
    return from_base64(f"{path}.data", data, stem=block["type"], media_type=media_type, name=name)


def _resource(block: dict[str, Any], path: str) -> IncomingFile:
    path = f"{path}.resource"
    resource = block.get("resource", {})
    name = block.get("name") or resource.get("uri", "").rstrip("/").rpartition("/")[2]
    if "text" in resource:
        data = base64.b64encode(resource["text"].encode()).decode()
        return IncomingFile(f"{path}.text", data=data, name=name or "resource.txt")
    data = _require(resource, "blob", path)
    return from_base64(f"{path}.blob", data, stem="resource", media_type=resource.get("mimeType", ""), name=name)


def _require(block: dict[str, Any], name: str, path: str) -> str:
    if not block.get(name):
        raise InvalidRequest(f"'{path}.{name}' is missing.", param=f"{path}.{name}")
    return block[name]


_READERS: dict[str, Callable[[dict[str, Any], str], IncomingFile]] = {
    "resource_link": _resource_link, "image": _media, "audio": _media, "resource": _resource
}  # fmt: skip


class Link(TypedDict):
    """A file that a run made. A client reads `uri` with its token."""

    file_id: str
    name: str
    media_type: str
    size: int
    uri: str


def links(run: Run, request: McpRequest) -> list[Link]:
    """Return the files that a run has made, the first ones if they are many."""
    rows = File.objects.visible_to(request.user).kept().filter(run=run).order_by("created_at", "id")[:_MOST_LINKS]
    return [
        Link(
            file_id=row.pk,
            name=row.name,
            media_type=row.media_type,
            size=row.size,
            uri=urljoin(request.base_url, reverse("file-content", args=[row.pk])),
        )
        for row in rows
    ]
