"""The command line: `manage.py` in a checkout, `aintandem` if the package is installed."""

import gc
import os
import sys


def main() -> None:
    """Run the command in the arguments."""
    os.umask(0o077)  # before anything is written: no other user of this machine reads it
    gc.set_threshold(50_000, 20, 50)  # imported modules stay: searching them for garbage took a tenth of each start
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler_project.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"The configuration is wrong: {error}")
