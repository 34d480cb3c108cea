"""Permissions of the views."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission

from agents_app.access import own_agents
from agents_app.models import ApiToken


def is_administrator(request: Any) -> bool:
    """Return whether an administrator asks. With a token that may only run agents nobody is one: see `Caller`."""
    return bool(request.user and request.user.is_superuser)


def _may_manage(request: Any) -> bool:
    return not isinstance(request.auth, ApiToken) or request.auth.may_manage


class MayManage(BasePermission):
    """Allow everybody to read, and to write unless with a token that may only run agents."""

    message = "This token may only run agents: its scope is 'run'."

    def has_permission(self, request: Any, view: Any) -> bool:
        return request.method in SAFE_METHODS or _may_manage(request)


class IsAdministrator(BasePermission):
    """Allow superusers only: providers decide where conversations are sent."""

    message = "Only administrators may do this, and not with a token of the scope 'run'."

    def has_permission(self, request: Any, view: Any) -> bool:
        return is_administrator(request)


class MayEditAgents(BasePermission):
    """Allow everybody to read; administrators to write; users to make agents, and to change those that they made."""

    message = "Only administrators and its owner may change this agent, and not with a token of the scope 'run'."

    def has_permission(self, request: Any, view: Any) -> bool:
        return request.method in SAFE_METHODS or (_may_manage(request) and own_agents.may_make_agents(request.user))

    def has_object_permission(self, request: Any, view: Any, agent: Any) -> bool:
        return request.method in SAFE_METHODS or own_agents.is_editor(
            request.user,
            getattr(agent, "agent", agent),  # of a version
        )


class IsEditor(BasePermission):
    """Allow those who may change an agent."""

    message = "Only administrators and its owner see what this agent may do."

    def has_object_permission(self, request: Any, view: Any, agent: Any) -> bool:
        return own_agents.is_editor(request.user, agent)


class IsAdministratorOrReads(IsAdministrator):
    """Allow everybody to read, and superusers to write."""

    def has_permission(self, request: Any, view: Any) -> bool:
        return request.method in SAFE_METHODS or super().has_permission(request, view)
