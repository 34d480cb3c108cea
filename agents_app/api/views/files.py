"""/v1/files: what users upload, and what tools and agents make."""

import datetime
import re
import uuid
from typing import Any
from urllib.parse import quote

from django.db.models import Q, QuerySet
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.api.base import JSONView
from agents_app.api.serializers.files import PURPOSES, DeletedFileSerializer, FileSerializer, UploadSerializer
from agents_app.exceptions import InvalidRequest, NotFound
from agents_app.files import reading, saving, thumbnails
from agents_app.files.media_types import HARMLESS
from agents_app.files.storage import storage
from agents_app.models import File, Session

_FIELDS = {"expires_after[anchor]": "expires_after_anchor", "expires_after[seconds]": "expires_after_seconds"}
_ALLOWED = {"file", "purpose", *_FIELDS}


class FileViewSet(
    JSONView,
    mixins.CreateModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet,
):
    """Files: upload one, then name it in the parts of a message. Others' files are not found."""

    queryset = File.objects.all()
    serializer_class = FileSerializer
    parser_classes = (MultiPartParser,)
    lookup_value_regex = "[^/]+"
    ordering_fields = ("-created_at", "created_at")

    def get_queryset(self) -> QuerySet[File]:
        return File.objects.visible_to(self.request.user).kept().select_related("stored")

    def filter_queryset(self, queryset: Any) -> Any:
        return _filtered(queryset, self.request) if self.action == "list" else queryset

    @extend_schema(
        parameters=[
            OpenApiParameter("run", str, description="Only files of this run."),
            OpenApiParameter("session", str, description="Only files of this session's runs."),
            OpenApiParameter("purpose", str, enum=PURPOSES, description="Only files of this purpose."),
            OpenApiParameter("after", str, description="Only files older than this one, as OpenAI's clients ask."),
        ]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request={"multipart/form-data": UploadSerializer}, responses={201: FileSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Upload a file, as `multipart/form-data`."""
        form = _form(request)
        upload = form["file"]
        seconds = form.get("expires_after_seconds")
        file = saving.save(
            request.user.pk,
            upload.chunks(),
            name=upload.name or "",
            purpose=form["purpose"],
            expires_at=timezone.now() + datetime.timedelta(seconds=seconds) if seconds else None,
        )
        return Response(FileSerializer(file).data, status=201)

    @extend_schema(responses={200: DeletedFileSerializer})
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        file = self.get_object()
        file_id = file.pk
        saving.delete(file)
        return Response({"id": file_id, "object": "file", "deleted": True})

    @extend_schema(
        parameters=[OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="As `bytes=0-1023`.")],
        responses={(200, "application/octet-stream"): bytes, (206, "application/octet-stream"): bytes, 416: None},
    )
    @action(detail=True)
    def content(self, request: Request, pk: Any) -> HttpResponseBase:
        """Return the bytes, as a download unless a browser can show them safely."""
        return content_response(request, self.get_object())

    @extend_schema(responses={(200, "image/*"): bytes})
    @action(detail=True)
    def thumbnail(self, request: Request, pk: Any) -> HttpResponseBase:
        """Return a picture as small as lists need it; small pictures and other files as `content` does."""
        return thumbnail_response(request, self.get_object())


def _filtered(queryset: QuerySet[File], request: Request) -> QuerySet[File]:
    query = request.query_params
    if run := query.get("run"):
        queryset = queryset.filter(run=_run_id(run))
    if session := query.get("session"):
        queryset = queryset.filter(run__session=Session.objects.find(request.user, session), run__isnull=False)
    if purpose := query.get("purpose"):
        if purpose not in PURPOSES:
            raise InvalidRequest(f"'purpose' must be one of: {', '.join(PURPOSES)}.", param="purpose")
        queryset = queryset.filter(purpose=purpose)
    if after := query.get("after"):
        last = File.objects.visible_to(request.user).filter(pk=after).first()
        if last is None:
            raise InvalidRequest("'after' names no file.", param="after")
        queryset = queryset.filter(Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, pk__lt=last.pk))
    return queryset


def _run_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise InvalidRequest("'run' must be the id of a run.", param="run") from None


def _form(request: Request) -> dict[str, Any]:
    """Return the fields of an upload."""
    data: Any = request.data
    if unknown := sorted(set(data) - _ALLOWED):
        raise ValidationError({unknown[0][:100]: [ErrorDetail("There is no such field.", code="unknown_field")]})
    form = UploadSerializer(data={_FIELDS.get(name, name): data[name] for name in data})
    form.is_valid(raise_exception=True)
    return form.validated_data


def content_response(request: Request, file: File) -> HttpResponseBase:
    """Return the response with the bytes of a file, or with the range of them that the request names."""
    harmless = file.media_type in HARMLESS
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": _disposition("inline" if harmless else "attachment", file.name or file.pk),
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache",  # it may be deleted
        "ETag": f'"{file.stored.sha256}"',
    }
    content_type = file.media_type if harmless else "application/octet-stream"
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return HttpResponse(status=304, headers=headers)
    start, end, status = _range(request.headers.get("Range", ""), file.size)
    if status == 416:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{file.size}"})
    headers["Content-Length"] = str(end - start)
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    if request.method == "HEAD":
        return HttpResponse(status=status, content_type=content_type, headers=headers)
    if not storage().exists(file.stored.key):  # later the status could say nothing of it
        raise _lost()
    stream = reading.pieces(file.stored.key, start, end - start)
    return StreamingHttpResponse(stream, status=status, content_type=content_type, headers=headers)


def thumbnail_response(request: Request, file: File) -> HttpResponseBase:
    if not thumbnails.has_thumbnail(file) or file.size <= thumbnails.SMALL:
        return content_response(request, file)
    headers = {"Cache-Control": "private, no-cache", "ETag": f'"{file.stored.sha256}-{thumbnails.LONGEST_EDGE}"'}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return HttpResponse(status=304, headers=headers)
    try:
        picture = thumbnails.scaled(file)
    except FileNotFoundError:
        raise _lost() from None
    except thumbnails.Unreadable:
        picture = None
    if picture is None:
        return content_response(request, file)
    media_type, data = picture
    headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return HttpResponse(data, content_type=media_type, headers=headers)


def _lost() -> NotFound:
    return NotFound("The bytes of this file are not in the server's storage any more.", code="file_content_missing")


def _range(header: str, size: int) -> tuple[int, int, int]:
    """Return the first byte, the one after the last, and the status. Several ranges at once get the whole file."""
    match = re.fullmatch(r"bytes=(\d{0,15})-(\d{0,15})", header.strip())
    if match is None or not any(match.groups()):
        return 0, size, 200
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    return (start, end, 206) if start < end else (0, 0, 416)


def _disposition(kind: str, name: str) -> str:
    """Return the header with the name, which has no control characters: see `clean_name`."""
    plain = re.sub(r"[^ -!#-\[\]-~]", "_", name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
