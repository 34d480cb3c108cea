"""Who may do what."""

from rest_framework.permissions import SAFE_METHODS, BasePermission


class IsAdministrator(BasePermission):
    """Only superusers: whoever sets up providers decides where conversations are sent."""

    message = "Only administrators may do this."

    def has_permission(self, request, view) -> bool:
        return bool(request.user and request.user.is_superuser)


class IsAdministratorOrReads(IsAdministrator):
    """Others only read what is visible to them."""

    def has_permission(self, request, view) -> bool:
        return request.method in SAFE_METHODS or super().has_permission(request, view)
