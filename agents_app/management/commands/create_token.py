"""`manage.py create_token`: an API token for a script."""

import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from agents_app.models import ApiToken


class Command(BaseCommand):
    help = "Make an API token for a user and print it: nothing else ever shows it again."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("user", help="Whose token it is.")
        parser.add_argument("--name", default="command line", help="What it is for.")
        parser.add_argument("--days", type=int, help="When it expires; without this it does not.")

    def handle(self, *, user: str, name: str, days: int | None, **options: Any) -> None:
        found = get_user_model().objects.filter(username=user).first()
        if found is None:
            raise CommandError(f"There is no user {user!r}. `manage.py createsuperuser` makes an administrator.")
        if days is not None and not 1 <= days <= 3650:
            raise CommandError("--days must be from 1 to 3650.")
        if not 1 <= len(name) <= 100:
            raise CommandError("--name must have 1 to 100 characters.")
        lifetime = datetime.timedelta(days=days) if days else None
        _, text = ApiToken.objects.create(found, lifetime, name=name)
        self.stdout.write(text)
