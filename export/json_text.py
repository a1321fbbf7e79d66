"""JSON as ``engine.strict_json`` reads it, whatever is in the names of files."""

from __future__ import annotations

import json
from typing import Any

from ..engine.text.escape import storable


def json_from_value(value: Any, indent: int | None = None, sort_keys: bool = False) -> str:
    """A plain value as JSON in ASCII; bytes of names that are not UTF-8 become ``\\xNN``."""
    return json.dumps(_storable(value), indent=indent, sort_keys=sort_keys)


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {_storable(name): _storable(each) for name, each in value.items()}
    return [_storable(each) for each in value] if isinstance(value, list | tuple) else value
