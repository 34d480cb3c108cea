"""The benchmarks can be started. What they measure is no test's business."""

import os
import subprocess
import sys

from tests.harness.paths import ROOT

NOT_COMMANDS = {"__init__", "admin_rows"}  # the latter is imported where Django is set up


def test_every_benchmark_can_be_started():
    names = sorted({file.stem for file in (ROOT / "benchmarks").glob("*.py")} - NOT_COMMANDS)
    imports = "; ".join(f"import benchmarks.{name}" for name in names)
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-c", imports], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
