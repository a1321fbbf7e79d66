"""Reads JSON that anyone can have written, as every other program reads it, or refuses it."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, NoReturn

LONGEST = 16 << 20
"""Bytes: the provenance of a network that heard a hundred thousand songs needs half."""
_DEEPEST = 50  # Python's own recursion, when such a value is copied or written, ends at some 300
_LARGEST = 10**300  # above it a whole number is no float any more


def json_from_text(text: str | bytes, longest: int = LONGEST) -> Any:
    """The value of a JSON text, UTF-8 where it is bytes.

    Refused are also what the ``json`` module lets pass and what would fail later: NaN and infinities, numbers
    that no float holds, a key that stands twice in an object, deep nesting, surrogates, and texts longer
    than ``longest``.

    Raises:
        ValueError: with one line that says what is wrong.
    """
    if len(text) > longest:
        raise ValueError(f"longer than {longest >> 20} MB")
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        value = json.loads(
            text,
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_bounded,
            object_pairs_hook=_without_repeats,
        )
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check(value)
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def _bounded(digits: str) -> int:
    if len(digits) > 4_000:  # Python refuses to read 4,300, by settings that a program may have changed
        raise ValueError(f"a number of {len(digits)} digits")
    number = int(digits)
    if abs(number) > _LARGEST:
        raise ValueError(f"the number {digits[:20]}... is too large")
    return number


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        (repeated, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{repeated[:60]!r} stands twice")
    return fields


def _check(value: Any) -> None:
    """Depth and surrogates, level by level: without recursion."""
    level = [value]
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                inner.extend(part)
                inner.extend(part.values())
            elif isinstance(part, list):
                inner.extend(part)
            elif isinstance(part, str) and not part.isascii():
                try:
                    part.encode()
                except UnicodeEncodeError:
                    raise ValueError("a lone surrogate, which is no text") from None
        if not inner:
            return
        level = inner
    raise ValueError("nested too deeply")
