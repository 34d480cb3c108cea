"""Who may do what."""

from rest_framework.permissions import BasePermission


class IsAdministrator(BasePermission):
    """Only superusers: whoever sets up providers decides where conversations are sent."""

    message = "Only administrators may do this."

    def has_permission(self, request, view) -> bool:
        return bool(request.user and request.user.is_superuser)
