"""Reads CSV files strictly: what can be read in two ways is refused with its line."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator

from ..audio.formats import is_audio_name, is_remote, open_regular_file
from ..errors import MerError
from ..text.csv_header import DELIMITERS, is_above_header
from ..text.escape import text_from_csv
from .listed_paths import MARKS, encoding_of_list

_LONGEST = 1 << 20  # characters of a line, and of a cell
_BLANK = "\n"
_MOST_COLUMNS = 10_000  # each row has them all, whether its line has their cells or not
_RECORD = 4  # lines of that length: a quote may open again at the end of each line


def open_csv(file: str, path_column: str, longest: int = _LONGEST) -> tuple[list[str], Iterator[list[str]]]:
    """The names of the columns, and the rows: as many cells each.

    UTF-8, or UTF-16 as Excel writes it; other bytes stand in cells as in names of files (U+DC80 to U+DCFF).
    Cells stand between commas or, if only so ``path_column`` is among the names, between semicolons or tabs.
    Above the header may stand blank lines, or Excel's ``sep=;``. Cells that are missing at a line's end
    are empty. What keeps a cell from being a formula is taken off.

    Args:
        longest: characters of a line, and of a cell, at most.

    Raises (the rows as well):
        MerError: no regular file; or a line is no CSV, has more cells than the header, or has a quote that is
            not closed, so that the next rows would become part of its cell (which shows unless these alone
            lack their last cells).
        OSError: the file cannot be read.
    """
    # Of the process: a cell of 200 KB is no reason to refuse a table.
    csv.field_size_limit(max(longest, csv.field_size_limit()))
    first = next((line for line in _table(file, longest) if line != _BLANK), "")
    headers = [(mark, next(csv.reader([first], delimiter=mark), [])) for mark in DELIMITERS]
    delimiter = next((mark for mark, names in headers if path_column in names), DELIMITERS[0])
    records = _records(file, delimiter, longest)
    _, header, _ = next(records, (1, [], []))
    names = list(map(text_from_csv, header))
    if len(names) > _MOST_COLUMNS:
        raise _refused(file, 1, f"it names {len(names)} columns; at most {_MOST_COLUMNS:,} are read")
    return names, _rows(file, delimiter, names, path_column, records)


def _rows(
    file: str, delimiter: str, header: list[str], path_column: str, records: Iterable[tuple]
) -> Iterator[list[str]]:
    where = header.index(path_column) if path_column in header else 0
    is_ragged = False
    for number, cells, lines in records:
        # A cell's line has fewer cells than a row, unless this row or one before it lacks its last ones.
        is_short = len(cells) < len(header)
        least = 0 if is_ragged or is_short else len(header)
        if len(lines) > 1 and _hold_rows(file, lines, delimiter, where, least):
            raise _refused(
                file, number, "a quote is not closed there, and rows after it became part of its cell"
            )
        if any(cells[len(header) :]):
            reason = f"it has {len(cells)} cells, the header {len(header)}; quote what holds a {delimiter!r}"
            raise _refused(file, number, reason)
        texts = list(map(text_from_csv, cells))
        if lines[0][0] in MARKS:  # a table was joined to another there
            bare = [texts[0].strip(MARKS), *texts[1:]]
            if bare in (header, [""]):
                continue
            texts = bare if where else texts  # of a path, it may be a part: source_from_list looks
        raw, text = (each[where] if where < len(each) else "" for each in (cells, texts))
        if raw != text and _is_file(file, raw) and not _is_file(file, text):
            texts[where] = raw  # its name does begin so
        is_ragged |= is_short
        yield [*texts[: len(header)], *[""] * (len(header) - len(texts))]


def _records(file: str, delimiter: str, longest: int) -> Iterator[tuple[int, list[str], list[str]]]:
    """Each record: the number of its first line, its cells, and its lines."""
    lines: list[str] = []

    def remembered() -> Iterator[str]:
        length = 0
        for line in _table(file, longest):
            length = len(line) + (length if lines else 0)
            if length > _RECORD * longest:
                raise _refused(file, number, "the cells that begin there are longer than a row can be")
            is_marked = not lines and line.startswith('\ufeff"')
            lines.append(line)
            yield line[1:] if is_marked else line

    reader = csv.reader(remembered(), strict=True, delimiter=delimiter)
    number = 1
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


def _hold_rows(file: str, lines: list[str], delimiter: str, where: int, least: int) -> bool:
    """Whether a record of several lines is one because a quote was not closed: some of them are rows.

    Args:
        least: cells that a line must have to be a row; the quote may hide some of the first line's.
    """
    if any(_is_row(file, line, delimiter, where, least) for line in lines[1:]):
        return True
    last = lines[-1].replace('"', "")
    return _is_row(file, last, delimiter, where, least) and _is_row(file, lines[0], delimiter, where)


def _is_row(file: str, line: str, delimiter: str, where: int, least: int = 0) -> bool:
    """Whether a line, taken for itself, has so many cells, and a path where rows have theirs."""
    cells = next(csv.reader([line], delimiter=delimiter), [])
    return max(where + 1, least) <= len(cells) and _is_path(file, cells[where].strip())


def path_in_header(file: str, names: Iterable[str]) -> str | None:
    """The first of a table's names that is none of a column but a song's path: the table has no header."""
    cells = (cell.strip() for name in names for cell in (name, *re.split(f"[{DELIMITERS}]", name)))
    # What could be a column's name may also be that of a file.
    return next((cell for cell in cells if not cell.isidentifier() and _is_path(file, cell)), None)


def _is_path(file: str, path: str) -> bool:
    return is_audio_name(path) or is_remote(path) or (path != "" and _is_file(file, path))


def _is_file(table: str, path: str) -> bool:
    return os.path.isfile(os.path.join(os.path.dirname(table), path))


def _table(file: str, longest: int) -> Iterator[str]:
    """The lines, of which those above the header are blank ones, as many."""
    is_above = True
    for line in _lines(file, longest):
        is_above = is_above and is_above_header(line)
        yield _BLANK if is_above else line


def _lines(file: str, longest: int) -> Iterator[str]:
    if os.path.isfile(file) and not os.path.getsize(file):
        return
    try:
        descriptor = open_regular_file(file)
    except MerError as error:
        raise MerError(f"{file} cannot be read: {error}") from None
    with os.fdopen(descriptor, "rb") as binary:
        encoding = encoding_of_list(file)
        errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
        text = io.TextIOWrapper(binary, encoding, errors, newline="")
        number = 0
        while line := text.readline(longest):
            number += 1
            if len(line) == longest:
                raise _refused(file, number, "it is longer than a line of a table can be")
            yield line


def _refused(file: str, line: int, reason: str) -> MerError:
    return MerError(f"{file} cannot be read: line {line}: {reason}")
