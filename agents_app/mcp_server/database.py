"""The threads in which this package asks the database."""

from agents_app.database.threads import DatabaseThreads

database = DatabaseThreads("mcp", 2)
