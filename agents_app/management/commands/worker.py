"""`manage.py worker`: executes runs, many at a time, in a process of its own."""

import asyncio
import os
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Execute runs. For PostgreSQL and many instances; on SQLite, `manage.py serve` executes them."
    requires_system_checks = ["agents_app"]  # the others load every view

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "--concurrency",
            type=int,
            default=settings.WORKER_CONCURRENCY,
            help="Runs at a time (WORKER_CONCURRENCY).",
        )

    def handle(self, *, concurrency: int, **options: Any) -> None:
        from agents_app.server import hardening

        hardening.hide_memory()
        if settings.EMBEDDED:
            raise CommandError(
                "The database is SQLite, and `manage.py serve` executes its runs itself. "
                "For workers of their own set DATABASE_URL to a PostgreSQL database, and REDIS_URL."
            )
        from agents_app.database import private_files, readiness

        private_files.protect()
        readiness.wait_for_database()
        asyncio.run(self._work(concurrency))

    async def _work(self, concurrency: int) -> None:
        from agents_app import live
        from agents_app.background import spawn
        from agents_app.engine.preparation import prepare
        from agents_app.live import processes
        from agents_app.observability import tracing
        from agents_app.queue import postgres
        from agents_app.server import garbage, prometheus
        from agents_app.server.warm_up import warm_up
        from agents_app.worker.worker import Worker

        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, _stop_or_force, stopping)
        live.attach()
        processes.announce("worker")
        tracing.start("aintandem-worker", settings.VERSION)
        try:
            prometheus.serve()
        except OSError as error:
            raise CommandError(f"METRICS_PORT {settings.METRICS_PORT} cannot be listened on: {error}") from None
        worker = Worker(concurrency)
        await worker.start(alone=False)
        spawn(warm_up(prepare), name="warm up")
        spawn(garbage.collect_when_idle(), name="garbage")
        await postgres.work(concurrency, stopping, on_ready=lambda: self._say_ready(concurrency))
        await worker.stop()
        await asyncio.to_thread(tracing.stop)

    def _say_ready(self, concurrency: int) -> None:
        self.stdout.write(f"The worker is ready: {concurrency} runs at a time. Stop with Ctrl+C.")
        self.stdout.flush()


def _stop_or_force(stopping: asyncio.Event) -> None:
    """The first signal hands runs back, the second forces."""
    if stopping.is_set():
        os._exit(1)
    stopping.set()
