"""`manage.py dump_config`: the configuration as a file for `load_config`."""

from typing import Any

from django.core.management.base import BaseCommand

from agents_app.configuration.dumping import dump


class Command(BaseCommand):
    help = "Print providers, MCP servers, agents and tasks as YAML for load_config. Stored secrets are left out."

    def handle(self, **options: Any) -> None:
        self.stdout.write(dump(), ending="")
