"""`manage.py serve`: the server in one process."""

import sys
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import import_string

LISTEN_QUEUE = 1024  # connections that wait to be accepted; clients beyond it retry after a second


class Command(BaseCommand):
    help = (
        "Serve HTTP and WebSocket. On SQLite, migrate first, and execute runs in the same process. "
        "On PostgreSQL, wait for `manage.py migrate`; `manage.py worker` executes runs."
    )

    # Django's own checks are about the code, and load every view: `manage.py check` runs them.
    requires_system_checks = ["agents_app"]

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--host", default=settings.HOST, help="Address to listen on (HOST).")
        parser.add_argument("--port", type=int, default=settings.PORT, help="Port to listen on (PORT).")

    def handle(self, *, host: str, port: int, **options: Any) -> None:
        # First of all: importing daphne's server installs the event loop that everything else finds.
        from agents_app.configuration import seed
        from agents_app.configuration.config_dir import config_dir
        from agents_app.database import private_files
        from agents_app.network import is_loopback
        from agents_app.server import descriptors, hardening
        from agents_app.server.daphne.server import Server

        hardening.hide_memory()
        descriptors.raise_limit()

        if not is_loopback(host) and settings.OPEN_TOKEN_REQUIRED:
            raise CommandError(
                f"HOST is {host}, which other machines can reach: unset OPEN_TOKEN, which is for this machine alone."
            )
        if not is_loopback(host) and not settings.AUTH_REQUIRED:
            raise CommandError(
                f"HOST is {host}, which other machines can reach, and no sign-in is required. "
                "Use a loopback address, 127.0.0.1, or set AUTH_REQUIRED=true."
            )
        if not 1 <= port <= 65535:
            raise CommandError(f"PORT is {port}; a port is a number from 1 to 65535.")
        private_files.protect()
        _prepare_database()
        new_password = seed.fill()
        config_dir.start()
        account = _describe_account(new_password) if settings.EMBEDDED else ""
        hint = _demonstration_hint()
        application = import_string(settings.ASGI_APPLICATION)
        server = Server(
            application,
            on_start=application.process.start,
            on_ready=lambda: self._say_ready(host, port, account, hint),
            on_stop=application.process.stop,
            endpoints=[_endpoint(host, port)],
            ping_interval=20,
            ping_timeout=180,
            websocket_handshake_timeout=20,  # a rush after a restart takes longer than daphne's 5 seconds
            websocket_timeout=-1,
            server_name="",
        )
        server.run()
        if server.failed:
            sys.exit(1)

    def _say_ready(self, host: str, port: int, account: str, hint: list[str]) -> None:
        from agents_app.access import start_token

        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        lines = [
            f"{settings.PRODUCT_NAME} {settings.VERSION}",
            f"  Chat   {address}/chat/",
            f"  Admin  {address}/admin/{account}",
            f"  API    {address}/v1/",
        ]
        if start_token.is_offered():
            lines.append(f"  Sign a browser in as the administrator: {start_token.link(address)}")
        self.stdout.write("\n".join([*lines, *hint, "Stop with Ctrl+C."]))
        self.stdout.flush()


def _describe_account(new_password: str | None) -> str:
    """Say how to sign in first. Output is kept for long, and many can read it: the password is there once."""
    from agents_app.configuration import seed

    if new_password:
        return f"   user admin, password {new_password}"
    file = seed.password_file()
    return f"   user admin, password in {file}" if file else ""


def _prepare_database() -> None:
    """Migrate an embedded database. Of a shared one, wait until `manage.py migrate` has run."""
    from agents_app.database import embedded_lock, readiness

    if not settings.EMBEDDED:
        readiness.wait_for_database()
        return
    try:
        embedded_lock.take()
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None
    if readiness.pending_migrations():  # even with nothing to do `migrate` builds the state of all models: 0.1 s
        call_command("migrate", interactive=False, verbosity=0)


def _endpoint(host: str, port: int) -> str:
    interface = host.replace(":", r"\:")
    return f"tcp:port={port}:interface={interface}:backlog={LISTEN_QUEUE}"


def _demonstration_hint() -> list[str]:
    from agents_app.models import Provider

    provider = Provider.objects.default()
    if provider is None or provider.kind != Provider.Kind.LOCAL or settings.LOCAL_MODEL_PATH:
        return []
    return [
        "  The default model is SmolLM2-135M, a tiny one for demonstration: it is quick, and often wrong.",
        "  For a better one, add a provider in the admin, or set LOCAL_MODEL_PATH to a GGUF file.",
    ]
