"""`manage.py rotate_secrets`: encrypt stored secrets with a new SECRET_KEY."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents_app.models import encryption


class Command(BaseCommand):
    help = (
        "Encrypt all stored secrets with SECRET_KEY, including those encrypted with a key in SECRET_KEY_FALLBACKS. "
        "Afterwards, those keys are no longer needed."
    )

    def handle(self, **options: Any) -> None:
        done = encryption.rotate()
        self.stdout.write(f"{done.rotated} secrets are encrypted with the current SECRET_KEY.")
        if done.lost:
            names = "\n".join(f"  {name}" for name in done.lost)
            raise CommandError(
                f"No key decrypts these secrets; they are unchanged:\n{names}\n"
                "Add the key that encrypted them to SECRET_KEY_FALLBACKS, or enter them again."
            )
