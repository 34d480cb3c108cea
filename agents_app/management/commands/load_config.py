"""`manage.py load_config`: apply configuration files to the database."""

import contextlib
import signal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents_app.configuration import watching
from agents_app.configuration.apply import apply
from agents_app.configuration.located import ConfigurationError
from agents_app.configuration.parsing import read
from agents_app.exceptions import AgentError


class Command(BaseCommand):
    help = (
        "Create and change providers, MCP servers, agents and tasks as YAML files say: all of it or, if anything is "
        "invalid, nothing. Prints the changes. See docs/configuration.md."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="A file, or a folder of *.yaml files.")
        parser.add_argument("--dry-run", action="store_true", help="Show the changes without making them.")
        parser.add_argument(
            "--prune", action="store_true", help="Delete rows that no file has, of the kinds that the files have."
        )
        parser.add_argument("--watch", action="store_true", help="Keep running, and load again when a file changes.")

    def handle(self, *, files: list[Path], dry_run: bool, prune: bool, watch: bool, **options: Any) -> None:
        def load() -> None:
            items = read(watching.expanded(files))
            outcome = apply(items, dry_run=dry_run, prune=prune)
            self.stdout.write(f"{'Would be: ' if dry_run else ''}{outcome}")
            self.stdout.flush()

        if not watch:
            try:
                load()
            except (ConfigurationError, AgentError) as error:
                raise CommandError(str(error)) from None
            return
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # services get SIGTERM, people press Ctrl+C
        with contextlib.suppress(KeyboardInterrupt):
            for _ in watching.changes(files):
                try:
                    load()
                except (ConfigurationError, AgentError) as error:
                    self.stderr.write(f"Nothing was changed:\n{error}")
