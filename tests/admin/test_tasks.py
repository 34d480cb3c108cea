"""Scheduled tasks in the admin."""

import datetime

import pytest
from django.urls import reverse

from agents_app import clock
from agents_app.models import Agent, Delivery, Run, ScheduledTask, Session, Skip

pytestmark = pytest.mark.django_db

SECRET = "whsec_" + "A" * 32
LIST = reverse("admin:agents_app_scheduledtask_changelist")
ADD = reverse("admin:agents_app_scheduledtask_add")


@pytest.fixture
def helper():
    return Agent.objects.create(name="helper")


def form(agent, **changes):
    inlines = {
        f"{prefix}-{name}": value
        for prefix in ("runs", "skips", "deliveries")
        for name, value in (("TOTAL_FORMS", 0), ("INITIAL_FORMS", 0))
    }
    fields = {
        "name": "News", "agent": agent.pk, "task_prompt": "Summarise.", "enabled": "on", "schedule_type": "cron",
        "schedule_value": "30 2 * * *", "timezone": "Europe/Berlin", "jitter": 0, "priority": 0, "misfire": "once",
        "misfire_grace": 60, "misfire_limit": 10, "overlap": "skip", "max_retries": 0, "retry_delay": 30,
        "session": "new",
    }  # fmt: skip
    return fields | inlines | changes


@pytest.fixture
def task(admin_client, helper):
    response = admin_client.post(ADD, form(helper, webhook_url="https://example.com/h", webhook_secret=SECRET))
    assert response.status_code == 302, response.context["errors"]
    return ScheduledTask.objects.get()


def page(task):
    return reverse("admin:agents_app_scheduledtask_change", args=[task.pk])


def act(client, action, *tasks):
    data = {"action": action, "_selected_action": [task.pk for task in tasks]}
    return client.post(LIST, data, follow=True).content.decode()


def test_a_task_is_made_and_belongs_to_who_made_it(task, admin_user):
    assert (task.owner, task.agent.name, task.webhook_secret) == (admin_user, "helper", SECRET)
    assert task.next_run_at > clock.now()


def test_the_form_explains_itself_and_shows_the_next_five(admin_client, task):
    Delivery.objects.all().delete()
    content = admin_client.get(page(task)).content.decode()
    assert "At 02:30 every day (Europe/Berlin)" in content
    assert content.count("As scheduled.") >= 4
    for field in ("schedule_value", "misfire_grace", "overlap", "jitter"):
        assert str(ScheduledTask._meta.get_field(field).help_text).split(",")[0] in content
    assert SECRET not in content


def test_an_error_is_shown_at_its_field_and_nothing_is_saved(admin_client, helper):
    response = admin_client.post(ADD, form(helper, schedule_value="99 * * * *", timezone="Europe/Berln"))
    assert "Did you mean &#x27;Europe/Berlin&#x27;?" in response.content.decode()
    response = admin_client.post(ADD, form(helper, schedule_value="99 * * * *"))
    assert "minute &#x27;99&#x27;" in response.content.decode()
    assert not ScheduledTask.objects.exists()


def test_the_secret_stays_where_the_field_is_left_empty(admin_client, helper, task):
    changed = form(helper, webhook_url="https://example.com/other", webhook_secret="", name="Renamed")
    assert admin_client.post(page(task), changed).status_code == 302
    task.refresh_from_db()
    assert (task.name, task.webhook_secret) == ("Renamed", SECRET)


def test_run_now_enable_and_disable(admin_client, task):
    assert "News was started." in act(admin_client, "run_now", task)
    run = Run.objects.get(task=task)
    assert (run.trigger, run.prompt, run.scheduled_for) == ("admin", "Summarise.", None)
    assert "News is disabled." in act(admin_client, "disable", task)
    task.refresh_from_db()
    assert (task.enabled, task.next_run_at) == (False, None)
    assert "News is enabled." in act(admin_client, "enable", task)
    task.refresh_from_db()
    assert task.next_run_at is not None


def test_a_moment_that_is_over_is_not_enabled(admin_client, task):
    ScheduledTask.objects.update(enabled=False, schedule_type="once", schedule_value="2020-01-01T00:00:00Z")
    assert "is over" in act(admin_client, "enable", task)
    assert not ScheduledTask.objects.get().enabled


def test_the_history_is_there(admin_client, admin_user, task):
    session = Session.objects.create(id="s", owner=admin_user)
    for number in range(25):
        status = "failed" if number % 5 == 0 else "completed"
        Run.objects.create(
            session=session, number=number, agent_name="helper", prompt="x", task=task, status=status, error="",
            result=f"answer-{number}-", scheduled_for=clock.now() + datetime.timedelta(hours=number),
        )  # fmt: skip
    Skip.objects.create(task=task, scheduled_for=clock.now(), until=clock.now(), reason="overlap")
    content = admin_client.get(page(task)).content.decode()
    assert "answer-24-" in content
    assert "answer-4-" not in content  # the newest twenty
    assert "the previous run was in progress" in content
    assert "80 % of 25" in admin_client.get(LIST).content.decode()


def test_a_deleted_task_leaves_its_runs(admin_client, task):
    act(admin_client, "run_now", task)
    delete = reverse("admin:agents_app_scheduledtask_delete", args=[task.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 302
    assert Run.objects.get().task is None


def test_the_files_of_a_task_are_a_prompt(admin_client, helper, task):
    assert "None. The API adds files to a prompt." in admin_client.get(page(task)).content.decode()
    refused = admin_client.post(page(task), form(helper, task_prompt=""))
    assert "This field is required." in refused.content.decode()
    file = {"type": "file", "file_id": "file-1", "media_type": "text/csv", "name": "a.csv", "size": 3}
    ScheduledTask.objects.update(task_prompt="", parts=[file])
    assert "a.csv" in admin_client.get(page(task)).content.decode()
    assert admin_client.post(page(task), form(helper, task_prompt="", name="Renamed")).status_code == 302
    task.refresh_from_db()
    assert (task.name, task.task_prompt, task.parts) == ("Renamed", "", [file])
