"""JSON that others wrote: read whole, or refused as no JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.strict_json import LONGEST, json_from_text

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(values)
def test_what_json_reads(value: Any) -> None:
    text = json.dumps(value, allow_nan=True)
    if "Infinity" not in text:
        assert json_from_text(text) == value
        assert json_from_text(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 60 + "1" + "}" * 60, "nested too deeply"),
        ("NaN", "NaN"),
        ("[-Infinity]", "-Infinity"),
        ("1" * 5_000, "digits"),
        ("1e400", "1e400"),
        ("-1" + "0" * 400, "too large"),
        ('{"labels": 1, "a": {"x": 1, "x": 2}}', "'x' stands twice"),
        ('"\\ud800"', "surrogate"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b'"\xff"', "UTF-8"),
        (" " * (LONGEST + 1), "longer than"),
    ],
)
def test_refused(text: str | bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why) as error:
        json_from_text(text)
    assert len(str(error.value)) < 300
    assert "\n" not in str(error.value)
