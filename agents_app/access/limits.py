"""Limits of what a caller may start. A request beyond them is rejected before anything is written."""

import datetime
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone

from agents_app.access import counters
from agents_app.access.origins import address_of, network_of
from agents_app.exceptions import Conflict, InvalidRequest, RateLimited
from agents_app.models import Run, ScheduledTask, TokenUse
from agents_app.models.runs import HIGHEST_PRIORITY, LOWEST_PRIORITY

RETRY_FULL_QUEUE = 5.0  # seconds
LEAST_INTERVAL = 60  # seconds between two runs of a task, if its owner is no administrator
_AUTOMATIC = (Run.Trigger.SCHEDULE, Run.Trigger.AGENT)  # started by the server itself: there are no messages to count


def take_request_from(request: Any) -> None:
    """Count a request of its address (of IPv6, a /64), before its caller is authenticated: once, whoever asks.

    Raises:
        RateLimited: too many.
    """
    request = getattr(request, "_request", request)  # DRF wraps Django's
    if not getattr(request, "is_counted", False):
        request.is_counted = True
        network = network_of(address_of(request))
        counters.take("requests from this address", network, limit=settings.REQUESTS_PER_MINUTE_PER_ADDRESS)


def take_request(user: Any) -> None:
    """Count a request of a user.

    Raises:
        RateLimited: too many.
    """
    counters.take("requests", user.pk, limit=settings.REQUESTS_PER_MINUTE)


def admit(user: Any, trigger: str) -> None:
    """Check that `user` may start one more run.

    Raises:
        RateLimited: too many messages in this minute, too many runs in the queue, or too many tokens today.
    """
    if trigger not in _AUTOMATIC and settings.AUTH_REQUIRED:  # in the open mode all are one user: each socket counts
        counters.take("messages", user.pk, limit=settings.CHAT_RATE_PER_MINUTE)
    _check_queue(user)
    _check_tokens(user)


# SQLite uses the index `run_unfinished` only if its condition is repeated word for word, and keeps the order of tables
# in a CROSS JOIN. So the cost grows with the runs that wait, and not with all runs ever.
_QUEUED = """
SELECT COUNT(*), COUNT(CASE WHEN session.owner_id = %s THEN 1 END)
FROM agents_app_run run CROSS JOIN agents_app_session session
WHERE run.status IN ('queued', 'running', 'waiting') AND run.status = 'queued' AND session.id = run.session_id
"""


def admit_task(user: Any) -> None:
    """Check that `user` may have one more task. Administrators may have any number.

    Raises:
        Conflict: there are too many.
    """
    limit = settings.TASKS_PER_USER
    if not user.is_superuser and 0 < limit <= ScheduledTask.objects.filter(owner=user).count():
        raise Conflict(f"You have {limit:,} tasks, which is the limit: delete some first.", code="too_many_tasks")


def highest_priority(user: Any) -> int:
    """Return the highest priority that `user` may give a run."""
    return HIGHEST_PRIORITY if user.is_superuser else min(settings.USERS_HIGHEST_PRIORITY, HIGHEST_PRIORITY)


def check_priority(user: Any, priority: int) -> None:
    """Check that `user` may give a run this priority.

    Raises:
        InvalidRequest: it is none, or higher than that.
    """
    if not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        text = f"'priority' must be {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}."
        raise InvalidRequest(text, param="priority")
    if priority > (most := highest_priority(user)):
        raise InvalidRequest(f"Only administrators may set a 'priority' above {most}.", param="priority")


def check_schedule(owner: Any, schedule_type: str, schedule_value: str) -> None:
    """Check that a task of `owner` may be due this often. A cron line is due once a minute at most.

    Raises:
        InvalidRequest: only administrators may.
    """
    is_interval = schedule_type == ScheduledTask.ScheduleType.INTERVAL
    if is_interval and not owner.is_superuser and int(schedule_value) < LEAST_INTERVAL:
        text = f"Only an administrator's task may run more often than every {LEAST_INTERVAL} seconds."
        raise InvalidRequest(text, param="schedule_value")


def _check_queue(user: Any) -> None:
    if settings.QUEUED_RUNS <= 0 and settings.QUEUED_RUNS_PER_USER <= 0:
        return
    with connection.cursor() as cursor:
        cursor.execute(_QUEUED, [user.pk])
        total, of_user = cursor.fetchone()
    if 0 < settings.QUEUED_RUNS <= total:
        raise RateLimited("The queue is full: too many runs are waiting. Try again.", retry_after=RETRY_FULL_QUEUE)
    if 0 < settings.QUEUED_RUNS_PER_USER <= of_user:
        text = f"{settings.QUEUED_RUNS_PER_USER:,} of your runs are waiting already: wait for some of them to end."
        raise RateLimited(text, retry_after=RETRY_FULL_QUEUE)


def _check_tokens(user: Any) -> None:
    """Count the tokens of all the user's runs that ended today (UTC), including deleted runs."""
    limit = settings.TOKENS_PER_USER_PER_DAY
    if limit <= 0:
        return
    used = TokenUse.objects.of_today(user)
    if used >= limit:
        now = timezone.now().astimezone(datetime.UTC)
        tomorrow = now.replace(hour=0, minute=0, second=0, microsecond=0) + datetime.timedelta(days=1)
        text = f"Your runs have used {used:,} tokens today; the limit is {limit:,} a day. It resets at midnight UTC."
        raise RateLimited(text, retry_after=(tomorrow - now).total_seconds())
