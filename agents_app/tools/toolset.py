"""The tools of one run: built-in ones, those of MCP servers, and those that act on this server."""

import functools

from django.conf import settings
from django.utils.crypto import salted_hmac

from agents_app.engine import client_tools, mcp
from agents_app.engine.builtin_tools import builtin_tools
from agents_app.engine.spec import AgentSpec
from agents_app.engine.toolset import Toolset
from agents_app.engine.web import fetch_url
from agents_app.engine.web.guarded_client import guarded_client
from agents_app.engine.web.resolving import FETCHES
from agents_app.models import Run
from agents_app.tools import ask_agent, files, results, run_code
from agents_app.tools.ask_agent import RunChild
from agents_app.tools.attachments import Attachments
from agents_app.tools.tasks import tools_for_agent

_USER = 32  # hexadecimal digits of what stands for a user


def toolset(spec: AgentSpec, run: Run, run_child: RunChild) -> Toolset:
    """Return the tools that the agent may call. `run_child` has this worker execute another run, and waits for it."""
    # The caller's first: no server can take the name of one of them, whatever it lists later.
    fixed = [*client_tools.make_tools(spec.client_tools), *builtin_tools(spec.builtin_tools)]
    fixed += [*tools_for_agent(run, spec.builtin_tools)]
    fixed += files.make_tools(spec.builtin_tools, run)
    if "ask_agent" in spec.builtin_tools:
        fixed.append(ask_agent.make_tool(spec, run, run_child))
    if "run_code" in spec.builtin_tools:
        fixed.append(run_code.make_tool(run))
    if "fetch_url" in spec.builtin_tools:
        open_client = functools.partial(guarded_client, resolve=FETCHES.of(run.session.owner_id))
        fixed.append(fetch_url.make_tool(allow_private=settings.FETCH_ALLOW_PRIVATE, open_client=open_client))
    read_result = results.make_tool(run, spec.model.context_tokens)
    if read_result.name in spec.builtin_tools:
        fixed.append(read_result)
    return Toolset(
        fixed,
        [mcp.source(server) for server in spec.servers],
        allowed=spec.allowed_tools,
        denied=spec.denied_tools,
        approval=spec.approval_required,
        keep=Attachments(run.session.owner_id, with_ids="read_file" in spec.builtin_tools).keep,
        user=salted_hmac("agents_app.tools.user", str(run.session.owner_id), algorithm="sha256").hexdigest()[:_USER],
        in_reserve=() if spec.compaction == "off" else (read_result,),
    )
