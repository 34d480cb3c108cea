"""Files as parts of requests, encoded once and kept: base64 of a picture takes longer than the rest of a request.

The formats are the same wherever a file is in a request: in a user's message, and in a tool's result.
"""

import binascii
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from agents_app.engine.spec import FilePart

IMAGE, PDF, AUDIO, TEXT = "image", "pdf", "audio", "text"
_MOST_KEPT = 64 * 2**20  # bytes
_CHUNK = 96 * 1024  # bytes encoded without a break; divisible by 3
_AUDIO_FORMATS = {"audio/wav": "wav", "audio/mpeg": "mp3"}
_HOLE = "-the-data-goes-here-"


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """How a model gets a file: as a part in its API's format (`json`), or in words (`text`).

    `json` is an object without its closing brace, so that fields can be added. `characters`: what the file takes of the
    model's window.
    """

    kind: str
    characters: int
    text: str = ""
    json: bytes = field(default=b"", repr=False)

    @property
    def size(self) -> int:
        """Return the bytes of the file in a request, before base64."""
        return len(self.json) * 3 // 4


class LeastRecentlyUsed:
    """Values by key, up to a number of bytes; the ones that were used last stay."""

    def __init__(self, most: int) -> None:
        self.size = 0
        self._most = most
        self._values: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any) -> Any:
        """Return the value, or None."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def add(self, key: Any, value: Any, size: int) -> None:
        """Keep the value, which takes `size` bytes, unless it is larger than everything that may be kept."""
        with self._lock:
            if key in self._values or size > self._most:
                return
            self._values[key] = value, size
            self.size += size
            while self.size > self._most:
                _, (_, oldest) = self._values.popitem(last=False)
                self.size -= oldest

    def __len__(self) -> int:
        return len(self._values)


kept = LeastRecentlyUsed(_MOST_KEPT)  # RenderedFile, by what each depends on


def note(part: FilePart, reason: str) -> RenderedFile:
    """Return what a model is told of a file that it does not get."""
    text = f"[file {label(part)}: {reason}]"
    return RenderedFile(TEXT, len(text), text)


def label(part: FilePart) -> str:
    """Return the name, type and size of a file, for a model."""
    return f"{part.name or 'without a name'}, {part.media_type}, {part.size:,} bytes"


def encode(api: str, kind: str, media_type: str, name: str, data: bytes) -> bytes:
    """Return a file in the format of `api`, without the closing brace. Takes a while: call it in a thread."""
    before, after = _FORMATS[api][kind](media_type, name).rsplit(_HOLE.encode(), 1)
    return b"".join([before, *_base64(data), after[:-1]])


def _base64(data: bytes) -> list[bytes]:
    """Encode data in pieces: in one piece it would keep the event loop waiting for the interpreter's lock."""
    pieces = []
    for start in range(0, len(data), _CHUNK):
        pieces.append(binascii.b2a_base64(data[start : start + _CHUNK], newline=False))
        time.sleep(0)
    return pieces


def _image_url(media_type: str, _: str) -> bytes:
    return orjson.dumps({"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{_HOLE}"}})


def _file_data(media_type: str, name: str) -> bytes:
    file = {"filename": name or "file.pdf", "file_data": f"data:{media_type};base64,{_HOLE}"}
    return orjson.dumps({"type": "file", "file": file})


def _input_audio(media_type: str, _: str) -> bytes:
    return orjson.dumps({"type": "input_audio", "input_audio": {"data": _HOLE, "format": _AUDIO_FORMATS[media_type]}})


def _anthropic_image(media_type: str, _: str) -> bytes:
    return orjson.dumps({"type": "image", "source": {"type": "base64", "media_type": media_type, "data": _HOLE}})


def _anthropic_document(media_type: str, name: str) -> bytes:
    source = {"type": "base64", "media_type": media_type, "data": _HOLE}
    return orjson.dumps({"type": "document", "source": source} | ({"title": name} if name else {}))


_FORMATS: dict[str, dict[str, Callable[[str, str], bytes]]] = {
    "openai": {IMAGE: _image_url, PDF: _file_data, AUDIO: _input_audio},
    "anthropic": {IMAGE: _anthropic_image, PDF: _anthropic_document},
    "local": {},
}


def kinds_of(api: str) -> frozenset[str]:
    """Return the kinds of files that have a format in `api`, and text."""
    return frozenset({TEXT, *_FORMATS.get(api, {})})


def native_kind(media_type: str) -> str:
    """Return the kind under which a model may get files of such a type as they are; text if under none."""
    if media_type.startswith("image/") and media_type != "image/svg+xml":
        return IMAGE
    if media_type == "application/pdf":
        return PDF
    return AUDIO if media_type in _AUDIO_FORMATS else TEXT
