"""Reads CSV files strictly: what can be read in two ways is refused with its line."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator

from ..audio.formats import AUDIO_SUFFIXES, is_remote
from ..errors import MerError
from .listed_paths import encoding_of_list

_DELIMITERS = ",;\t"  # spreadsheets write what their language or their menu says
_LONGEST = 1 << 20  # characters of a line


def open_csv(file: str, path_column: str) -> tuple[list[str], Iterator[list[str]]]:
    """The names of the columns, and the rows: as many cells each.

    UTF-8, or UTF-16 as Excel writes it. Cells stand between commas or, if only so ``path_column`` is among
    the names, between semicolons or tabs. Cells that are missing at a line's end are empty.

    Raises (the rows as well):
        MerError: a line is no text or no CSV, has more cells than the header, or has a quote that is not
            closed, so that the next rows would become part of its cell.
        OSError: the file cannot be read.
    """
    first = next(_lines(file), "")
    headers = [(mark, next(csv.reader([first], delimiter=mark), [])) for mark in _DELIMITERS]
    delimiter = next((mark for mark, names in headers if path_column in names), _DELIMITERS[0])
    records = _records(file, delimiter)
    _, header, _ = next(records, (1, [], []))
    return header, _rows(file, delimiter, header, path_column, records)


def _rows(
    file: str, delimiter: str, header: list[str], path_column: str, records: Iterable[tuple]
) -> Iterator[list[str]]:
    where = header.index(path_column) if path_column in header else 0
    for number, cells, lines in records:
        if len(lines) > 1 and _hold_rows(os.path.dirname(file), lines, delimiter, where):
            raise _refused(
                file, number, "a quote is not closed there, and rows after it became part of its cell"
            )
        if any(cells[len(header) :]):
            reason = f"it has {len(cells)} cells, the header {len(header)}; quote what holds a {delimiter!r}"
            raise _refused(file, number, reason)
        yield [*cells[: len(header)], *[""] * (len(header) - len(cells))]


def _records(file: str, delimiter: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """Each record: the number of its first line, its cells, and its lines."""
    lines: list[str] = []

    def remembered() -> Iterator[str]:
        for line in _lines(file):
            lines.append(line)
            yield line

    reader = csv.reader(remembered(), strict=True, delimiter=delimiter)
    while True:
        lines.clear()
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            is_open = len(lines) > 1 or "end of data" in str(error)
            raise _refused(file, number, "a quote is not closed there" if is_open else str(error)) from None
        if cells is None:
            return
        if cells:
            yield number, cells, lines


def _hold_rows(folder: str, lines: list[str], delimiter: str, where: int) -> bool:
    """Whether a record of several lines is one because a quote was not closed: some of them are rows."""
    first, *others = (_is_row(folder, line, delimiter, where) for line in lines)
    return any(others) or (first and _is_row(folder, lines[-1].replace('"', ""), delimiter, where))


def _is_row(folder: str, line: str, delimiter: str, where: int) -> bool:
    """Whether a line, taken for itself, has a path where rows have theirs."""
    cells = next(csv.reader([line], delimiter=delimiter), [])
    path = cells[where].strip() if where < len(cells) else ""
    is_audio = os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES
    return is_audio or is_remote(path) or (path != "" and os.path.isfile(os.path.join(folder, path)))


def _lines(file: str) -> Iterator[str]:
    encoding = encoding_of_list(file)
    try:
        with open(file, newline="", encoding=encoding) as text:
            number = 0
            while line := text.readline(_LONGEST):
                number += 1
                if len(line) == _LONGEST:
                    raise _refused(file, number, "it is longer than a line of a table can be")
                yield line
    except UnicodeError:
        name = encoding.upper().removesuffix("-SIG")
        raise _refused(
            file, _undecodable(file, encoding), f"it is not {name}; save the table as UTF-8"
        ) from None


def _undecodable(file: str, encoding: str) -> int:
    """The number of the first line that does not hold to the encoding."""
    with open(file, newline="", encoding=encoding, errors="replace") as text:
        return next((number for number, line in enumerate(text, 1) if "\ufffd" in line), 1)


def _refused(file: str, line: int, reason: str) -> MerError:
    return MerError(f"{file} cannot be read: line {line}: {reason}")
