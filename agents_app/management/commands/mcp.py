"""`manage.py mcp`: the MCP server on stdin and stdout, for programs that start their servers as processes."""

import asyncio
import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = (
        "Speak MCP on stdin and stdout, for desktop clients: what they ask is asked of a running server. "
        "Nothing else is printed to stdout."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        here = f"http://{settings.HOST}:{settings.PORT}"
        parser.add_argument(
            "--url",
            default=os.environ.get("AINTANDEM_URL") or here,
            help=f"Where the server is (AINTANDEM_URL). Default: {here}. Its token is in AINTANDEM_TOKEN.",
        )

    def handle(self, *, url: str, **options: Any) -> None:
        from agents_app.mcp_server.stdio_bridge import Unreachable, bridge

        if not url.startswith(("http://", "https://")):
            raise CommandError(f"--url must begin with http:// or https://, not {url!r}.")
        address = url.rstrip("/").removesuffix("/mcp") + "/mcp"
        try:
            asyncio.run(bridge(address, os.environ.get("AINTANDEM_TOKEN", "")))
        except Unreachable as error:
            raise CommandError(str(error)) from None
