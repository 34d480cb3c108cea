from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents_app"
    verbose_name = "Agents"

    def ready(self) -> None:
        from agents_app import checks  # noqa: F401 — registers the system checks
        from agents_app.access import revocation, security_log
        from agents_app.event_log import lifetime
        from agents_app.models import Agent, agent_versions
        from agents_app.runs import forks

        lifetime.connect()
        forks.connect()
        security_log.watch()
        revocation.watch_changes()
        agent_versions.watch_servers(Agent.mcp_servers.through)
