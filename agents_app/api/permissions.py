"""Permissions of the views."""

from rest_framework.permissions import SAFE_METHODS, BasePermission


class IsAdministrator(BasePermission):
    """Allow superusers only: providers decide where conversations are sent."""

    message = "Only administrators may do this."

    def has_permission(self, request, view) -> bool:
        return bool(request.user and request.user.is_superuser)


class IsAdministratorOrReads(IsAdministrator):
    """Allow everybody to read, and superusers to write."""

    def has_permission(self, request, view) -> bool:
        return request.method in SAFE_METHODS or super().has_permission(request, view)
