"""What a run is started with, whatever the door."""

import datetime
import re
from dataclasses import dataclass
from typing import Any, Literal

from agents_app.access import limits
from agents_app.exceptions import InvalidRequest
from agents_app.files.parts import StoredPart
from agents_app.models import Run, ScheduledTask
from agents_app.models.overrides import NO_OVERRIDES, Overrides
from agents_app.models.sessions import SESSION_ID, SESSION_ID_RULE
from agents_app.runs.messages import LONGEST_MESSAGE_ID, validate_message

IfBusy = Literal["enqueue", "reject", "interrupt", "steer"]


@dataclass(frozen=True, slots=True)
class Due:
    """A task that starts a run: for the moment `at`, or by hand. `retry` counts the repetitions after a failure.

    A task starts one run for each moment and retry: the INSERT of a second one breaks `run_once_per_due_moment`.
    """

    task: ScheduledTask
    at: datetime.datetime | None = None
    retry: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run to be started.

    Attributes:
        user: who starts it, and owns a session that it creates.
        message: its text.
        parts: the texts and files of a message that has files, as `files.parts` returned them.
        trigger: the door, a `Run.Trigger`.
        session_id: a session as the user names it. It is created if there is none; if this is left out, too.
        existing_session: instead, the id of one that must exist.
        new_session_id: the id of the one that is created.
        agent_name: `name`, or `name@3` for a version of it. None: that of the session, or the default one.
        enable_reasoning: whether the steps are in the log too, and not the answer alone.
        message_id: the same one starts one run only.
        if_busy: what to do if a run of the session is in progress. With "steer", that run takes the message, and is
            returned; if it ends first, the message is the next run.
        parent: the run whose agent asks another one.
        due: the task that starts it, and the moment.
        overrides: for this run alone. They reach no further than the agent's own limits, unless the user is an
            administrator.
        follows: the number of the run that it continues, instead of the one at the end of the session's path.
        replaces: the run of which it is another version.
        metadata: that of the session from now on, as `validate_metadata` lets pass. None leaves it as it is.
        priority: as `limits.check_priority` lets pass.
    """

    user: Any
    message: str
    trigger: str
    parts: list[StoredPart] | None = None
    session_id: str | None = None
    existing_session: str | None = None
    new_session_id: str | None = None
    agent_name: str | None = None
    enable_reasoning: bool = True
    message_id: str | None = None
    if_busy: IfBusy = "enqueue"
    parent: Run | None = None
    due: Due | None = None
    overrides: Overrides = NO_OVERRIDES
    follows: int | None = None
    replaces: Run | None = None
    metadata: dict[str, str] | None = None
    priority: int = 0

    def check(self) -> None:
        """Check what needs no lock.

        Raises:
            InvalidRequest: names the field.
        """
        validate_message(self.message, has_files=bool(self.parts) or self.overrides.end_with_results)
        if self.message_id and (len(self.message_id) > LONGEST_MESSAGE_ID or "\x00" in self.message_id):
            raise InvalidRequest(f"'message_id' is longer than {LONGEST_MESSAGE_ID} characters.", param="message_id")
        if self.session_id is not None and not re.match(SESSION_ID, self.session_id):
            raise InvalidRequest(f"'session_id' {SESSION_ID_RULE}.", param="session_id")
        limits.check_priority(self.user, self.priority)
