"""`manage.py create_token`: create an API token for a script."""

import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from agents_app.access import security_log
from agents_app.models import ApiToken


class Command(BaseCommand):
    help = "Create an API token for a user and print it. It is never shown again."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("user", help="The name of its user.")
        parser.add_argument("--name", default="command line", help="What it is for.")
        scopes = ApiToken.Scope.values
        parser.add_argument("--scope", choices=scopes, default=scopes[0], help="What programs may do with it.")
        parser.add_argument("--days", type=int, help="Days until it expires. Default: never.")

    def handle(self, *, user: str, name: str, scope: str, days: int | None, **options: Any) -> None:
        owner = get_user_model().objects.filter(username=user).first()
        if owner is None:
            raise CommandError(f"There is no user {user!r}. `manage.py createsuperuser` creates an administrator.")
        if days is not None and not 1 <= days <= 3650:
            raise CommandError("--days must be from 1 to 3650.")
        if not 1 <= len(name) <= 100:
            raise CommandError("--name must have 1 to 100 characters.")
        lifetime = datetime.timedelta(days=days) if days else None
        row, text = ApiToken.objects.create(owner, lifetime, name=name, scope=scope)
        security_log.record("token_created", user=user, by="command line", token=row.token_key)
        self.stdout.write(text)
