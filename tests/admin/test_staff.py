"""What the staff bit is worth: never as much as an administrator, whatever Django permissions come with it."""

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.test import RequestFactory
from django.urls import reverse

from agents_app.models import Agent, McpServer, Provider, ScheduledTask, Session

pytestmark = pytest.mark.django_db

User = get_user_model()
# What staff with the right permission may do in the admin beside looking. A new page needs an entry, or is refused.
STAFF_MAY = {
    "scheduledtask": {"add", "change", "delete"},  # their own tasks
    "session": {"delete"},  # their own sessions
    "approval": {"change", "delete"},  # of their own runs
    "file": {"delete"},  # their own files
}


@pytest.fixture
def staff():
    """A staff user with every permission that there is."""
    user = User.objects.create_user("staff", password="a-long-password", is_staff=True)
    user.user_permissions.set(Permission.objects.all())
    return user


@pytest.fixture
def staff_client(client, staff):
    client.force_login(staff)
    return client


@pytest.mark.parametrize("model", list(admin.site._registry), ids=lambda model: model._meta.model_name)
def test_staff_with_every_permission_may_change_nothing_that_makes_an_administrator(staff, model):
    request = RequestFactory().get("/admin/")
    request.user = staff
    page = admin.site._registry[model]

    may = {verb for verb in ("add", "change", "delete") if getattr(page, f"has_{verb}_permission")(request)}
    assert may <= STAFF_MAY.get(model._meta.model_name, set())


@pytest.mark.parametrize("codename", ["change_user", "add_user", "delete_user", "change_group"])
def test_a_permission_on_users_makes_nobody_an_administrator(client, admin_user, codename):
    user = User.objects.create_user("helpdesk", password="a-long-password", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename=codename))
    client.force_login(user)

    for target in (user, admin_user):
        change = client.post(
            reverse("admin:auth_user_change", args=[target.pk]), {"username": target.username, "is_superuser": "on"}
        )
        password = client.post(
            reverse("admin:auth_user_password_change", args=[target.pk]),
            {"password1": "taken-over-1", "password2": "taken-over-1"},
        )
        assert (change.status_code, password.status_code) == (403, 403)
    user.refresh_from_db()
    assert not user.is_superuser
    assert admin_user.check_password("password")
    group = Group.objects.create(name="people")
    group.permissions.set([])
    answer = client.post(reverse("admin:auth_group_change", args=[group.pk]), {"name": "people", "permissions": ["1"]})
    assert answer.status_code == 403
    assert not group.permissions.exists()


def test_staff_starts_no_command_and_sends_no_key_elsewhere(staff_client):
    server = McpServer.objects.create(name="files", command="true")
    provider = Provider.objects.create(name="lab", base_url="http://lab/v1", api_key="sk-secret")

    added = staff_client.post(reverse("admin:agents_app_mcpserver_add"), {"name": "x", "command": "id"})
    checked = staff_client.post(
        reverse("admin:agents_app_mcpserver_changelist"),
        {"action": "check_now", "_selected_action": [server.pk]},
        follow=True,
    )
    moved = staff_client.post(
        reverse("admin:agents_app_provider_change", args=[provider.pk]),
        {"name": "lab", "kind": "openai", "base_url": "http://evil/v1", "api_key_env": "SECRET_KEY"},
    )

    assert (added.status_code, moved.status_code) == (403, 403)
    server.refresh_from_db()
    assert server.checked_at is None
    assert b"check_now" not in checked.content
    provider.refresh_from_db()
    assert provider.base_url == "http://lab/v1"


def test_the_form_of_a_task_shows_nothing_of_others_sessions_and_agents(staff, staff_client, admin_user):
    agent = Agent.objects.create(name="open")
    hidden = Agent.objects.create(name="hidden", access=Agent.Access.RESTRICTED)
    other = Session.objects.create(id="secret-session", owner=admin_user, agent=agent, title="Merger with Initech")
    task = ScheduledTask.objects.create(
        name="mine", owner=staff, agent=agent, task_prompt="Hi", schedule_type="interval", schedule_value="3600"
    )

    data = {
        "name": "mine", "agent": hidden.pk, "task_prompt": "Hi", "schedule_type": "interval", "schedule_value": "3600",
        "timezone": "UTC", "session": "kept", "kept_session": other.pk,
    }  # fmt: skip
    page = staff_client.post(reverse("admin:agents_app_scheduledtask_change", args=[task.pk]), data)

    assert page.status_code == 200  # the form again, with its errors
    assert b"Merger with Initech" not in page.content
    assert {"agent", "kept_session"} <= set(page.context["adminform"].form.errors)
