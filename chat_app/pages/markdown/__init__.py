"""Render a model's Markdown as HTML: markdown-it-py renders it, nh3 sanitizes the result."""

from chat_app.pages.markdown.rendering import LONGEST_TEXT, block_to_html, to_html

__all__ = ["LONGEST_TEXT", "block_to_html", "to_html"]
