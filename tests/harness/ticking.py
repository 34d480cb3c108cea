"""A process that fires tasks and executes nothing: the worker's ticker alone, by a clock of the test's own."""

import asyncio
import os

from tests.harness import clocked_manage


async def _tick() -> None:
    from agents_app.scheduler.loop import Ticker

    print("The ticker is ready.", flush=True)
    await Ticker().run()


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler_project.settings")
    clocked_manage.set_up()
    asyncio.run(_tick())


if __name__ == "__main__":
    main()
