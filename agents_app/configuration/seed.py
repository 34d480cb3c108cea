"""The first rows of an empty database: an administrator, a model that needs no key, and a few agents."""

import os
import secrets
import urllib.request
from pathlib import Path

import orjson
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction

from agents_app.models import Agent, Provider

ADMIN = "admin"
_SEED_LOCK = 0x41494E55  # of PostgreSQL's advisory locks
_IN_USE = "in-use"
OLLAMA = "http://127.0.0.1:11434"

_FILES = ("read_file", "give_file")
# Role, description, prompt and built-in tools. None of the tools needs approval: they read, or show what they make.
AGENTS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "assistant": (
        "General assistant",
        "Answers questions, reads web pages and files, and schedules tasks.",
        "You are a helpful assistant. Answer briefly and to the point.",
        ("current_time", "calculate", "fetch_url", "ask_user", *_FILES, "create_task", "list_tasks"),
    ),
    "researcher": (
        "Researcher",
        "Looks things up on the web and in files, and says how sure it is.",
        "You are a careful researcher. Say what is known, what is not, and how sure you are. Be concise.",
        ("current_time", "fetch_url", *_FILES),
    ),
    "developer": (
        "Software developer",
        "Writes and explains code.",
        "You are an experienced software developer. Answer with short, working code.",
        ("fetch_url", *_FILES),
    ),
    "writer": (
        "Writer",
        "Drafts and revises texts.",
        "You are a writer with a clear, plain style. Write what is asked, and nothing around it.",
        _FILES,
    ),
    "analyst": (
        "Analyst",
        "Weighs facts and figures, and ends with a conclusion.",
        "You are an analyst. Structure the question, weigh the facts, and end with a short conclusion.",
        ("current_time", "calculate", *_FILES),
    ),
}


def fill() -> str | None:
    """Fill an empty database. One that has an agent or a provider is not changed.

    Returns the password of the administrator if one was created now.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":  # several instances may start at the same time
            connection.cursor().execute("SELECT pg_advisory_xact_lock(%s)", [_SEED_LOCK])
        password = ensure_administrator()
        if Agent.objects.exists() or Provider.objects.exists():
            return password
        local = Provider.objects.create(
            name="local", kind=Provider.Kind.LOCAL, default_model="SmolLM2-135M-Instruct", is_default=True
        )
        for name, (role, description, prompt, tools) in AGENTS.items():
            Agent.objects.create(
                name=name,
                role=role,
                description=description,
                system_prompt=prompt,
                builtin_tools=list(tools),
                is_default=name == "assistant",
            )
        _add_available_providers()
        local.full_clean()
    return password


def _add_available_providers() -> None:
    if os.environ.get("OPENAI_API_KEY"):
        Provider.objects.create(
            name="openai",
            base_url=os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1",
            api_key_env="OPENAI_API_KEY",
            default_model="gpt-5-mini",
            context_tokens=128_000,
        )
    if os.environ.get("ANTHROPIC_API_KEY"):
        Provider.objects.create(
            name="anthropic",
            kind=Provider.Kind.ANTHROPIC,
            api_key_env="ANTHROPIC_API_KEY",
            default_model="claude-sonnet-5-5",
            context_tokens=200_000,
        )
    if models := _ollama_models():
        Provider.objects.create(name="ollama", base_url=f"{OLLAMA}/v1", default_model=models[0])


def _ollama_models() -> list[str]:
    """Return the models of an Ollama on its default port; none if nothing answers."""
    try:
        with urllib.request.urlopen(f"{OLLAMA}/api/tags", timeout=0.5) as response:  # noqa: S310 — our own address
            return [model["name"] for model in orjson.loads(response.read())["models"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def ensure_administrator() -> str | None:
    """Create an administrator if there is none, and return the password, which is stored in VAR_DIR too."""
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return None
    password = secrets.token_urlsafe(12)
    _write_private(_password_file(), password)
    user = users.create_superuser(ADMIN, "", password)
    _keep_check(user.password, True)
    return password


def password_file() -> Path | None:
    """Return the file with the generated password while that is still in use.

    Checking a password takes 0.23 s, as it should, so a start uses the result that an earlier one kept for this hash.
    """
    user = get_user_model().objects.filter(username=ADMIN).first()
    path = _password_file()
    if user is None or not path.exists():
        return None
    password = path.read_text().strip()
    is_in_use = _kept_check(user.password)
    if is_in_use is None:
        is_in_use = user.check_password(password)  # may store a new hash, of more iterations
        _keep_check(user.password, is_in_use)
    return path if is_in_use else None


def _kept_check(password_hash: str) -> bool | None:
    """Return whether the first password fits this hash; None if that was never checked."""
    path = _check_file()
    result, _, checked = path.read_text().partition(" ") if path.exists() else ("", "", "")
    return result == _IN_USE if checked == password_hash else None


def _keep_check(password_hash: str, is_in_use: bool) -> None:
    _write_private(_check_file(), f"{_IN_USE if is_in_use else 'changed'} {password_hash}")


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _password_file() -> Path:
    return Path(settings.VAR_DIR) / "admin_password"


def _check_file() -> Path:
    return Path(settings.VAR_DIR) / "admin_password_check"
