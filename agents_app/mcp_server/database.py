"""The database threads of this package."""

from agents_app.database.threads import DatabaseThreads

database = DatabaseThreads("mcp", 2)
