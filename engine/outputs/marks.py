"""By what the files that commands write are known again: what is none of them is not replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ..catalogue.csv_rows import open_csv
from ..errors import UsageError
from ..files import is_foreign

SOFTWARE = {"Software": "merkit"}
"""What a PNG of ours says of itself, as matplotlib's metadata."""

_BEGINNING = 4_096  # bytes
_ABOVE_A_TABLE = 1 << 20  # bytes, which a command line may have that names many files
_LONGEST = 256 << 20  # bytes of JSON, which is mer-bench's


def refuse_foreign(
    file: Path | None, is_ours: Callable[[Path], bool], instead: str = "name another file"
) -> None:
    """Refuses, before any work, to replace a file that holds something else than this command writes.

    None is no file. ``instead`` says what to do.

    Raises:
        UsageError: it does, or cannot be read.
    """
    if file and is_foreign(file, is_ours):
        raise UsageError(f"{file} is there and not of this command's making: {instead}")


def head_of(path: Path) -> bytes:
    """The bytes at the beginning of a file in which its mark stands."""
    with path.open("rb") as file:
        return file.read(_BEGINNING)


def has_mark(*marks: bytes) -> Callable[[Path], bool]:
    """Asks whether one of the marks stands at the beginning of a file."""

    def is_ours(path: Path) -> bool:
        head = head_of(path)
        return any(mark in head for mark in marks)

    return is_ours


is_picture = has_mark(b"tEXtSoftware\0merkit")
"""Whether a PNG says ``SOFTWARE`` of itself."""


def has_table(head: str) -> Callable[[Path], bool]:
    """Asks whether the first table of a Markdown begins with ``head``, and no heading is above it.

    A document that somebody wrote around such a table has one.
    """

    def is_ours(path: Path) -> bool:
        with path.open("rb") as file:
            lines = file.read(_ABOVE_A_TABLE).splitlines()
        first = next((line for line in lines if line.startswith((b"#", b"|"))), b"")
        return first.startswith(head.encode())

    return is_ours


def has_columns(*names: str) -> Callable[[Path], bool]:
    """Asks whether a CSV has these columns."""
    return lambda path: {*names} <= {*open_csv(str(path), names[0])[0]}


def has_keys(*names: str) -> Callable[[Path], bool]:
    """Asks whether a file is a JSON object with these keys."""

    def is_ours(path: Path) -> bool:
        with path.open("rb") as file:
            content = file.read(_LONGEST)
        try:
            value = json.loads(content)
        except RecursionError:
            return False
        return isinstance(value, dict) and {*names} <= value.keys()

    return is_ours
