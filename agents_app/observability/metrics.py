"""The metrics of this process, each with what it means. `server/prometheus.py` adds those of the database.

Labels are few and their values fixed: never a session, a run, a user or a name that somebody can choose.
"""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()

_PREFIX = "aintandem"
_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, namespace=_PREFIX)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, namespace=_PREFIX)


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...] = _SLOW) -> Histogram:
    return Histogram(name, text, labels, namespace=_PREFIX, buckets=buckets)


BUILD = _gauge("build_info", "1, with the version that runs.", "version")

# Requests and sockets
REQUESTS = _counter("http_requests", "HTTP requests, by the first digit of the status.", "method", "status")
REQUEST_SECONDS = _histogram("http_request_seconds", "From a request to the head of its response.")
SOCKETS = _gauge("sockets", "Open WebSockets of this process.")
SOCKETS_REFUSED = _counter("sockets_refused", "WebSockets that were refused, by close code.", "code")
SLOW_WATCHERS = _counter(
    "slow_watchers",
    "Watchers that could not keep up: they read the log again (reread) or were closed with 4409 (closed).",
    "outcome",
)

# The log, and the live path
FLUSH_SECONDS = _histogram("flush_seconds", "One transaction of the event log.", buckets=_QUICK)
FLUSH_EVENTS = _histogram("flush_events", "Events in one transaction of the event log.", buckets=_ROWS)
TOKEN_AGE = _histogram(
    "token_age_seconds",
    "Age of the oldest event of a flush when it is published.",
    buckets=_QUICK,
)
LOG_LAG = _gauge("log_lag_seconds", "Age of the oldest event that waits to be written; 0 if none does.")
GAPS = _counter("gaps", "Gaps in the numbers of a session's log: events were lost. Must stay 0.")
BATCHES_LOST = _counter("carriers_lost", "Times that watchers had to read from the log what did not reach them live.")
REDIS_ERRORS = _counter("redis_errors", "Errors of the channel layer and of the counters.", "operation")
MESSAGES_DROPPED = _counter(
    "messages_dropped", "Messages between processes that were not signed with SECRET_KEY. Must stay 0."
)
DATABASE_ERRORS = _counter("database_errors", "Errors of the database, by part of the server.", "operation")

# Runs
RUNS_STARTED = _counter("runs_started", "Runs that were accepted.", "trigger")
RUNS_FINISHED = _counter("runs_finished", "Runs that ended.", "status")
BUDGETS_REACHED = _counter("budgets_reached", "Turns of the model that a budget had no room for.", "action")
RUNS_EXECUTING = _gauge("worker_runs", "Runs that this process executes.")
WORKER_CAPACITY = _gauge("worker_capacity", "Runs that this process would execute at a time.")
PICK_UP = _histogram("pick_up_seconds", "From a run's acceptance to a worker's first claim of it.")
FIRST_TOKEN = _histogram(
    "first_token_seconds", "From a run's acceptance to its first token, for runs that one worker executed."
)
RUN_SECONDS = _histogram("run_seconds", "From a run's acceptance to its end.")
CANCEL_SECONDS = _histogram("cancel_seconds", "From the request to stop a running run to its end.")
RUNS_RESUMED = _counter(
    "runs_resumed", "Claims after a run's first: its worker died or stopped, or it waited for a person."
)

# Models and tools
MODEL_CALLS = _counter(
    "model_calls",
    "Requests to models: ok, retried (failed and tried again), failed or cancelled.",
    "provider_kind",
    "outcome",
)
MODEL_SECONDS = _histogram("model_call_seconds", "One request to a model, to the end of its response.", "provider_kind")
MODEL_FIRST_PART = _histogram(
    "model_first_part_seconds", "From a request to a model to its first text.", "provider_kind"
)
MODEL_FALLBACKS = _counter(
    "model_fallbacks", "Times that an agent's next model was asked, by why the one before was not used.", "reason"
)
CIRCUITS = _counter(
    "circuits",
    "Times that a provider was put aside because it failed repeatedly (open), or used again (closed).",
    "state",
)
TOKENS = _counter("tokens", "Tokens, as the providers report them; reasoning is a part of output.", "direction")
COST = _counter("cost_usd", "What finished runs cost by the price list, in US dollars.")
TOOL_CALLS = _counter(
    "tool_calls", "Calls of tools, built in or of MCP servers: ok, error, timeout or cancelled.", "source", "outcome"
)
TOOL_SECONDS = _histogram("tool_call_seconds", "One call of a tool.", "source")
MCP_CONNECTIONS = _counter("mcp_connections", "Attempts to connect to MCP servers.", "outcome")

# Schedules
SCHEDULE_LATENESS = _histogram("schedule_lateness_seconds", "From the moment at which a task was due until it fired.")
SCHEDULE_FIRES = _counter("schedule_fires", "Runs that schedules started.")
SCHEDULE_SKIPS = _counter("schedule_skips", "Moments at which a task did not run.", "reason")
WEBHOOKS = _counter("webhook_deliveries", "Attempts to deliver a webhook: delivered, retried or failed.", "outcome")


# Start at 0 what has not happened yet: otherwise Prometheus would miss the first time.
for _state in ("open", "closed"):
    CIRCUITS.labels(_state)
for _operation in ("publish", "listen", "count"):
    REDIS_ERRORS.labels(_operation)
for _outcome in ("reread", "closed"):
    SLOW_WATCHERS.labels(_outcome)
for _status in ("completed", "failed", "cancelled"):
    RUNS_FINISHED.labels(_status)


def watch_log_lag(lag: Callable[[], float]) -> None:
    """Read the log's lag from its writer at each scrape."""
    LOG_LAG.set_function(lag)


def between(since: float, until: float) -> float:
    """Return the seconds between the times of two clocks, at least 0: the second may be behind the first."""
    return max(0.0, until - since)
