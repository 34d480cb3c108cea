"""Two instances get the first messages of a session at the same moment."""

import pytest

from agents_app import runs
from agents_app.models import Agent, Provider, Session
from agents_app.runs import sessions

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


@pytest.fixture
def agent():
    provider = Provider.objects.create(name="p", base_url="http://127.0.0.1:9/v1")
    return Agent.objects.create(name="helper", provider=provider, model="m", system_prompt="")


@pytest.mark.parametrize("looks", [1, 2], ids=["before the look by id", "before the insert"])
def test_a_session_that_appears_during_a_start_is_used(admin_user, agent, monkeypatch, looks):
    """As another instance commits it between two statements of this one's transaction."""
    own, resolve = sessions._OWN, Session.objects.resolve
    seen = []

    def appear():
        seen.append(None)
        if len(seen) == looks:
            Session.objects.create(name="s", owner=admin_user)

    class Own:
        def first(self, **parameters):
            session = own.first(**parameters)
            if session is None:
                appear()
            return session

    def resolve_then_appear(user, session_id):
        session = resolve(user, session_id)
        if session is None:
            appear()
        return session

    monkeypatch.setattr(sessions, "_OWN", Own())
    monkeypatch.setattr(Session.objects, "resolve", resolve_then_appear, raising=False)
    run = runs.start(runs.NewRun(user=admin_user, session_id="s", message="hi", trigger="api", agent_name="helper")).run
    assert run.session == Session.objects.get(name="s", owner=admin_user)
