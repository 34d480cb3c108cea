"""A page of events ends by its size too: a few rows may be many megabytes."""

import json

import pytest
from django.utils import timezone

from agents_app.models import Event, Session

pytestmark = pytest.mark.django_db


@pytest.mark.both
def test_a_page_of_large_events_ends_by_its_size(client, admin_user):
    session = Session.objects.create(id="large", owner=admin_user, last_seq=4)
    data = json.dumps({"content": "x" * 5_000_000})
    for seq in range(1, 5):
        row = {"seq": seq, "first": seq, "type": "reasoning_step", "data": data, "created_at": timezone.now()}
        Event.objects.create(session=session, **row)

    path, pages = f"/v1/sessions/{session.pk}/events?limit=100", []
    while path:
        response = client.get(path)
        assert len(response.content) < 16_000_000
        page = response.json()
        pages.append([frame["seq"] for frame in page["data"]])
        assert page["has_more"] is (page["next"] is not None)
        path = page["next"]

    assert pages == [[1, 2], [3, 4]]
