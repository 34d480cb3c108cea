"""What an agent, or an MCP server, may do and reach: its security policy, in one place.

Each rule has a topic. `tests/access/test_policies.py` names the test that shows that the topic is enforced.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Q

from agents_app.models import Agent, Budget, McpServer

TASK_TOOLS = ("create_task", "update_task", "enable_task", "disable_task", "delete_task", "run_task")
_OF_SANDBOX = {
    "strict": "Its command sees the system's programs and its own folder, and reaches no network.",
    "network": "Its command sees the system's programs and its own folder, and reaches the internet through a filter, "
    "never this machine or private networks.",
    "none": "Its command runs without a sandbox: it reads and reaches what the server's system user can.",
}
_OF_SCOPE = {
    "shared": "All users share one connection, and what the server remembers in it.",
    "user": "Each user has a connection of their own: the server remembers nothing of one user for another.",
    "session": "Each session has a connection of its own: the server remembers nothing from one to another.",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a policy. `server`: the MCP server that it is about; empty if it is about the agent."""

    topic: str
    text: str
    server: str = ""


# What users who have the server in an agent of theirs may know of it.
_OF_USERS = {"server", "sandbox", "network", "scope", "users"}


def of_agent(agent: Agent, user: Any) -> list[Rule]:
    """Return what the agent may do, and within which bounds, as far as `user` may know it."""
    servers = list(agent.mcp_servers.all())
    return [*_who(agent), *_models(agent), *_tools(agent, servers), *_bounds(agent, user), *_servers(servers, user)]


def _who(agent: Agent) -> Iterator[Rule]:
    if agent.access == Agent.Access.PUBLIC:
        yield Rule("users", "Everybody with an account may use it.")
        return
    names = [f"its owner {agent.owner}"] if agent.owner else []
    names += [f"user {user}" for user in agent.allowed_users.all()]
    names += [f"group {group}" for group in agent.allowed_groups.all()]
    yield Rule("users", f"Administrators and {_listed(names) or 'nobody else'} may use it.")


def _models(agent: Agent) -> Iterator[Rule]:
    if agent.provider is None:
        return
    yield Rule("model", f"Conversations are sent to {_model(agent.provider.name, agent.model)}.")
    fallbacks = [_model((each.provider or agent.provider).name, each.model) for each in agent.fallback_models.all()]
    if fallbacks:
        yield Rule("model", f"If that fails, they are sent to {_listed(fallbacks)}.")


def _model(provider: str, model: str) -> str:
    return f"the model {model!r} of the provider {provider!r}" if model else f"the default model of {provider!r}"


def _tools(agent: Agent, servers: list[McpServer]) -> Iterator[Rule]:
    tools = set(agent.builtin_tools)
    names = [*sorted(tools), *(f"those of the MCP server {server.name!r}" for server in servers)]
    yield Rule("tools", f"Its tools are {_listed(names)}." if names else "It has no tools of its own.")
    if agent.allowed_tools:
        yield Rule("tools", f"Of these it calls only what matches {_quoted(agent.allowed_tools)}.")
    if agent.denied_tools:
        yield Rule("tools", f"It never calls what matches {_quoted(agent.denied_tools)}.")
    if names:
        if agent.approval_required:
            what = f"what matches {_quoted(agent.approval_required)}, within {agent.approval_timeout:,} seconds"
            yield Rule("approval", f"A person must approve each call of {what}.")
        else:
            yield Rule("approval", "It calls its tools without asking anybody.")
    if agent.client_tools:
        called = [repr(tool["name"]) for tool in agent.client_tools]
        yield Rule("client_tools", f"The calling program executes {_listed(called)}: nothing of it runs here.")
    if "fetch_url" in tools:
        private = "and private networks" if settings.FETCH_ALLOW_PRIVATE else "never of private networks"
        yield Rule("internet", f"fetch_url reads pages of the internet, {private}.")
    if "run_code" in tools:
        yield Rule("code", "run_code executes Python in a sandbox: no network, no files but those of the same chat.")
    if tools & {"read_file", "give_file"}:
        yield Rule("files", "It reads and makes files of the user who talks to it, and of nobody else.")
    if "ask_agent" in tools:
        yield Rule("agents", "It may ask each agent that the user who talks to it may use.")
    if tools & set(TASK_TOOLS):
        yield Rule("tasks", "It may change and start the tasks of the user who talks to it.")


def _bounds(agent: Agent, user: Any) -> Iterator[Rule]:
    bounds = [f"{agent.max_iterations:,} turns of the model", f"{agent.timeout:,} seconds of work"]
    if agent.max_total_tokens:
        bounds.append(f"{agent.max_total_tokens:,} tokens")
    yield Rule("limits", f"A run ends after {_listed(bounds, last='or')}.")
    if agent.max_running:
        yield Rule("limits", f"Runs in progress at a time: {agent.max_running:,}.")
    scopes = Q(scope=Budget.Scope.SERVER) | Q(agent=agent)
    for budget in Budget.objects.visible_to(user).filter(scopes, enabled=True):
        amounts = [f"{budget.amount.normalize():f} US dollars"] if budget.amount is not None else []
        amounts += [f"{budget.tokens:,} tokens"] if budget.tokens is not None else []
        period = {"day": "a day", "month": "a month", "total": "in all"}[budget.period]
        verb = {"stop": "stops", "warn": "only warns", "ask": "asks a person"}[budget.action]
        yield Rule("budget", f"The budget {budget.name!r} {verb} at {_listed(amounts, last='or')} {period}.")


def _servers(servers: Iterable[McpServer], user: Any) -> Iterator[Rule]:
    for server in servers:
        yield from (rule for rule in of_server(server) if user.is_superuser or rule.topic in _OF_USERS)


def of_server(server: McpServer) -> list[Rule]:
    """Return what the server may reach, and who may reach it. Its command line and address are not in it."""
    rules = [("server", "It is disabled: no agent has its tools.")] if not server.enabled else []
    if server.transport == McpServer.Transport.STDIO:
        rules.append(("sandbox", _OF_SANDBOX[server.sandbox]))
        if server.sandbox == "network" and server.allowed_hosts:
            rules.append(("hosts", f"Of the network it reaches only {_listed(server.allowed_hosts)}."))
        if server.sandbox != "none" and server.folders:
            shown = [f"{each['path']}{'' if each.get('write') else ' (to read)'}" for each in server.folders]
            rules.append(("folders", f"It also sees {_listed(shown)}."))
        rules += [("resources", text) for text in _resources(server)]
    else:
        rules.append(("network", "It is a server elsewhere: calls with their arguments are sent to it."))
    rules.append(("scope", _OF_SCOPE[server.scope]))
    if server.allowed_tools:
        rules.append(("tools", f"Of its tools only those are called that match {_quoted(server.allowed_tools)}."))
    if server.denied_tools:
        rules.append(("tools", f"Of its tools those are never called that match {_quoted(server.denied_tools)}."))
    opened = "Users may give" if server.open_to_users else "Only administrators give"
    rules.append(("users", f"{opened} its tools to agents."))
    return [Rule(topic, text, server.name) for topic, text in rules]


def _resources(server: McpServer) -> Iterator[str]:
    limits = {
        "MiB of memory": server.max_memory_mb,
        "seconds of CPU": server.max_cpu_seconds,
        "processes": server.max_processes,
        "open files": server.max_open_files,
    }
    if set_ones := [f"{limit:,} {unit}" for unit, limit in limits.items() if limit]:
        yield f"Each of its processes has at most {_listed(set_ones)}."


def _quoted(patterns: Iterable[str]) -> str:
    return _listed([repr(pattern) for pattern in patterns], last="or")


def _listed(words: Iterable[str], *, last: str = "and") -> str:
    *first, end = list(words) or [""]
    return f"{', '.join(first)} {last} {end}" if first else end
