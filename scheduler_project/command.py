"""The command line: `manage.py` in a checkout, `aintandem` where the package is installed."""

import gc
import os
import sys


def main() -> None:
    """Run the command that the arguments name."""
    gc.set_threshold(50_000, 20, 50)  # what is imported stays: looking for garbage in it took a tenth of each start
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler_project.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"The configuration is wrong: {error}")
