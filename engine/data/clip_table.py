"""A CSV file about clips: its rows, and what they say of groups, tags and parts of a split."""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..audio.formats import AUDIO_SUFFIXES
from ..audio.readable import opened
from ..errors import MerError, UsageError
from ..text.csv_header import DELIMITERS, is_above_header
from .artists import ARTIST_COLUMNS, artist_keys
from .cleaning import cleaned, comparison_key, part_from_name
from .clip import Part
from .notes import Notes

Row = Mapping[str, str]

_LONGEST_CELL = 131_072  # characters
_MOST_BYTES = 2**28  # ten million rows; more is another file, or one without an end
_SHOWN = 200  # characters of the columns of what may be no table at all
_GROUPS = ("artist", "group")
_LABELS = ("label", "cluster", "quadrant")
_TAGS = ("tags", "genres", "genre")
_PARTS = ("split", "part", "subset")


@dataclass(frozen=True)
class ClipTable:
    """Rows by column, with columns named in lower case.

    ``grouped_by`` has the columns that say what a group is; in each row the first that is not empty does, and
    a word such as ``Unknown`` in place of an artist is as empty. Where that is the second, the group is one
    with what the first column says in its other rows.
    """

    file: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    grouped_by: tuple[str, ...]

    def first_of(self, columns: Sequence[str]) -> str | None:
        """The first of these columns that the table has."""
        return next((column for column in columns if column in self.columns), None)

    @property
    def label_column(self) -> str | None:
        """The column of the labels, of a table that lies beside their folders."""
        return self.first_of(_LABELS)

    def is_under(self, row: Row, folders: Collection[str]) -> bool:
        """Whether a row's label is one of these folders, by their comparison keys, or blank."""
        column = self.label_column
        return column is None or comparison_key(row[column]) in ("", *folders)

    def rows_of(self, files: Sequence[Path]) -> list[list[int]]:
        """Positions of the rows that name each file: by its path, its name or its stem.

        A file that no row names so may have another suffix in the table, as converted ones have. All files
        lie below the table's folder.
        """
        column, base = self.first_of(("clip", "path")) or "", self.file.parent
        by_name: dict[str, list[int]] = defaultdict(list)
        for number, row in enumerate(self.rows):
            cell = os.path.normpath(row[column].strip().replace("\\", "/"))
            by_name[cleaned(os.path.relpath(cell, base) if os.path.isabs(cell) else cell)].append(number)
        paths = [Path(cleaned(file.relative_to(base).as_posix())) for file in files]
        named = [next(filter(by_name.__contains__, _names(path)), "") for path in paths]
        stems = _by_stem(by_name.keys() - named)
        others = [next((stems[n] for n in _names(path) if n in stems), "") for path in paths]
        converted = Counter(other for other, name in zip(others, named, strict=True) if not name)
        return [
            by_name.get(name or (other if converted[other] == 1 else ""), [])
            for name, other in zip(named, others, strict=True)
        ]

    def group(self, row: Row) -> str:
        """A row's group as it is written, or as another row writes what is one with it; "" where none is."""
        own = next((row[column] for column in self.grouped_by if _says(row, column)), "")
        return self._united.get(comparison_key(own), own) if self._united else own

    @property
    def by_artist(self) -> bool:
        """Whether groups are artists."""
        return next(iter(self.grouped_by), "") in ARTIST_COLUMNS

    def artists(self, row: Row) -> tuple[str, ...]:
        """The keys of the artists that a row names.

        They stand in the column of its group where that is one of artists, else in the first that names any.
        """
        columns = self.grouped_by[:1] if self.by_artist else (c for c in ARTIST_COLUMNS if c in self.columns)
        return next((keys for column in columns if (keys := artist_keys(row[column]))), ())

    @cached_property
    def _united(self) -> Mapping[str, str]:
        """Another name for groups that are one with others, by comparison key.

        A row without an artist is known by its ``group`` alone, so whoever stands in that group may be its
        artist: none of them may be on the other side of a split.
        """
        above: dict[str, str] = {}  # links groups that are one; the last of a chain is in it not at all
        if len(self.grouped_by) < 2:
            return above
        first, second = self.grouped_by
        alone = {comparison_key(row[second]) for row in self.rows if not _says(row, first)} - {""}
        spelt: dict[str, str] = {}

        def top(group: str) -> str:
            while group in above:
                above[group] = above.get(above[group], above[group])  # shorter for the next who asks
                group = above[group]
            return group

        for row in self.rows if alone else ():
            own, group = comparison_key(row[first]), comparison_key(row[second])
            if _says(row, first) and group in alone:
                spelt.setdefault(own, row[first])
                one, other = top(group), top(own)
                if one != other and one in spelt:  # the first artist gives the name
                    above[other] = one
                elif one != other:
                    above[one] = other
        return {group: spelt[top(group)] for group in list(above)}

    def tags(self, row: Row) -> tuple[str, ...]:
        """A row's tags, which stand between semicolons, each once."""
        column = self.first_of(_TAGS)
        names = (cleaned(tag) for tag in row[column].split(";")) if column else ()
        return tuple(dict.fromkeys(name for name in names if name))

    def parts(self, notes: Notes) -> list[Part]:
        """The part of each row, by a column ``split``, ``part`` or ``subset``; "" where that says no part."""
        column = self.first_of(_PARTS)
        parts: list[Part] = [part_from_name(row[column]) if column else "" for row in self.rows]
        if column and self.rows and not any(parts):
            notes.add(f"not read, a column {column} without train, val or test", self.file.name)
        known = {"path", "clip", "label", *_TAGS, *self.grouped_by}
        for other in () if any(parts) else (column for column in self.columns if column not in known):
            cells = [row[other] for row in self.rows if row[other].strip()]
            if all(map(part_from_name, cells)) and {"training"} < {*map(part_from_name, cells)}:
                notes.add(f"not read, a column {other} of parts; call it split", self.file.name)
        return parts

    def note_groups(self, notes: Notes) -> None:
        """Notes words in place of artists, and a column that could say what a group is where none does."""
        for column in ARTIST_COLUMNS:
            if column in self.columns and (column in self.grouped_by or {*self.grouped_by} <= {"group"}):
                for row in self.rows:
                    if row[column].strip() and not _says(row, column):
                        notes.add("taken for no artist", repr(row[column]))
        if not self.grouped_by and any(row.get("album", "").strip() for row in self.rows):
            notes.add(
                "not read, a column album (--group-by album keeps its clips on one side)", self.file.name
            )


def read_clip_table(file: Path, needed: Sequence[Sequence[str]], group_by: str | None = None) -> ClipTable:
    """Reads a table: UTF-8 or UTF-16, between commas, semicolons or tabs; blank rows are left out.

    Args:
        needed: of each of these the table must have one column.
        group_by: the column that says what a group is; None for ``artist``, else ``group``, else another of
            ``ARTIST_COLUMNS``.

    Raises:
        UsageError: no column ``group_by``, or an empty one.
        MerError: no such table.
    """
    lines = io.StringIO(_text(file), newline="")
    above, header = _first_line(lines)
    end, rows = above, list[Row]()  # the number of the last line that was read whole
    try:
        delimiter, columns = _header(header, file, needed)
        end += 1
        csv.field_size_limit(_LONGEST_CELL)  # of the process, where others set it too
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        for cells in reader:
            end = above + 1 + reader.line_num
            rows.append(_row(cells, columns, f"{file}, line {end}"))
    except csv.Error as error:
        raise MerError(f"{file}, line {end + 1} cannot be read as CSV: {error}") from None
    if group_by is not None and comparison_key(group_by) not in columns:
        raise UsageError(f"{file} has no column {group_by!r} to group by; it has {', '.join(columns)}")
    groups = (*_GROUPS, *ARTIST_COLUMNS[1:]) if group_by is None else (comparison_key(group_by),)
    kept = tuple(row for row in rows if any(cell.strip() for cell in row.values()))
    filled = tuple(c for c in groups if c in columns and any(_says(row, c) for row in kept))
    if group_by is not None and kept and not filled:
        nobody = any(row[groups[0]].strip() for row in kept)
        raise UsageError(
            f"{file}: the column {group_by!r} to group by {'names nobody' if nobody else 'is empty'}"
        )
    return ClipTable(file, columns, kept, tuple(c for c in filled if c in _GROUPS) or filled[:1])


def spelt_column(file: Path, column: str) -> str:
    """A column as a CSV file's header spells it; ``column`` itself where the file has none, or is another."""
    if file.suffix.lower() != ".csv":
        return column
    with suppress(MerError, csv.Error):
        _, line = _first_line(io.StringIO(_text(file), newline=""))
        headers = (next(csv.reader([line], delimiter=delimiter), []) for delimiter in DELIMITERS)
        return next((name for names in headers for name in names if comparison_key(name) == column), column)
    return column


def _first_line(lines: io.StringIO) -> tuple[int, str]:
    """A table's header, "" where there is none, and how many lines stand above it.

    These are blank, or Excel's own ``sep=;``.
    """
    for above, line in enumerate(lines):
        if not is_above_header(line):
            return above, line
    return 0, ""


def _header(line: str, file: Path, needed: Sequence[Sequence[str]]) -> tuple[str, tuple[str, ...]]:
    """The delimiter that makes the needed columns of a table's first line, and all its columns."""
    headers = [
        (delimiter, tuple(comparison_key(name) for name in next(csv.reader([line], delimiter=delimiter), ())))
        for delimiter in DELIMITERS
    ]
    fitting = [header for header in headers if all(set(names) & set(header[1]) for names in needed)]
    delimiter, columns = max(fitting or headers, key=lambda header: len(header[1]))
    missing = [" or ".join(names) for names in needed if not set(names) & set(columns)]
    if missing:
        has = ", ".join(filter(None, columns)) or "none"
        has = has if len(has) <= _SHOWN else f"{has[:_SHOWN].rpartition(',')[0] or has[:_SHOWN]}, ..."
        hint = ""
        if len(columns) == 1 and len(missing) == len(needed):
            hint = "; cells stand between commas, semicolons or tabs"
        elif "label" in missing and {"emotion", "model_sha256"} <= {*columns}:
            hint = "; these are rows of mer-label: once its emotions are corrected, call that column label"
        raise MerError(f"{file} has no column {', '.join(missing)} (it has {has}){hint}")
    twice = [column for column in columns if column and columns.count(column) > 1]
    if twice:
        raise MerError(f"{file} has the column {twice[0]} twice")
    return delimiter, columns


def _says(row: Row, column: str) -> bool:
    """Whether a cell says what a row's group is."""
    return bool(artist_keys(row[column]) if column in ARTIST_COLUMNS else row[column].strip())


def _names(path: Path) -> tuple[str, ...]:
    return path.as_posix(), path.with_suffix("").as_posix(), path.name, path.stem


def _by_stem(names: Iterable[str]) -> dict[str, str]:
    """Names of audio files by what they are without their suffix, but for those that differ in it alone."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in AUDIO_SUFFIXES:
            by_stem[stem].append(name)
    return {stem: only[0] for stem, only in by_stem.items() if len(only) == 1}


def _row(cells: Sequence[str], columns: Sequence[str], place: str) -> Row:
    if any(cell.strip() for cell in cells[len(columns) :]):
        # A comma in a name that is not quoted: the label would be a piece of the name.
        raise MerError(
            f"{place} has {len(cells)} cells and the header {len(columns)}: quote names with commas"
        )
    return dict(zip(columns, (*cells, *[""] * (len(columns) - len(cells))), strict=False))


def _text(file: Path) -> str:
    try:
        with opened(file, " as CSV") as binary:
            if os.fstat(binary.fileno()).st_size > _MOST_BYTES:
                raise MerError(f"{file} is larger than 256 MiB: no list of clips is")
            content = binary.read()
        utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # Excel's "Unicode text"
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise MerError(f"{file} cannot be read as CSV: it is not UTF-8; save it as CSV UTF-8") from None
    if "\0" in text:
        raise MerError(f"{file} cannot be read as CSV: it holds null characters")
    return text
