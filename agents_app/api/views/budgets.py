"""/v1/budgets."""

from typing import Any

from rest_framework.permissions import IsAuthenticated

from agents_app.api.base import CrudViewSet
from agents_app.api.permissions import IsAdministratorOrReads
from agents_app.api.serializers.budgets import BudgetSerializer
from agents_app.models import Budget


class BudgetViewSet(CrudViewSet):
    """Budgets: what runs may cost. Users read those of their own, of their groups and tokens."""

    queryset = Budget.objects.all()
    serializer_class = BudgetSerializer
    permission_classes = (IsAuthenticated, IsAdministratorOrReads)
    lookup_field = "name"
    lookup_value_regex = "[^/]+"
    ordering_fields = ("name", "-name", "created_at", "-created_at")

    def get_queryset(self) -> Any:
        return Budget.objects.visible_to(self.request.user).with_targets()
