"""Settings, all from environment variables (https://12factor.net/config). An invalid value stops the start."""

import datetime
import logging
import os
import re
import sys
from pathlib import Path

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key
from environs import Env, EnvError

from agents_app.network import is_loopback, is_loopback_origin, is_network

os.umask(0o077)  # no other user of this machine reads what the server writes; daphne and uvicorn start here
VERSION = "0.1.0"
PRODUCT_NAME = "AInTandem Agent MCP Scheduler"
LONGEST_MESSAGE, LARGEST_BODY = 1_000_000, 16 * 1024 * 1024  # that the settings allow: a frame is parsed on the loop
_FILES_URL = r"file:///.+|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?(\?(endpoint|region)=[^&#]+(&(endpoint|region)=[^&#]+)?)?"
LARGEST_FILE = 512 * 1024 * 1024  # bytes that the settings allow: daphne spools a whole body
LONGEST_PAUSE = 300  # seconds in which a failing provider is not asked
SHORTEST_KEY = 32  # characters of SECRET_KEY, from which the key of stored secrets is made by one hash
BASE_DIR = Path(__file__).resolve().parent.parent

env = Env()


def _default_var_dir() -> Path:
    """Return `var` in a checkout, or the data folder of the user if the package is installed."""
    if (BASE_DIR / "manage.py").exists():
        return BASE_DIR / "var"
    return env.path("XDG_DATA_HOME", Path.home() / ".local" / "share") / "aintandem"


def _secret_key(var_dir: Path) -> str:
    """Return the key in VAR_DIR, which the first start creates: a default in the code would be public."""
    path = var_dir / "secret_key"
    if not path.exists():
        var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(get_random_secret_key())
    return path.read_text()


def _list(name: str, default: list[str] | None = None) -> list[str]:
    """Return the parts of a list, which may have blanks after its commas."""
    return [part.strip() for part in env.list(name, default or []) if part.strip()]


def _origins(name: str) -> list[str]:
    """Return origins as browsers send them: without the default port of their scheme."""
    return [re.sub(r"^(http(?=://.*:80$)|https(?=://.*:443$))(://.*):\d+$", r"\1\2", origin) for origin in _list(name)]


def _hosts(name: str, default: list[str]) -> list[str]:
    """Return hosts without ports: Django compares names alone."""
    return [re.sub(r"(?<=[^:]):\d+$", "", host) if host.count(":") == 1 or "]:" in host else host
            for host in _list(name, default)]  # fmt: skip


def _body_of(characters: int) -> int:
    """Return the bytes that a body with a message may need: 6 a character, as JSON's escapes have, and 64 KiB more."""
    return 6 * characters + 64 * 1024


def _proxy_header(text: str) -> tuple[str, str] | None:
    """Convert `X-Forwarded-Proto` or `X-Forwarded-Proto:https` to the form of Django."""
    name, _, value = text.partition(":")
    return (f"HTTP_{name.strip().upper().replace('-', '_')}", value.strip() or "https") if name.strip() else None


try:
    VAR_DIR = Path(env.str("VAR_DIR", str(_default_var_dir()))).resolve()
    HOST = env.str("HOST", "127.0.0.1")
    PORT = env.int("PORT", 8000)
    DEBUG = env.bool("DEBUG", False)
    DUMPABLE = env.bool("DUMPABLE", False)
    REDIS_URL = env.str("REDIS_URL", "")
    DATABASE_URL = env.str("DATABASE_URL", f"sqlite:///{VAR_DIR / 'db.sqlite3'}")
    DATABASE_TIMEOUT = env.float("DATABASE_TIMEOUT", 20)
    SECRET_KEY = env.str("SECRET_KEY", "")
    SECRET_KEY_FALLBACKS = _list("SECRET_KEY_FALLBACKS")
    ALLOWED_HOSTS = _hosts("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
    CSRF_TRUSTED_ORIGINS = _origins("CSRF_TRUSTED_ORIGINS")
    CORS_ALLOWED_ORIGINS = _origins("CORS_ALLOWED_ORIGINS")
    SECURE_PROXY_SSL_HEADER = _proxy_header(env.str("SECURE_PROXY_SSL_HEADER", ""))
    HTTPS = env.bool("HTTPS", SECURE_PROXY_SSL_HEADER is not None)
    HSTS_SECONDS = env.int("HSTS_SECONDS", 31_536_000 if HTTPS else 0)
    TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", 0)
    OPEN_TO = _list("OPEN_TO")  # who needs no sign-in behind TRUSTED_PROXIES: addresses, networks
    # Settings that make sense only if others than this machine's own programs come.
    SETTINGS_FOR_OTHERS = [
        name
        for name, is_for_others in {
            "TRUSTED_PROXIES": TRUSTED_PROXIES > 0,
            "SECURE_PROXY_SSL_HEADER": SECURE_PROXY_SSL_HEADER is not None,
            "HTTPS": HTTPS,
            "ALLOWED_HOSTS": not all(map(is_loopback, ALLOWED_HOSTS)),
            "CSRF_TRUSTED_ORIGINS": not all(map(is_loopback_origin, CSRF_TRUSTED_ORIGINS)),
            "CORS_ALLOWED_ORIGINS": not all(map(is_loopback_origin, CORS_ALLOWED_ORIGINS)),
        }.items()
        if is_for_others
    ]
    # No sign-in on a laptop, where only its own programs can connect.
    _is_laptop = DATABASE_URL.startswith("sqlite") and is_loopback(HOST) and not SETTINGS_FOR_OTHERS
    OPEN_TOKEN = env.str("OPEN_TOKEN", "optional")  # the token that a start prints, which signs in
    OPEN_TOKEN_REQUIRED = {"optional": False, "required": True}.get(OPEN_TOKEN)
    AUTH_REQUIRED = env.bool("AUTH_REQUIRED", not _is_laptop) or bool(OPEN_TOKEN_REQUIRED)
    WORKER_CONCURRENCY = env.int("WORKER_CONCURRENCY", 100)
    # Older data is deleted each day at PRUNE_AT, in UTC; 0 keeps it.
    EVENT_RETENTION_DAYS = env.int("EVENT_RETENTION_DAYS", 0)
    FILE_RETENTION_DAYS = env.int("FILE_RETENTION_DAYS", 0)
    RUN_RETENTION_DAYS = env.int("RUN_RETENTION_DAYS", 0)
    HISTORY_RETENTION_DAYS = env.int("HISTORY_RETENTION_DAYS", 0)
    KEEP_RUNS_PER_SESSION = env.int("KEEP_RUNS_PER_SESSION", 0)
    PRUNE_AT = env.time("PRUNE_AT", datetime.time(3))
    PROVIDER_PAUSE = env.float("PROVIDER_PAUSE", 15)  # seconds, at first, in which a failing provider is not asked
    LOCAL_MODEL_PATH = env.str("LOCAL_MODEL_PATH", "")
    # Limits; 0 is none. Without sign-in all callers look the same, so one could use up the limit of all.
    REQUESTS_PER_MINUTE = env.int("REQUESTS_PER_MINUTE", 6000 if AUTH_REQUIRED else 0)
    REQUESTS_PER_MINUTE_PER_ADDRESS = env.int("REQUESTS_PER_MINUTE_PER_ADDRESS", 12_000 if AUTH_REQUIRED else 0)
    LOGIN_FAILURES = env.int("LOGIN_FAILURES", 10)
    MAX_MESSAGE_CHARACTERS = env.int("MAX_MESSAGE_CHARACTERS", 100_000)
    _SMALLEST_BODY = _body_of(MAX_MESSAGE_CHARACTERS)
    MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", max(1024 * 1024, _SMALLEST_BODY))  # of a frame of a socket too
    CHAT_BODY_MAX_BYTES = env.int("CHAT_BODY_MAX_BYTES", max(20 * 1024 * 1024, MAX_BODY_BYTES))  # of OpenAI's API
    FILES_URL = env.str("FILES_URL", "")  # a folder that all instances share, or a bucket of S3
    CODE_PYTHON = env.str("CODE_PYTHON", "") or sys.executable
    FILES_MAX_BYTES = env.int("FILES_MAX_BYTES", 32 * 1024 * 1024)
    FILES_BYTES_PER_USER = env.int("FILES_BYTES_PER_USER", 1024**3 if AUTH_REQUIRED else 0)  # of uploads; 0 is no limit
    USER_AGENTS = env.bool("USER_AGENTS", True)  # whether users make agents of their own
    REQUEST_TIMEOUT = env.int("REQUEST_TIMEOUT", 60)  # seconds
    REQUEST_HEAD_TIMEOUT = env.int("REQUEST_HEAD_TIMEOUT", 15)  # seconds
    CHAT_RATE_PER_MINUTE = env.int("CHAT_RATE_PER_MINUTE", 60)
    FRAMES_PER_MINUTE = env.int("FRAMES_PER_MINUTE", 600)
    SOCKETS_PER_PROCESS = env.int("SOCKETS_PER_PROCESS", 10_000)
    SOCKETS_PER_USER = env.int("SOCKETS_PER_USER", 1000 if AUTH_REQUIRED else 0)
    CONNECTIONS_PER_PROCESS = env.int(
        "CONNECTIONS_PER_PROCESS", SOCKETS_PER_PROCESS + 2000 if SOCKETS_PER_PROCESS else 0
    )
    # Behind our proxies all connections have their addresses.
    CONNECTIONS_PER_ADDRESS = env.int("CONNECTIONS_PER_ADDRESS", 1000 if AUTH_REQUIRED and not TRUSTED_PROXIES else 0)
    QUEUED_RUNS = env.int("QUEUED_RUNS", 10_000)
    QUEUED_RUNS_PER_USER = env.int("QUEUED_RUNS_PER_USER", 1000 if AUTH_REQUIRED else 0)
    RUNNING_RUNS_PER_USER = env.int("RUNNING_RUNS_PER_USER", 0)  # at a time; 0 is no limit
    USERS_HIGHEST_PRIORITY = env.int("USERS_HIGHEST_PRIORITY", 0)  # that a user who is no administrator may set
    TASKS_PER_USER = env.int("TASKS_PER_USER", 100)  # administrators have no limit
    TOKENS_PER_USER_PER_DAY = env.int("TOKENS_PER_USER_PER_DAY", 0)
    FETCH_ALLOW_PRIVATE = env.bool("FETCH_ALLOW_PRIVATE", False)
    CONFIG_DIR = env.str("CONFIG_DIR", "")
    CONFIG_WATCH = env.bool("CONFIG_WATCH", True)
    LOG_LEVEL = env.log_level("LOG_LEVEL", logging.INFO)
    LOG_FORMAT = env.str("LOG_FORMAT", "text")
    METRICS_TOKEN = env.str("METRICS_TOKEN", "")
    METRICS_HOST = env.str("METRICS_HOST", "127.0.0.1")  # of a worker, which listens only if METRICS_PORT is set
    METRICS_PORT = env.int("METRICS_PORT", 0)
except EnvError as error:
    raise ImproperlyConfigured(str(error)) from None

# Embedded: one process does everything. Otherwise web and worker processes share PostgreSQL and Redis.
EMBEDDED = DATABASE_URL.startswith("sqlite")
if EMBEDDED and REDIS_URL:
    raise ImproperlyConfigured(
        "REDIS_URL is set, but the database is SQLite, which only one process can use. For many instances set "
        "DATABASE_URL to a PostgreSQL database too; for one, leave REDIS_URL unset."
    )
if not EMBEDDED and not DATABASE_URL.startswith(("postgres://", "postgresql://")):
    raise ImproperlyConfigured("DATABASE_URL must begin with sqlite:// or postgresql://.")
if not EMBEDDED and not REDIS_URL:
    raise ImproperlyConfigured(
        "DATABASE_URL is PostgreSQL, so workers and web processes are separate: set REDIS_URL to connect them."
    )
if not EMBEDDED and not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY is not set: set one secret key for all instances.")
if OPEN_TOKEN_REQUIRED is None:
    raise ImproperlyConfigured(f"OPEN_TOKEN must be 'optional' or 'required', not {OPEN_TOKEN!r}.")
if OPEN_TOKEN_REQUIRED and not _is_laptop:
    raise ImproperlyConfigured(
        "OPEN_TOKEN is 'required', which is for a server of this machine alone: with SQLite, a loopback HOST, and none "
        "of the settings that say that others come. Unset it, and AUTH_REQUIRED is on."
    )
for _text in OPEN_TO:
    if not is_network(_text):
        raise ImproperlyConfigured(f"OPEN_TO has {_text!r}, which is neither an address nor a network.")
if not AUTH_REQUIRED and SETTINGS_FOR_OTHERS and not OPEN_TO:
    raise ImproperlyConfigured(
        f"AUTH_REQUIRED is false, but {', '.join(SETTINGS_FOR_OTHERS)} says that others than this machine's own "
        "programs come, and each would be an administrator. Set AUTH_REQUIRED=true, or name the addresses or networks "
        "that need no sign-in: OPEN_TO=127.0.0.1."
    )
if SECRET_KEY and len(SECRET_KEY) < SHORTEST_KEY:
    raise ImproperlyConfigured(
        f"SECRET_KEY has {len(SECRET_KEY)} characters, which can be guessed: set {SHORTEST_KEY} or more, as "
        "`python -c 'import secrets; print(secrets.token_urlsafe(40))'` prints, and the old one as "
        "SECRET_KEY_FALLBACKS until `manage.py rotate_secrets` has run."
    )
if WORKER_CONCURRENCY < 1:
    raise ImproperlyConfigured("WORKER_CONCURRENCY must be 1 or more: it is the number of runs at a time.")
if not 1 <= MAX_MESSAGE_CHARACTERS <= LONGEST_MESSAGE:
    raise ImproperlyConfigured(
        f"MAX_MESSAGE_CHARACTERS must be 1 to {LONGEST_MESSAGE:,}, not {MAX_MESSAGE_CHARACTERS:,}."
    )
if not _SMALLEST_BODY <= MAX_BODY_BYTES <= LARGEST_BODY:
    raise ImproperlyConfigured(
        f"MAX_BODY_BYTES must be {_SMALLEST_BODY:,} to {LARGEST_BODY:,}, not {MAX_BODY_BYTES:,}: a message of "
        f"{MAX_MESSAGE_CHARACTERS:,} characters (MAX_MESSAGE_CHARACTERS) must fit in."
    )
if not MAX_BODY_BYTES <= CHAT_BODY_MAX_BYTES <= LARGEST_FILE:
    raise ImproperlyConfigured(
        f"CHAT_BODY_MAX_BYTES must be {MAX_BODY_BYTES:,} (MAX_BODY_BYTES) to {LARGEST_FILE:,}, not "
        f"{CHAT_BODY_MAX_BYTES:,}."
    )
if FILES_URL and not re.fullmatch(_FILES_URL, FILES_URL):
    raise ImproperlyConfigured(
        f"FILES_URL must be file:///FOLDER or s3://BUCKET/PREFIX?endpoint=URL&region=NAME, not {FILES_URL!r}."
    )
if not 1 <= FILES_MAX_BYTES <= LARGEST_FILE:
    raise ImproperlyConfigured(f"FILES_MAX_BYTES must be 1 to {LARGEST_FILE:,}, not {FILES_MAX_BYTES:,}.")
if not 0 < PROVIDER_PAUSE <= LONGEST_PAUSE:
    raise ImproperlyConfigured(f"PROVIDER_PAUSE must be more than 0 and up to {LONGEST_PAUSE}, not {PROVIDER_PAUSE:g}.")
if LOG_FORMAT not in ("text", "json"):
    raise ImproperlyConfigured(f"LOG_FORMAT must be 'text' or 'json', not {LOG_FORMAT!r}.")

VAR_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
SECRET_KEY = SECRET_KEY or _secret_key(VAR_DIR)

INSTALLED_APPS = [
    "daphne",
    "agents_app",  # before the admin, because it replaces some of its templates
    "django.contrib.admin.apps.SimpleAdminConfig",  # the addresses load its pages: a start does not wait for them
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "chat_app",
]

MIDDLEWARE = [
    "agents_app.server.middleware.OriginMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "agents_app.server.static_files.StaticFilesMiddleware",
    "chat_app.pages.request_rate.RequestRateMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "scheduler_project.urls"
ASGI_APPLICATION = "scheduler_project.asgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": dj_database_url.parse(DATABASE_URL)}
if EMBEDDED:
    DATABASES["default"]["ENGINE"] = "agents_app.database.sqlite"
    # Tests use a file, not memory: the log has its own threads and connections.
    DATABASES["default"]["TEST"] = {"NAME": str(VAR_DIR / "test.sqlite3")}
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": DATABASE_TIMEOUT,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=4000;",
    }
else:
    from agents_app.database.postgres_connections import Connection  # not where psycopg is not needed

    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,
        # A process that hangs in a transaction keeps its locks; it must lose them before a lease of 10 s ends.
        # `manage.py migrate` and `import` lift this: they may compute for longer between two statements.
        "options": f"-c lock_timeout={DATABASE_TIMEOUT * 1000:.0f} -c idle_in_transaction_session_timeout=5000",
        # With a longer timeout, a pool that lost its database retries ever more slowly.
        "pool": {
            "min_size": 0,
            "max_size": 20,
            "timeout": 3,
            "reconnect_timeout": 2,
            "connection_class": Connection,
        },
    }
    INSTALLED_APPS.insert(INSTALLED_APPS.index("agents_app"), "procrastinate.contrib.django")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

if REDIS_URL:
    # This layer never queues messages in Redis, so nothing there expires or fills up.
    _redis = {
        "address": REDIS_URL,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 15,
    }
    CHANNEL_LAYERS = {
        "default": {"BACKEND": "agents_app.live.redis_layer.SignedRedisLayer", "CONFIG": {"hosts": [_redis]}}
    }
else:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            "CONFIG": {"capacity": 1000, "group_expiry": 10 * 365 * 86400},
        }
    }
# Counters of limits: in Redis, or in this process if there is no Redis or it does not answer.
_local_counters = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 100_000}}
CACHES = {"default": _local_counters, "local": _local_counters | {"LOCATION": "local"}}
REDIS_CACHE_OPTIONS = {
    "serializer": "agents_app.access.shared_cache.JSONSerializer",
    "socket_connect_timeout": 0.5,
    "socket_timeout": 0.5,
}
if REDIS_URL:
    CACHES["default"] = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "aintandem",
        "OPTIONS": REDIS_CACHE_OPTIONS,
    }
# Number of channel-layer groups for sessions: one message per flush is cheapest, until there are many web processes.
LIVE_BUCKETS = 2 if REDIS_URL else 1

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = DEBUG

DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = HSTS_SECONDS
# We cannot promise that other subdomains are served over HTTPS only.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
X_FRAME_OPTIONS = "DENY"
SESSION_ENGINE = "agents_app.access.browser_sessions"
# Browsers send the cookies of 127.0.0.1 to all its ports: of two such servers neither overwrites the other's.
SESSION_COOKIE_NAME = "sessionid" if AUTH_REQUIRED and not OPEN_TOKEN_REQUIRED else f"sessionid_{PORT}"
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "chat_app.pages.errors.csrf_failure"
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/chat/"
LOGOUT_REDIRECT_URL = LOGIN_URL
AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["agents_app.api.authentication.CallerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "agents_app.api.pagination.ListPagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "agents_app.api.errors.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
# knox stores API tokens as hashes. Each token has its own time of expiry.
KNOX_TOKEN_MODEL = "agents_app.ApiToken"  # noqa: S105
MIGRATION_MODULES = {"knox": None}  # otherwise its own table is created too, and blocks a flush
REST_KNOX = {"TOKEN_PREFIX": "aintandem_", "TOKEN_TTL": None}
SPECTACULAR_SETTINGS = {
    "TITLE": PRODUCT_NAME,
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "agents_app.api.schema.add_errors",
        "chat_app.openai_api.schema.add_openai",
        "agents_app.api.examples.add_summaries",
    ],
    "ENUM_NAME_OVERRIDES": {
        "RunStatusEnum": "agents_app.models.runs.Run.Status",
        "ApprovalStatusEnum": "agents_app.models.approvals.Approval.Status",
        "BudgetScopeEnum": "agents_app.models.budgets.Budget.Scope",
        "ServerScopeEnum": "agents_app.models.mcp_servers.Scope",
        "TokenScopeEnum": "agents_app.models.tokens.ApiToken.Scope",
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {
            "()": "agents_app.observability.log_format.TextFormatter",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        },
        "json": {"()": "agents_app.observability.log_format.JSONFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "daphne": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
        "opentelemetry": {"level": "ERROR"},  # one line about an unavailable collector is enough, not one per attempt
        "mcp": {"level": "WARNING"},
        "procrastinate": {"level": "WARNING"},
        "psycopg.pool": {"level": "ERROR"},  # callers report an unavailable database more clearly
        # A 4xx is the client's error, not an event for the operator.
        "django.request": {"level": "ERROR"},
    },
}
