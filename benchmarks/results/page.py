"""Templates to pages that need no network, and in which nothing can become markup."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from ...engine.errors import MerError
from ...engine.text.escape import for_terminal


def page_from_template(template: str, style: str, values: Mapping[str, Any], script: str = "") -> str:
    """Renders a template; for its Content-Security-Policy it gets ``style_hash`` and ``script_hash`` too.

    Every value is escaped, and every name that the template uses must be there.

    Raises:
        MerError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ModuleNotFoundError:
        raise MerError("a page needs jinja2: pip install jinja2") from None
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: for_terminal(value) if type(value) is str else value,  # controls, bidi
    )
    # Globals, which macros see too.
    environment.globals |= {**values, "style": style, "script": script}
    return environment.from_string(template).render(script_hash=_hash(script), style_hash=_hash(style))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
