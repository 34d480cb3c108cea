"""The package: what is built from a checkout installs elsewhere, and serves."""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.harness.paths import ROOT
from tests.harness.product import Product

PACKAGES = ("agents_app", "chat_app", "scheduler_project")
pytestmark = pytest.mark.slow


class Installed(Product):
    """The product as the command that the package brings."""

    def __init__(self, folder: Path, program: Path) -> None:
        super().__init__(folder / "data" / "aintandem", XDG_DATA_HOME=str(folder / "data"), PYTHONSAFEPATH="1")
        for name in ("VAR_DIR", "DJANGO_SETTINGS_MODULE"):  # the package knows its own
            del self.environment[name]
        self.program = program

    def command(self, *arguments: str) -> list[str]:
        return [str(self.program), *arguments]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of what belongs into the package, in which the build may write."""
    folder = tmp_path_factory.mktemp("checkout")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def built(checkout, tmp_path_factory) -> Path:
    """The folder with the source distribution, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(checkout)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


def shipped(checkout) -> set[str]:
    """Every file of the package's folders."""
    return {
        str(path.relative_to(checkout))
        for package in PACKAGES
        for path in (checkout / package).rglob("*")
        if path.is_file()
    }


def test_everything_is_in_it_and_nothing_else(checkout, built):
    wheel = zipfile.ZipFile(next(built.glob("*.whl")))
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert inside == shipped(checkout)
    with tarfile.open(next(built.glob("*.tar.gz"))) as source:
        assert shipped(checkout) <= {name.partition("/")[2] for name in source.getnames()}
    about = next(wheel.read(name).decode() for name in wheel.namelist() if name.endswith("METADATA"))
    assert "Requires-Dist: django==" in about


def test_it_installs_and_serves(built, tmp_path):
    """In an environment of its own, which borrows only the packages that it needs."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=60)
    python = venv / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    borrowed = venv / "lib" / version / "site-packages" / "borrowed.pth"
    borrowed.write_text(sysconfig.get_path("purelib") + "\n")
    wheel = str(next(built.glob("*.whl")))
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", wheel]
    done = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with Installed(tmp_path, venv / "bin" / "aintandem") as product:
        assert (tmp_path / "data" / "aintandem" / "db.sqlite3").exists()
        assert product.request("GET", "/readyz")[0] == 200
        assert product.request("GET", "/v1/agents")[1]["data"]
        german = urllib.request.Request(f"{product.url}/chat/", headers={"Accept-Language": "de"})
        with urllib.request.urlopen(german) as page:
            text = page.read().decode()
        assert 'lang="de"' in text
        for kind in ("css", "js"):
            path = next(part for part in text.split('"') if part.startswith("/static/") and part.endswith(f".{kind}"))
            with urllib.request.urlopen(product.url + path) as file:
                assert file.status == 200 and file.read()
        assert product.terminate() == 0
        assert "Traceback" not in product.logged()
