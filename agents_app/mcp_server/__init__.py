"""Our own MCP server: agents and tasks as tools for other programs' models, at /mcp and over stdio."""

from agents_app.mcp_server.application import application, close, is_ours

__all__ = ["application", "close", "is_ours"]
