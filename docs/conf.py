"""How Sphinx builds these pages: `make docs`. Every warning is an error."""

import tomllib
from pathlib import Path

_about = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())["project"]

project = "AInTandem Agent MCP Scheduler"
version = release = _about["version"]
copyright = "the authors; MIT licence"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {version}"
myst_heading_anchors = 3
