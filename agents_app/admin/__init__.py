"""The admin: what is set up, to change; what happened, to read; and the control room, to watch. A file a subject."""

from django.conf import settings
from django.contrib import admin

from agents_app.admin import agents, approvals, budgets, files, mcp_servers, prices, runs, tasks, users

__all__ = ["agents", "approvals", "budgets", "files", "mcp_servers", "prices", "runs", "tasks", "users"]

admin.site.site_header = admin.site.site_title = settings.PRODUCT_NAME
admin.site.index_title = "Everything, by name"
admin.site.site_url = "/chat/"
