"""What is written is read again by ``json_from_text``, which takes no lone surrogate."""

from __future__ import annotations

import os

from merkit.engine.strict_json import json_from_text
from merkit.export.json_text import json_from_value


def test_names_that_are_not_utf8_become_escapes() -> None:
    name = os.fsdecode(b"caf\xe9.mp3")
    value = {name: [(name, 1.5)], "गीत": None, "plain": True}
    text = json_from_value(value)
    assert text.isascii()
    assert json_from_text(text) == {"caf\\xe9.mp3": [["caf\\xe9.mp3", 1.5]], "गीत": None, "plain": True}
    assert json_from_value({"a": 1}, indent=1) == '{\n "a": 1\n}'
