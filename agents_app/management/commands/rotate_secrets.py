"""`manage.py rotate_secrets`: encrypt stored secrets with a new SECRET_KEY."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents_app.models import encryption


class Command(BaseCommand):
    help = (
        "Encrypt every stored secret with SECRET_KEY, reading what older keys in SECRET_KEY_FALLBACKS have encrypted. "
        "Afterwards they are needed no more."
    )

    def handle(self, **options: Any) -> None:
        done = encryption.rotate()
        self.stdout.write(f"{done.rotated} secrets are encrypted with the present SECRET_KEY.")
        if done.lost:
            listed = "\n".join(f"  {name}" for name in done.lost)
            raise CommandError(
                f"No key opens these, and they are as they were:\n{listed}\n"
                "Put the key that they were encrypted with into SECRET_KEY_FALLBACKS, or store them anew."
            )
