"""Give every agent that exists its version 1, and pin to it the runs that have not ended."""

from django.db import migrations

COLUMNS = (
    "role", "description", "system_prompt", "model", "temperature", "top_p", "max_tokens", "reasoning_effort",
    "thinking_budget", "builtin_tools", "allowed_tools", "denied_tools", "approval_required", "approval_timeout",
    "max_iterations", "timeout", "max_total_tokens",
)  # fmt: skip
UNFINISHED = ("queued", "running", "waiting")


def write_first_versions(apps, editor):
    Agent, AgentVersion, Run = (apps.get_model("agents_app", name) for name in ("Agent", "AgentVersion", "Run"))
    for agent in Agent.objects.filter(current_version=None).select_related("provider"):
        spec = {
            **{name: getattr(agent, name) for name in COLUMNS},
            "provider": {"id": agent.provider.pk, "name": agent.provider.name} if agent.provider else None,
            "mcp_servers": list(agent.mcp_servers.order_by("name").values("id", "name")),
        }
        version = AgentVersion.objects.create(agent=agent, number=1, spec=spec)
        Agent.objects.filter(pk=agent.pk).update(current_version=version)
        Run.objects.filter(agent=agent, status__in=UNFINISHED).update(agent_version=version)


class Migration(migrations.Migration):
    # Apart from the tables, which PostgreSQL does not change in a transaction that wrote rows.
    dependencies = [("agents_app", "0021_agent_versions")]

    operations = [migrations.RunPython(write_first_versions, migrations.RunPython.noop)]
