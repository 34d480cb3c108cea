"""`manage.py doctor`: find what is wrong with this deployment, and how to fix it."""

import json
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = (
        "Check everything that this deployment depends on, and print a line for each check: ✓ fine, ! needs attention, "
        "✗ broken, with a remedy. The exit status is 1 if something is broken. It leaves no data behind. "
        "See docs/doctor.md."
    )
    requires_system_checks: list[str] = []  # its findings include them

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "--url", default="", help="The address that users type; streams and sockets are checked through it."
        )
        parser.add_argument(
            "--idle",
            type=float,
            default=22,
            metavar="SECONDS",
            help="For how long a socket through --url is left silent; the server pings every 20 s. Default: 22.",
        )
        parser.add_argument("--json", action="store_true", help="Print one object instead of lines.")
        parser.add_argument(
            "--chaos",
            action="store_true",
            help="Instead: start a temporary cluster of this code, kill its processes at random under load, and "
            "print the result. Your data is not touched.",
        )
        parser.add_argument("--seconds", type=float, default=30, help="Duration of --chaos. Default: 30.")

    def handle(self, *, url: str, idle: float, json: bool, chaos: bool, seconds: float, **options: Any) -> None:
        if chaos:
            self._chaos(seconds)
            return
        if url and not url.startswith(("http://", "https://")):
            raise CommandError("--url must begin with http:// or https://.")
        if not 0 <= idle <= 3600:
            raise CommandError("--idle must be from 0 to 3600 seconds.")
        self._examine(url, idle, as_json=json)

    def _examine(self, url: str, idle: float, *, as_json: bool) -> None:
        from agents_app import doctor

        findings = []
        for finding in doctor.examine(url, idle=idle):
            findings.append(finding)
            if not as_json:
                self.stdout.write(str(finding))
                self.stdout.flush()
        is_broken = any(finding.state == doctor.State.BROKEN for finding in findings)
        if as_json:
            checks = [finding.as_dict() for finding in findings]
            report = {"ok": not is_broken, "version": settings.VERSION, "checks": checks}
            self.stdout.write(json.dumps(report, indent=1, ensure_ascii=False))
        sys.exit(1 if is_broken else 0)

    def _chaos(self, seconds: float) -> None:
        from agents_app.doctor import chaos

        try:
            status = chaos.run(seconds)
        except chaos.Unavailable as error:
            raise CommandError(str(error)) from None
        sys.exit(status)
