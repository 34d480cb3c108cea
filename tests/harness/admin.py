"""Addresses and actions of the admin, for Django's test client."""

from typing import Any

from django.db.models import Model
from django.test import Client
from django.urls import reverse


def address(model: type[Model], page: str, *arguments: object) -> str:
    return reverse(f"admin:agents_app_{model._meta.model_name}_{page}", args=arguments)


def act(client: Client, model: type[Model], action: str, *rows: Model, **more: str) -> Any:
    """Choose an action of a list for these rows. `more`: fields of the page that asks whether to go on."""
    data = {"action": action, "_selected_action": [row.pk for row in rows], **more}
    return client.post(address(model, "changelist"), data, follow=True)
