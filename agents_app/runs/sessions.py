"""The session of a run: found or made, and locked until the run is written."""

from typing import Any

from agents_app import event_log
from agents_app.database.prepared import Parameter, Prepared, insert
from agents_app.exceptions import SessionNotFound
from agents_app.models import Session
from agents_app.models.sessions import make_session_id

_OWN = Prepared(
    lambda: Session.objects.select_for_update(of=("self",)).filter(owner=Parameter("user"), name=Parameter("name"))
)
_BY_ID = Prepared(lambda: Session.objects.select_for_update(of=("self",)).filter(pk=Parameter("pk")))


def open_session(user: Any, session_id: str, *, new_id: str | None = None, is_new: bool = False) -> Session:
    """Return the session that `user` means, locked. If there is none, create one of that name, which `user` owns.

    `new_id`: the id of a session that is created. `is_new`: the name was made up a moment ago.

    Raises:
        SessionNotFound: `session_id` is the id of somebody else's.
    """
    if not is_new:
        if own := _OWN.first(user=user.pk, name=session_id):
            return own
        # By its own id: if another transaction has created it since the look above, `session_id` is its name.
        if named := Session.objects.resolve(user, session_id):
            return lock_session(user, named.pk)
    created = Session(pk=new_id or make_session_id(), owner=user, name=session_id)
    if not insert(created, ignore_conflicts=True):
        own = _OWN.first(user=user.pk, name=session_id)
        if own is None:
            raise SessionNotFound("There is no such session.")
        return own
    if not is_new:
        event_log.announce(created)
    return created


def lock_session(user: Any, session_id: str) -> Session:
    """Return the session of that id, locked.

    Raises:
        SessionNotFound: there is none that the user may use.
    """
    session = _BY_ID.first(pk=session_id)
    if session is None or not session.is_visible_to(user):
        raise SessionNotFound("There is no such session.")
    return session
