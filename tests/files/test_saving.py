"""Bytes are stored once per owner and content, and nothing stays of what was refused."""

import datetime
import hashlib
import os
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from agents_app.doctor import stored_files
from agents_app.exceptions import FileTooLarge, InvalidRequest, StorageUnavailable
from agents_app.files import inventory, saving, storage
from agents_app.files.object_storage import ObjectStorage
from agents_app.models import File, FileChunk, StoredBytes
from tests.harness.s3 import S3

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 3000


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with S3() as running, pytest.MonkeyPatch.context() as environment:
        for name, value in running.credentials.items():
            environment.setenv(name, value)
        yield running.url


@pytest.fixture(autouse=True, params=["configured", "database", "folder", "bucket"])
def of_each_kind(request, monkeypatch, tmp_path):
    kinds = {
        "configured": storage.storage,
        "database": storage.DatabaseStorage,
        "folder": lambda: storage._folder(str(tmp_path)),
        "bucket": lambda: ObjectStorage(request.getfixturevalue("bucket")),
    }
    place = kinds[request.param]()
    for module in (storage, saving, inventory, stored_files):
        monkeypatch.setattr(module, "storage", lambda: place)
    return place


def pieces(data: bytes, size: int = 100_000):
    yield from (data[start : start + size] for start in range(0, len(data), size))


def read(file: File) -> bytes:
    with storage.open_bytes(file.stored.key) as source:
        return source.read()


def test_the_same_bytes_are_stored_once_per_owner(admin_user, django_user_model):
    other = django_user_model.objects.create_user("other")
    one, two = (saving.save(admin_user.pk, pieces(PNG, size), name=f"{size}.png") for size in (1000, 300_000))
    theirs = saving.save(other.pk, pieces(PNG))
    assert one.stored == two.stored != theirs.stored
    assert (one.media_type, one.size, two.name) == ("image/png", len(PNG), "300000.png")
    assert read(one) == read(theirs) == PNG
    saving.delete(one)
    assert read(two) == PNG
    saving.delete(two)
    saving.delete(theirs)
    assert not StoredBytes.objects.exists()
    assert not FileChunk.objects.exists()


def test_any_part_of_a_file_can_be_read(admin_user):
    with storage.open_bytes(saving.save(admin_user.pk, pieces(PNG)).stored.key) as source:
        for start in (0, 5, storage.CHUNK - 1, storage.CHUNK, len(PNG) - 3, len(PNG), len(PNG) + 9):
            source.seek(start)
            assert source.read(300_000) == PNG[start : start + 300_000]


@pytest.mark.parametrize(
    ("limits", "data", "words"),
    [
        ({"FILES_MAX_BYTES": 1000}, b"x" * 1001, "FILES_MAX_BYTES"),
        ({"FILES_BYTES_PER_USER": 1500}, b"x" * 1000, "FILES_BYTES_PER_USER"),
        ({}, b"", "empty"),
    ],
)
def test_a_refused_file_leaves_nothing(admin_user, settings, limits, data, words):
    kept = saving.save(admin_user.pk, [b"y" * 600])
    for name, value in limits.items():
        setattr(settings, name, value)
    with pytest.raises(InvalidRequest, match=words):
        saving.save(admin_user.pk, pieces(data, 100))
    assert list(StoredBytes.objects.all()) == [kept.stored]
    assert set(FileChunk.objects.values_list("key", flat=True)) <= {kept.stored.key}


def test_bytes_that_break_off_or_find_no_place_leave_nothing(admin_user, monkeypatch, of_each_kind):
    def break_off():
        yield PNG
        raise ConnectionResetError

    with pytest.raises((ConnectionResetError, StorageUnavailable)):
        saving.save(admin_user.pk, break_off())
    assert not StoredBytes.objects.exists()
    assert not FileChunk.objects.exists()

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(of_each_kind, "_save", refuse)
    with pytest.raises(StorageUnavailable, match="storage"):
        saving.save(admin_user.pk, [PNG])
    assert not StoredBytes.objects.exists()


def test_bytes_of_uploads_that_died_are_deleted_after_a_while(admin_user):
    orphan = StoredBytes.objects.create(owner=admin_user, key="orphan")
    used = saving.save(admin_user.pk, [PNG])
    hour_ago = timezone.now() - datetime.timedelta(hours=1)
    assert saving.delete_unused(StoredBytes.objects.all(), before=hour_ago) == 0
    StoredBytes.objects.update(used_at=hour_ago - datetime.timedelta(minutes=1))
    assert saving.delete_unused(StoredBytes.objects.all(), before=hour_ago) == 1
    assert not StoredBytes.objects.filter(pk=orphan.pk).exists()
    assert read(used) == PNG


def test_bytes_that_are_deleted_while_the_same_arrive_are_stored_anew(admin_user, monkeypatch):
    first, update = saving.save(admin_user.pk, [PNG]), QuerySet.update

    def update_before_deletion(rows, **values):
        count = update(rows, **values)
        if "used_at" in values and File.objects.filter(pk=first.pk).exists():
            saving.delete(File.objects.get(pk=first.pk))
        return count

    monkeypatch.setattr(QuerySet, "update", update_before_deletion)
    assert read(saving.save(admin_user.pk, [PNG])) == PNG
    assert StoredBytes.objects.count() == 1


def test_what_is_missing_and_what_belongs_to_no_file_is_counted(admin_user, of_each_kind):
    before = inventory.take()
    lost, _ = (saving.save(admin_user.pk, [PNG, bytes([number])]) for number in (1, 2))
    of_each_kind.delete(lost.stored.key)
    of_each_kind.save("nobodys", ContentFile(b"x"))
    counts = inventory.take()
    assert (counts.stored, counts.missing, counts.orphans) == (2, 1, before.orphans + 1)
    assert [finding.state for finding in stored_files.stored_files()] == ["broken", "warning"]
    of_each_kind.delete("nobodys")
    assert not of_each_kind.exists("nobodys")
    with pytest.raises(FileNotFoundError):
        storage.open_bytes("nobodys")


def test_a_large_file_passes_in_bounded_memory(admin_user, of_each_kind):
    tracemalloc.start()
    file = saving.save(admin_user.pk, (bytes([number]) * 2**20 for number in range(30)))
    with storage.open_bytes(file.stored.key) as source:
        digest = hashlib.sha256()
        while piece := source.read(storage.CHUNK):
            digest.update(piece)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert digest.hexdigest() == file.stored.sha256
    assert most < 15 * 2**20


def test_uploads_that_arrive_together_share_the_quota(admin_user, settings):
    settings.FILES_BYTES_PER_USER = 10_000
    count = 100 if os.environ.get("MANY_UPLOADS") else 24

    def upload(number: int) -> bool:
        try:
            saving.save(admin_user.pk, [number.to_bytes(2, "big") * 500])
        except FileTooLarge:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(upload, range(count))) == 10
    assert StoredBytes.objects.count() == 10
