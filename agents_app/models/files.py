"""Files of users, tools and agents. Their bytes are in the storage: see `agents_app.files`."""

import uuid
from collections.abc import Iterable
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from agents_app.models.runs import Run


def make_file_id() -> str:
    """Return the id of a new file, in the form of OpenAI's."""
    return f"file-{uuid.uuid4().hex}"


class StoredBytesQuerySet(models.QuerySet["StoredBytes"]):
    def lock_complete(self, ids: Iterable[int]) -> set[int]:
        """Lock those of these rows whose bytes are there, and are not about to be deleted. Returns their ids."""
        rows = self.select_for_update().filter(pk__in=ids).exclude(sha256="").order_by("pk")
        return set(rows.values_list("pk", flat=True))


class StoredBytes(models.Model):
    """The bytes of files, once per owner and content.

    The row is written before the bytes and deleted after them, so that whatever breaks off can be found and deleted.
    Without a `sha256` the bytes are incomplete: they are on their way into the storage, or out of it.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    sha256 = models.CharField(max_length=64, blank=True, help_text="Hexadecimal. Empty until all bytes are stored.")
    size = models.BigIntegerField(default=0, help_text="Bytes.")
    key = models.CharField(max_length=64, unique=True, help_text="Name in the storage.")
    used_at = models.DateTimeField(default=timezone.now, help_text="When a file last began to refer to it.")

    objects = StoredBytesQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "stored bytes"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "sha256"], condition=~Q(sha256=""), name="bytes_once_per_owner"),
        ]

    def __str__(self) -> str:
        return self.key


class FileChunk(models.Model):
    """A part of stored bytes, if the storage is the database."""

    key = models.CharField(max_length=64)
    position = models.PositiveIntegerField(help_text="0, 1, 2 …")
    data = models.BinaryField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["key", "position"], name="chunk_position")]

    def __str__(self) -> str:
        return f"{self.key} {self.position}"


class FileQuerySet(models.QuerySet["File"]):
    def visible_to(self, user) -> "FileQuerySet":
        """Return the files that `user` may read: their own; all for an administrator."""
        return self if user.is_superuser else self.filter(owner=user.pk)

    def kept(self) -> "FileQuerySet":
        """Return the files that have not expired."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))


class File(models.Model):
    """A file: what a user uploaded, or what a tool or an agent made. Messages and steps refer to it by its id."""

    class Kind(models.TextChoices):
        UPLOAD = "upload"
        TEXT = "text"  # the whole of a tool's text of which the model got the beginning
        IMAGE = "image"
        AUDIO = "audio"
        RESOURCE = "resource"
        STRUCTURED = "structured"
        GIVEN = "given"  # by an agent, with `give_file`

    id = models.CharField(primary_key=True, max_length=64, default=make_file_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    stored = models.ForeignKey(StoredBytes, on_delete=models.PROTECT, related_name="files")
    run = models.ForeignKey(
        Run, null=True, blank=True, on_delete=models.CASCADE, related_name="files", help_text="Run that made it."
    )
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.UPLOAD)
    media_type = models.CharField(max_length=100, help_text="By its content, not by what its sender said.")
    name = models.CharField(max_length=200, blank=True)
    size = models.BigIntegerField(help_text="Bytes.")
    purpose = models.CharField(max_length=40, default="user_data")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    objects = FileQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at", "id"]
        indexes: ClassVar = [
            models.Index(fields=["-created_at", "id"], name="file_newest"),
            models.Index(fields=["owner", "-created_at"], name="file_newest_of_owner"),
            models.Index(fields=["expires_at"], condition=Q(expires_at__isnull=False), name="file_expiry"),
        ]

    def __str__(self) -> str:
        return self.name or f"{self.media_type}, {self.size} bytes"

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()
