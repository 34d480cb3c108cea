"""A file in a session's history is read with the rights that the session's owner has now."""

import pytest

from agents_app.files import saving
from agents_app.worker.files import _rows

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_former_administrator_reads_nobody_elses_files(admin_user, django_user_model):
    ann = django_user_model.objects.create_user("ann")
    own, other = (saving.save(owner.pk, [owner.username.encode()]) for owner in (admin_user, ann))
    ids = [own.pk, other.pk]
    assert set(_rows(ids, admin_user.pk)) == set(ids)
    django_user_model.objects.filter(pk=admin_user.pk).update(is_superuser=False)
    assert set(_rows(ids, admin_user.pk)) == {own.pk}
    assert set(_rows(ids, None)) == set()
