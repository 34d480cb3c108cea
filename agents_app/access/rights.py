"""Who may run an agent and who may watch a session, read from the rows at the moment of the question.

Runs wait for long, and sockets stay open for long: a user object that somebody kept says what the user was.
"""

import copy
import functools
from collections.abc import Collection
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db.models import QuerySet, TextField
from django.db.models.expressions import RawSQL

from agents_app.database.prepared import Parameter, Prepared
from agents_app.exceptions import AuthenticationExpired, RunFailed
from agents_app.models import Agent, Run, Session

# By hand, in the statement that reads a claimed run: the ORM took 14 ms to build it, and every run needs it.
# It says the same as `AgentQuerySet.visible_to`. A session without an owner may use the public agents.
_DENIAL = """CASE
    WHEN EXISTS (SELECT 1 FROM {user} AS owner WHERE owner.id = agents_app_session.owner_id AND NOT owner.is_active)
        THEN 'owner_inactive'
    WHEN agents_app_agent.enabled AND (
        agents_app_agent.access = 'public'
        OR agents_app_agent.owner_id = agents_app_session.owner_id
        OR EXISTS (SELECT 1 FROM {user} AS owner WHERE owner.id = agents_app_session.owner_id AND owner.is_superuser)
        OR EXISTS (SELECT 1 FROM {users} AS permit
            WHERE permit.agent_id = agents_app_agent.id AND permit.user_id = agents_app_session.owner_id)
        OR EXISTS (SELECT 1 FROM {groups} AS permit INNER JOIN {members} AS member ON member.group_id = permit.group_id
            WHERE permit.agent_id = agents_app_agent.id AND member.user_id = agents_app_session.owner_id))
        THEN ''
    ELSE 'agent_not_found' END"""


_ACTIVE_USER = Prepared(lambda: get_user_model().objects.filter(pk=Parameter("pk"), is_active=True))


def active_user(user_id: int) -> Any:
    """Return the user as of now.

    Raises:
        AuthenticationExpired: the user was deactivated or deleted.
    """
    user = _ACTIVE_USER.first(pk=user_id)
    if user is None:
        raise AuthenticationExpired("Your account is not active any more.")
    return user


def as_ordinary_user(user: Any) -> Any:
    """Return the user without an administrator's rights, for questions only: never save it."""
    ordinary = copy.copy(user)
    ordinary.is_superuser = ordinary.is_staff = False
    return ordinary


def is_administrator(user_id: int | None) -> bool:
    """Whether the user is an active administrator as of now."""
    administrators = get_user_model().objects.filter(is_active=True, is_superuser=True)
    return user_id is not None and administrators.filter(pk=user_id).exists()


def with_rights(runs: QuerySet[Run]) -> QuerySet[Run]:
    """Read in the same statement why each run must not go on: see `denial`."""
    denial_code = RawSQL(_denial_sql(), (), output_field=TextField())  # noqa: S611 — of table names only
    return runs.select_related("session", "agent").annotate(denial_code=denial_code)


@functools.cache
def _denial_sql() -> str:
    user = get_user_model()
    tables = {
        "user": user,
        "users": Agent.allowed_users.through,
        "groups": Agent.allowed_groups.through,
        "members": user.groups.through,
    }
    return _DENIAL.format(**{name: model._meta.db_table for name, model in tables.items()})


def denial(run: Any) -> RunFailed | None:
    """Return why a run of `with_rights` must not go on: its owner is inactive, or may not use its agent any more."""
    if run.denial_code == "owner_inactive":
        return RunFailed("The owner of this session is not active any more.", code=run.denial_code)
    if run.denial_code:
        text = f"The agent {run.agent_name!r} was deleted or disabled, or the session's owner may not use it any more."
        return RunFailed(text, code=run.denial_code)
    return None


def denied(runs: QuerySet[Run]) -> QuerySet[Run]:
    """Return those of the runs that must not go on."""
    return with_rights(runs).exclude(denial_code="")  # type: ignore[misc]


class Watcher(NamedTuple):
    """A user who watches a session, perhaps with no more rights than an ordinary user has."""

    user_id: int
    session_id: str
    is_limited: bool


def lost_sessions(watchers: Collection[Watcher]) -> set[Watcher]:
    """Return those who may not watch their session any more.

    A session that does not exist is nobody's: whoever waits for it is asked when it begins.
    """
    if not watchers:
        return set()
    sessions = Session.objects.filter(pk__in={each.session_id for each in watchers})
    owners = dict(sessions.values_list("pk", "owner_id"))
    foreign = {each for each in watchers if owners.get(each.session_id, each.user_id) != each.user_id}
    if not foreign:
        return set()
    users = {each.user_id for each in foreign if not each.is_limited}
    administrators = get_user_model().objects.filter(pk__in=users, is_superuser=True)
    all_seeing = set(administrators.values_list("pk", flat=True))
    return {each for each in foreign if each.is_limited or each.user_id not in all_seeing}
