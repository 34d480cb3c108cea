"""A database as the first release left it: make the tables, then load the rows."""

from tests.harness.paths import ROOT

FIRST_RELEASE = ROOT / "tests/harness/first_release.sql"
FIRST_TABLES = """
from django.core.management import call_command
for app in ("auth", "admin", "contenttypes", "sessions"):
    call_command("migrate", app, verbosity=0)
call_command("migrate", "agents_app", "0001", verbosity=0)
"""
