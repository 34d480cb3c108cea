"""`manage.py migrate`: Django's, with time for migrations that compute between two statements."""

from typing import Any

from django.core.management.commands import migrate

from agents_app.database.readiness import allow_long_transactions


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        allow_long_transactions()
        super().handle(*args, **options)
