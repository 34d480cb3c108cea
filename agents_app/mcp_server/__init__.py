"""The MCP server that this product is: agents and tasks as tools for other programs, at /mcp and over stdio."""

from agents_app.mcp_server.application import application, is_ours

__all__ = ["application", "is_ours"]
