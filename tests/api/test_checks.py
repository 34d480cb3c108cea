"""System checks: settings that would be dangerous stop the start."""

import pytest
from django.core.checks import run_checks

from agents_app.network import is_loopback


def ids():
    return [result.id for result in run_checks() if result.id.startswith("agents_app.")]


def test_the_default_settings_are_silent(settings):
    settings.ALLOWED_HOSTS = ["localhost"]
    assert ids() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"HOST": "0.0.0.0"}, "agents_app.E001"),
        ({"HOST": "::"}, "agents_app.E001"),
        ({"HOST": "agents.example"}, "agents_app.E001"),
        ({"ALLOWED_HOSTS": ["localhost", "*"]}, "agents_app.E002"),
        ({"HOST": "0.0.0.0", "AUTH_REQUIRED": True, "DEBUG": True}, "agents_app.E003"),
        ({"CORS_ALLOWED_ORIGINS": ["*"]}, "agents_app.E004"),
        ({"CORS_ALLOWED_ORIGINS": ["app.example"]}, "agents_app.E004"),
        ({"CORS_ALLOWED_ORIGINS": ["https://app.example/path"]}, "agents_app.E004"),
        ({"EVENT_RETENTION_DAYS": -1}, "agents_app.E005"),
    ],
)
def test_a_dangerous_setting_is_an_error_with_a_hint(settings, changes, expected):
    for name, value in changes.items():
        setattr(settings, name, value)
    [result] = [result for result in run_checks() if result.id.startswith("agents_app.")]
    assert result.id == expected
    assert result.hint
    assert result.is_serious()


@pytest.mark.parametrize("origin", ["https://app.example", "http://localhost:5173", "https://app.example/"])
def test_an_origin_is_an_origin(settings, origin):
    settings.CORS_ALLOWED_ORIGINS = [origin]
    assert ids() == []


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
    ],
)
def test_what_is_loopback(host, expected):
    assert is_loopback(host) is expected
