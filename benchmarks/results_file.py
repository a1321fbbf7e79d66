"""Results as JSON, and back. A results file may come from anyone: every value's type is checked."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

from ..engine.audio.formats import open_regular_file
from ..engine.errors import MerError
from .row import Interval, Machine, Results, Row, Scenario, ScoredData, Status

_LONGEST = 256 << 20  # bytes of a file; ten rows with all their samples have two million
_TEXT = 1_000  # characters of a text: a table lays out every cell, in a time that grows with their square
_LARGEST = 1e15  # no figure here is larger; a chart's axis would overflow


def json_from_results(results: Results) -> str:
    """The text of a results file.

    Raises:
        ValueError: a figure is not finite.
    """
    return json.dumps(asdict(results), indent=1, allow_nan=False) + "\n"


def results_from_json(text: str) -> Results:
    """The inverse of ``json_from_results``, for tampered files too.

    A key that is missing or holds another type than it should, or a share outside 0 to 1, is read as not
    measured.

    Raises:
        MerError: not JSON, or without a list of rows and a machine.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if (
        not isinstance(values, dict)
        or not isinstance(values.get("machine"), dict)
        or not isinstance(values.get("rows"), list)
        or not all(isinstance(row, dict) for row in values["rows"])
    ):
        raise MerError("these are no results of mer-bench")
    return _object(Results, values)


def results_from_file(path: Path) -> Results:
    """Reads a results file.

    Raises:
        MerError: it cannot be read, or holds something else.
    """
    try:
        with os.fdopen(open_regular_file(path), "rb") as file:
            content = file.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise MerError("too long")
        return results_from_json(content.decode("utf-8-sig"))  # PowerShell writes a byte-order mark
    except (OSError, UnicodeDecodeError, MerError):
        raise MerError(f"{path} is no results file of mer-bench") from None


_T = TypeVar("_T")


def _object(kind: type[_T], values: Any) -> _T:
    """One of the dataclasses here; a field keeps its default where its reader gives None."""
    mapping = values if isinstance(values, dict) else {}
    known: dict[str, Any] = {}
    for field in fields(kind):  # pyright: ignore[reportArgumentType]
        value = _READERS[str(field.type)](mapping.get(field.name))
        if value is not None:
            known[field.name] = value
    return kind(**known)


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _plain(text: str) -> str:
    """Without lone surrogates, which JSON can hold and no file."""
    return text.encode("utf-8", "backslashreplace").decode()


def _text(value: Any) -> str | None:
    return _plain(value[:_TEXT]) if isinstance(value, str) else None


def _status(value: Any) -> str:
    return value if value in get_args(Status) else "error"


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= _LARGEST else None  # NaN compares false


def _share(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and 0 <= number <= 1 else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number >= 0 and math.floor(number) == number else None


def _interval(value: Any) -> Interval | None:
    ends = _list_of(_number)(value)
    return (ends[0], ends[1]) if ends is not None and len(ends) == 2 else None


def _list_of(item: Callable[[Any], _T | None]) -> Callable[[Any], list[_T] | None]:
    """Reads a list; None if any item is of another type."""

    def read(value: Any) -> list[_T] | None:
        if not isinstance(value, list):
            return None
        items = [known for known in map(item, value) if known is not None]
        return items if len(items) == len(value) else None

    return read


def _dict_of(item: Callable[[Any], _T | None]) -> Callable[[Any], dict[str, _T] | None]:
    """Reads an object in the same way."""

    def read(value: Any) -> dict[str, _T] | None:
        items = _list_of(item)([*value.values()]) if isinstance(value, dict) else None
        return None if items is None else dict(zip(map(_plain, value), items, strict=True))

    return read


# By the annotation of a field; None is what is not of that type.
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "bool": _flag,
    "int | None": _count,
    "float | None": _number,
    "Share | None": _share,
    "str": _text,
    "str | None": _text,
    "Status": _status,
    "Interval | None": _interval,
    "list[str]": _list_of(_text),
    "list[float]": _list_of(_number),
    "list[list[int]] | None": _list_of(_list_of(_count)),
    "dict[str, str]": _dict_of(_text),
    "dict[str, str] | None": _dict_of(_text),
    "dict[str, float]": _dict_of(_number),
    "dict[str, float] | None": _dict_of(_number),
    "dict[str, Scenario]": _dict_of(lambda value: _object(Scenario, value)),
    "Machine": lambda value: _object(Machine, value),
    "ScoredData | None": lambda value: _object(ScoredData, value) if isinstance(value, dict) else None,
    "list[Row]": _list_of(lambda value: _object(Row, value)),
}
