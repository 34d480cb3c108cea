"""`manage.py mcp`: the MCP server on stdin and stdout, for programs that start their servers as processes."""

import asyncio
import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = (
        "Speak MCP on stdin and stdout, for desktop clients. Requests are forwarded to a running server. "
        "Nothing else is written to stdout."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        default = f"http://{settings.HOST}:{settings.PORT}"
        parser.add_argument(
            "--url",
            default=os.environ.get("AINTANDEM_URL") or default,
            help=f"The server's address (AINTANDEM_URL). Default: {default}. AINTANDEM_TOKEN is its token.",
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
