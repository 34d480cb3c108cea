"""How callers name an agent: `name`, or `name@3` for one of its versions."""

import uuid
from typing import Any, NamedTuple

from agents_app.exceptions import AgentNotFound
from agents_app.models import agent_drafts
from agents_app.models.agent_versions import id_of
from agents_app.models.agents import Agent, enabled_agents

_MOST_DIGITS = 9
LONGEST = 64 + len("@") + _MOST_DIGITS


class AgentReference(NamedTuple):
    """The name of an agent, and the number of the version; None for the present one."""

    name: str
    number: int | None
    is_draft: bool = False


class NamedAgent(NamedTuple):
    """An agent, and the id of the version that the caller named; None for the present one."""

    agent: Agent
    version_id: uuid.UUID | None


def parse(text: str) -> AgentReference:
    """Return what the text names. If no number follows the '@', all of it counts as a name, which no agent has."""
    name, _, digits = text.rpartition("@")
    if name and digits == agent_drafts.SUFFIX:
        return AgentReference(name, None, is_draft=True)
    if name and digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS:
        return AgentReference(name, int(digits))
    return AgentReference(text, None)


def find_enabled(user: Any, text: str, *, allows_draft: bool = False) -> NamedAgent:
    """Return the agent that the text names, if it is enabled and the user may use it.

    `allows_draft`: the text may be `name@draft`, the user's own draft.

    Raises:
        AgentNotFound: there is none, or not that version of it.
    """
    name, number, is_draft = parse(text)
    agent = enabled_agents(user).named.first(user=user.pk, name=name) if "\x00" not in name else None
    if agent is None:
        raise AgentNotFound(f"There is no enabled agent {name[:100]!r}.")
    if is_draft and allows_draft:
        draft_id = agent_drafts.id_of(agent, user)
        if draft_id is None:
            raise AgentNotFound(f"You have no draft of the agent {name[:100]!r}.")
        return NamedAgent(agent, draft_id)
    if is_draft:
        raise AgentNotFound("A draft of an agent is for trying it: save the agent first.")
    if number is None:
        return NamedAgent(agent, None)
    version_id = id_of(agent, number)
    if version_id is None:
        raise AgentNotFound(f"The agent {name[:100]!r} has no version {number}.")
    return NamedAgent(agent, version_id)
