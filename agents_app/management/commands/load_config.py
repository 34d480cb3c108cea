"""`manage.py load_config`: make the database what files say."""

import contextlib
import signal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents_app import configuration
from agents_app.configuration import watching
from agents_app.exceptions import AgentError


class Command(BaseCommand):
    help = (
        "Make providers, MCP servers, agents and tasks what YAML files say: all of it or, where anything is wrong, "
        "nothing. Prints what changes. See docs/configuration.md."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="A file, or a folder of *.yaml files.")
        parser.add_argument("--dry-run", action="store_true", help="Say what would change, and change nothing.")
        parser.add_argument(
            "--prune", action="store_true", help="Delete what no file mentions, of the kinds that some file has."
        )
        parser.add_argument("--watch", action="store_true", help="Stay, and load again whenever a file changes.")

    def handle(self, *, files: list[Path], dry_run: bool, prune: bool, watch: bool, **options: Any) -> None:
        def load() -> None:
            items = configuration.read(watching.expanded(files))
            outcome = configuration.apply(items, dry_run=dry_run, prune=prune)
            self.stdout.write(f"{'Would be: ' if dry_run else ''}{outcome}")
            self.stdout.flush()

        if not watch:
            try:
                load()
            except (configuration.ConfigurationError, AgentError) as error:
                raise CommandError(str(error)) from None
            return
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # services are ended so, people press Ctrl+C
        with contextlib.suppress(KeyboardInterrupt):
            for _ in watching.changes(files):
                try:
                    load()
                except (configuration.ConfigurationError, AgentError) as error:
                    self.stderr.write(f"Nothing was changed:\n{error}")
