"""What another user of the machine can read: nothing; and what the database would tell of sessions: no key."""

import logging
import stat
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from agents_app.database import private_files
from agents_app.doctor import storage
from tests.access.test_hardening import manage
from tests.harness.form_client import FormClient
from tests.harness.product import Product


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def is_private(path: Path) -> bool:
    return not mode(path) & 0o077


def test_the_key_in_a_browsers_cookie_is_nowhere_in_the_database(people):
    product = people["ann"].product
    browser = FormClient(product)
    assert browser.sign_in("ann", next="/chat/")[0] == 200
    [key] = [cookie.value for cookie in browser.cookies if cookie.name == "sessionid"]
    assert product.request("GET", "/v1/sessions", **browser.header)[0] == 200
    files = list(product.var_dir.glob("db.sqlite3*"))
    assert files
    assert not [file for file in files if key.encode() in file.read_bytes()]


def test_a_command_makes_a_private_folder(tmp_path):
    folder = tmp_path / "data" / "var"
    assert manage(tmp_path, "check", VAR_DIR=str(folder)).returncode == 0
    assert mode(folder) == 0o700
    assert mode(folder / "secret_key") == 0o600


def test_a_start_takes_back_what_others_could_read(tmp_path):
    with Product(tmp_path / "var") as product:
        product.stop()
        folder = product.var_dir
        assert not [file for file in (folder, *folder.glob("*")) if not is_private(file) and file != product.log]
        for file in folder.iterdir():
            file.chmod(0o644)
        folder.chmod(0o755)
        product.start()
        assert not [file for file in (folder, *folder.glob("*")) if not is_private(file)]
        assert f"Other users of this machine could use {folder}, " in product.logged()


@pytest.fixture
def shared_folder(settings, tmp_path):
    settings.VAR_DIR = tmp_path
    tmp_path.chmod(0o750)
    (tmp_path / "admin_password").touch(mode=0o600)
    return tmp_path


def test_a_folder_that_stays_readable_stops_the_start_with_a_sentence(shared_folder, monkeypatch):
    def refuse(self, mode):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(ImproperlyConfigured, match="make this user its owner, with mode 700"):
        private_files.protect()


def test_a_database_elsewhere_is_private_too(shared_folder, settings, monkeypatch, tmp_path_factory, caplog):
    database = tmp_path_factory.mktemp("elsewhere") / "agents.db"
    database.touch()
    database.chmod(0o640)
    settings.EMBEDDED = True
    monkeypatch.setitem(settings.DATABASES["default"], "NAME", str(database))
    with caplog.at_level(logging.WARNING):
        private_files.protect()
    assert mode(database) == 0o600
    assert str(database) in caplog.text
    assert not private_files.exposed()


def test_the_doctor_names_what_others_can_read(shared_folder):
    [finding] = storage.files()
    assert (finding.state, str(shared_folder) in finding.message) == ("broken", True)
    private_files.protect()
    [finding] = storage.files()
    assert finding.state == "ok"
