"""Write rows as YAML for `load_config`, without stored secrets."""

from types import SimpleNamespace
from typing import Any

from agents_app.access.callers import local_administrator
from agents_app.configuration.apply import NOT_CONFIGURATION, ROWS, SERIALIZERS
from agents_app.configuration.parsing import KINDS
from agents_app.configuration.yaml_files import to_yaml
from agents_app.models.env_variables import MASK


def dump() -> str:
    """Return the configuration as YAML, without default values and stored secrets."""
    context = {"request": SimpleNamespace(user=local_administrator(), auth=None, method="GET")}
    document = {
        kind: {row.name: _fields(kind, row, context) for row in ROWS[kind].objects.order_by("name")} for kind in KINDS
    }
    return to_yaml(document)


def _fields(kind: str, row: Any, context: dict[str, Any]) -> dict[str, Any]:
    data = SERIALIZERS[kind](row, context=context).data
    values = {name: _without_secrets(value) for name, value in data.items() if name not in {*NOT_CONFIGURATION, "name"}}
    return {name: value for name, value in values.items() if value != _default(row, name)}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(inner) for key, inner in value.items() if inner not in (None, MASK)}
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value


def _default(row: Any, name: str) -> Any:
    """Return the default value of a field."""
    if name in ("mcp_servers", "fallback_models"):
        return []
    if name in ("parameters",):
        return {}
    names = {field.name for field in row._meta.get_fields()}
    value = row._meta.get_field(name).get_default() if name in names else None
    return "" if value is None and name in ("base_url",) else value
