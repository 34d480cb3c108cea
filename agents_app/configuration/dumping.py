"""Rows → YAML that `load_config` reads again. Secrets are left out: a key that is stored here stays here."""

from types import SimpleNamespace
from typing import Any

from agents_app.access.callers import local_administrator
from agents_app.configuration.apply import NOT_CONFIGURATION, ROWS, SERIALIZERS
from agents_app.configuration.parsing import KINDS
from agents_app.configuration.yaml_files import to_yaml
from agents_app.models.env_variables import MASK


def dump() -> str:
    """All that is configured, as YAML. What has its default value is left out, and so are secrets."""
    context = {"request": SimpleNamespace(user=local_administrator(), method="GET")}
    document = {
        kind: {row.name: _fields(kind, row, context) for row in ROWS[kind].objects.order_by("name")} for kind in KINDS
    }
    return to_yaml(document)


def _fields(kind: str, row: Any, context: dict[str, Any]) -> dict[str, Any]:
    said = SERIALIZERS[kind](row, context=context).data
    return {
        name: kept
        for name, value in said.items()
        if name not in NOT_CONFIGURATION and name != "name" and (kept := _shown(value)) != _default(row, name)
    }


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shown(inner) for key, inner in value.items() if inner not in (None, MASK)}
    return [_shown(inner) for inner in value] if isinstance(value, list) else value


def _default(row: Any, name: str) -> Any:
    """What the row would have if nobody said anything."""
    if name in ("mcp_servers",):
        return []
    if name in ("parameters",):
        return {}
    known = {field.name for field in row._meta.get_fields()}
    value = row._meta.get_field(name).get_default() if name in known else None
    return "" if value is None and name in ("base_url",) else value
