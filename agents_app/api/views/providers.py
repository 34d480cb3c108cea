"""/v1/providers, for administrators only."""

import dataclasses

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.api.base import CrudViewSet
from agents_app.api.permissions import IsAdministrator
from agents_app.api.serializers.providers import ProviderCheckSerializer, ProviderSerializer
from agents_app.integrations import providers
from agents_app.models import Provider


class ProviderViewSet(CrudViewSet):
    """Providers: servers of models. Keys are write-only."""

    queryset = Provider.objects.all()
    serializer_class = ProviderSerializer
    permission_classes = (IsAuthenticated, IsAdministrator)
    lookup_field = "name"
    lookup_value_regex = "[^/]+"
    ordering_fields = ("name", "-name", "created_at", "-created_at")

    @extend_schema(request=None, responses={200: ProviderCheckSerializer})
    @action(detail=True, methods=["post"])
    def check(self, request: Request, name: str) -> Response:
        """Check the provider and list its models. If it does not work, `ok` is false."""
        return Response(dataclasses.asdict(providers.check(self.get_object())))
