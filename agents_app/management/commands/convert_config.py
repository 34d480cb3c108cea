"""`manage.py convert_config`: the predecessor's files as a file for `load_config`."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents_app.configuration import watching
from agents_app.configuration.located import ConfigurationError
from agents_app.configuration.predecessor import convert


class Command(BaseCommand):
    help = (
        "Convert configuration files of the predecessor (llm, agents, mcp_servers) to YAML for load_config, and print "
        "it. What has no counterpart is left out, and named on standard error and in comments. "
        "See docs/configuration.md."
    )
    requires_system_checks: list[str] = []  # it only reads the files

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="A file, or a folder of *.yaml files.")

    def handle(self, *, files: list[Path], **options: Any) -> None:
        try:
            conversion = convert(watching.expanded(files))
        except ConfigurationError as error:
            raise CommandError(str(error)) from None
        for note in conversion.notes:
            self.stderr.write(str(note))
        self.stdout.write(conversion.text, ending="")
