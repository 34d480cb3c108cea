"""How many runs a user or an agent may have in progress at a time: the others wait in the queue."""

import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import connection, models, transaction

_AGE = 2.0  # seconds for which a process may use limits that another process has changed


class UserLimits(models.Model):
    """A user's own limits, in the place of the server's."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="limits")
    max_running = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Runs in progress at a time. Leave empty for the server's limit (RUNNING_RUNS_PER_USER).",
    )

    class Meta:
        verbose_name = verbose_name_plural = "limits"

    def __str__(self) -> str:
        return f"Limits of {self.user}"

    def save(self, **options: Any) -> None:
        super().save(**options)
        transaction.on_commit(forget_limits)


@dataclass(frozen=True, slots=True)
class RunningLimits:
    """The limits of users and agents; empty if there is none."""

    default: int | None
    users: dict[int, int]
    agents: dict[int, int]

    def __bool__(self) -> bool:
        return bool(self.default or self.users or self.agents)


class Places:
    """The runs in progress, and those that are about to be. A run that an agent started is counted with its parent."""

    def __init__(self, limits: RunningLimits) -> None:
        self._limits = limits
        self._users: Counter[int | None] = Counter()
        self._agents: Counter[int | None] = Counter()
        self.full_users: set[int] = set()
        self.full_agents: set[int] = set()

    def take(self, owner_id: int | None, agent_id: int | None, count: int = 1) -> None:
        """Count runs in progress, and note who has no more places."""
        self._users[owner_id] += count
        self._agents[agent_id] += count
        if owner_id is not None:
            most = self._limits.users.get(owner_id, self._limits.default)
            if most is not None and self._users[owner_id] >= most:
                self.full_users.add(owner_id)
        if agent_id is not None and self._agents[agent_id] >= self._limits.agents.get(agent_id, math.inf):
            self.full_agents.add(agent_id)

    def offer(self, owner_id: int | None, agent_id: int | None) -> bool:
        """Take a place for one more run, if its owner and its agent have one."""
        if owner_id in self.full_users or agent_id in self.full_agents:
            return False
        self.take(owner_id, agent_id)
        return True


class _Cache:
    """The limits of this process, read anew when they are old."""

    def __init__(self) -> None:
        self.limits = RunningLimits(None, {}, {})
        self.valid_until = 0.0


_cache = _Cache()


def forget_limits() -> None:
    """Read the limits again at the next look."""
    _cache.valid_until = 0.0


def may_be_limited() -> bool:
    """Return whether there were limits at the last look, without another one."""
    return bool(_cache.limits)


def running_limits() -> RunningLimits:
    """Return the limits, a moment old at most."""
    if time.monotonic() >= _cache.valid_until:
        _cache.valid_until = time.monotonic() + _AGE
        users = UserLimits.objects.values_list("user", "max_running")
        agents = apps.get_model("agents_app", "Agent").objects.values_list("pk", "max_running")
        _cache.limits = RunningLimits(
            settings.RUNNING_RUNS_PER_USER or None,
            *({pk: most for pk, most in rows.filter(max_running__isnull=False) if most} for rows in (users, agents)),
        )
    return _cache.limits


_RUNNING = """
SELECT session.owner_id, run.agent_id, COUNT(*) FROM agents_app_run AS run
INNER JOIN agents_app_session AS session ON session.id = run.session_id
WHERE run.status = 'running' AND run.lease_until >= %s AND run.parent_id IS NULL
GROUP BY session.owner_id, run.agent_id
"""


def places(limits: RunningLimits, now: Any) -> Places:
    """Return the places that runs in progress have. `now` is a parameter of SQL."""
    taken = Places(limits)
    with connection.cursor() as cursor:
        cursor.execute(_RUNNING, [now])
        for owner_id, agent_id, count in cursor.fetchall():
            taken.take(owner_id, agent_id, count)
    return taken
