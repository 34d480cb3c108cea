"""Every error that we raise on purpose.

AgentError                  something a caller should be told, in one sentence
├── InvalidRequest          the caller sent something wrong; `param` names the field
│   ├── InvalidMessage      … in a frame of the socket
│   └── FileTooLarge        … a file over the limits of size
├── NotFound                not there, or not theirs: from outside these look the same
│   ├── AgentNotFound       unknown or disabled agent
│   └── SessionNotFound     unknown session, or somebody else's
├── Conflict                the thing's present state forbids it
│   ├── SessionBusy         a run is going on and the caller asked not to wait
│   ├── InUse               cannot be deleted: something refers to it
│   └── AlreadyAnswered     an approval that somebody else has given, or refused
├── AuthenticationExpired   the access of a connected caller has ended: token revoked, user signed out
├── RateLimited             too fast; `retry_after` seconds
│   └── BudgetReached           … or a budget that stops runs has nothing left
├── StorageUnavailable      the database refused a write (full disk, lock that lasts)
├── ServerUnavailable       an MCP server cannot be used just now
├── RunFailed               ends a run; `code` is for programs, the text for people
│   ├── ModelError          the model's server refused or answered nonsense
│   │   └── ModelUnavailable    worth a retry: dropped, overloaded, rate limited, cut off
│   └── LimitReached        iterations, time, tokens or characters
└── Fenced                  another worker owns the run now: stop, write nothing
"""


class AgentError(Exception):
    """Something a caller should be told. `code` is for programs, `str()` one sentence for people."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code or self.code


class InvalidRequest(AgentError):
    """The caller sent something wrong. `param` names the field."""

    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.param = param


class InvalidMessage(InvalidRequest):
    """A frame of the socket that we cannot take."""

    code = "invalid_message"


class FileTooLarge(InvalidRequest):
    """A file is larger than the server, or than its owner's quota, allows."""

    code = "file_too_large"


class NotFound(AgentError):
    """Not there, or not the caller's."""

    code = "not_found"


class AgentNotFound(NotFound):
    """No enabled agent of that name."""

    code = "agent_not_found"


class SessionNotFound(NotFound):
    """No session of that id that the caller may see."""

    code = "session_not_found"


class Conflict(AgentError):
    """The present state of the thing forbids it."""

    code = "conflict"


class SessionBusy(Conflict):
    """A run is going on, and the caller asked not to wait for it."""

    code = "session_busy"


class InUse(Conflict):
    """Cannot be deleted: something refers to it."""

    code = "in_use"


class AlreadyAnswered(Conflict):
    """Somebody has approved or denied the call already, or it is too late."""

    code = "already_answered"


class AuthenticationExpired(AgentError):
    """The access of a connected caller has ended."""

    code = "not_authenticated"


class RateLimited(AgentError):
    """Too fast. `retry_after`: seconds."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BudgetReached(RateLimited):
    """A budget that stops runs has nothing left. `retry_after`: seconds until it resets."""

    code = "budget_reached"


class StorageUnavailable(AgentError):
    """The database refused a write: a full disk, or a lock that lasts."""

    code = "storage_unavailable"


class ServerUnavailable(AgentError):
    """An MCP server cannot be used just now; the text says why."""

    code = "server_unavailable"


class RunFailed(AgentError):
    """Ends a run."""

    code = "run_failed"


class ModelError(RunFailed):
    """The model's server refused the request, or its answer made no sense."""

    code = "model_error"


class ModelUnavailable(ModelError):
    """Worth another try. `retry_after`: seconds that the server asked us to wait, or None."""

    code = "model_unavailable"

    def __init__(self, message: str, *, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class LimitReached(RunFailed):
    """The run used up its iterations, time, tokens or characters."""

    code = "limit_reached"


class Fenced(AgentError):
    """Another worker owns the run now. Stop, and write nothing."""

    code = "fenced"
