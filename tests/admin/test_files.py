"""Files in the admin: found, downloaded and deleted with their bytes, and only those that one may see."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from agents_app.files import saving
from agents_app.files.storage import storage
from agents_app.models import File, StoredBytes
from tests.harness.admin import act

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

LIST = reverse("admin:agents_app_file_changelist")


def page(file, kind="change"):
    return reverse(f"admin:agents_app_file_{kind}", args=[file.pk])


def test_an_administrator_finds_downloads_and_deletes_files(admin_client, admin_user):
    name = '"><script>alert(1)</script>.csv'
    files = [saving.save(admin_user.pk, [b"a,%d" % number], name=name) for number in range(3)]
    keys = [file.stored.key for file in files]
    listed = admin_client.get(LIST, {"q": files[0].pk}).content.decode()
    assert files[0].pk in listed and files[1].pk not in listed
    shown = admin_client.get(page(files[0])).content.decode()
    assert reverse("file-content", args=[files[0].pk]) in shown
    assert "<script>alert" not in listed + shown
    assert admin_client.post(page(files[0]), {"name": "other"}).status_code == 403
    assert admin_client.post(page(files[0], "delete"), {"post": "yes"}).status_code == 302
    act(admin_client, File, "delete_selected", files[1], files[2], post="yes")
    assert not File.objects.exists()
    assert not StoredBytes.objects.exists()
    assert not any(map(storage().exists, keys))


def test_staff_see_only_their_own_files(client, admin_user):
    staff = get_user_model().objects.create_user("staff", password="pw", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_file"))
    own, other = saving.save(staff.pk, [b"own"]), saving.save(admin_user.pk, [b"other"])
    client.force_login(staff)
    listed = client.get(LIST).content.decode()
    assert own.pk in listed and other.pk not in listed
    assert client.get(page(other)).status_code == 302
    assert client.post(page(own, "delete"), {"post": "yes"}).status_code == 403
    saving.delete(own)
    saving.delete(other)
