"""Approvals in the admin."""

import datetime

import pytest
from django.utils import timezone

from agents_app.models import Agent, Approval, Run, Session
from tests.harness.admin import act, address

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.fixture
def approval(admin_user):
    agent = Agent.objects.create(name="helper")
    session = Session.objects.create(id="s", owner=admin_user, agent=agent)
    run = Run.objects.create(
        session=session, number=1, agent=agent, agent_name="helper", prompt="Hello", status="waiting", first_seq=1
    )
    return Approval.objects.create(
        run=run,
        step=1,
        tool_call_id="call_1",
        tool_name="files__write",
        arguments={"path": "<b>x</b>"},
        expires_at=timezone.now() + datetime.timedelta(hours=1),
    )


@pytest.mark.parametrize(("action", "status"), [("approve", "approved"), ("deny", "denied")])
def test_a_call_is_answered_by_an_action(admin_client, admin_user, approval, action, status):
    page = act(admin_client, Approval, action, approval)
    assert f"1 calls {status}" in page.content.decode()
    approval.refresh_from_db()
    assert (approval.status, approval.by) == (status, admin_user.username)
    approval.run.refresh_from_db()
    assert approval.run.status == "queued", "the run goes on"


def test_what_was_answered_stays_so(admin_client, approval):
    act(admin_client, Approval, "approve", approval)
    page = act(admin_client, Approval, "deny", approval)
    assert "was already approved" in page.content.decode()
    approval.refresh_from_db()
    assert approval.status == "approved"


def test_arguments_are_shown_as_text(admin_client, approval):
    for page in ("changelist", "change"):
        arguments = [approval.pk] if page == "change" else []
        shown = admin_client.get(address(Approval, page, *arguments)).content.decode()
        assert "<b>x</b>" not in shown
        assert "&lt;b&gt;x&lt;/b&gt;" in shown


def test_a_session_goes_with_its_approvals(admin_client, approval):
    act(admin_client, Run, "cancel", approval.run)
    admin_client.post(address(Session, "delete", "s"), {"post": "yes"})
    assert not Approval.objects.exists()
