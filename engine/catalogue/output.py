"""Where rows go, and that this is none of the files that a run reads. Asked before any work is done."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ..audio.formats import is_remote
from ..errors import MerError, UsageError
from ..files import is_foreign
from ..strict_json import json_from_text
from ..text.escape import text_from_path
from .csv_rows import open_csv
from .parquet_rows import opened_parquet
from .reconcile import RealPaths
from .row_file import LONGEST_LINE, STDOUT, SUFFIXES, partial_of

SHARD_NAME = re.compile(r"part-(\d{6}|[1-9]\d{6,})\.parquet")
"""The name of a file in a folder of shards; the group is its number."""

_IN_EVERY_ROW = ("path", "status", "error", "emotion")


class Kind(Enum):
    """What rows are written to."""

    NOTHING = "nothing"
    STDOUT = "JSON lines on stdout"
    FILE = "one file"
    FOLDER = "a folder of shards"


@dataclass(frozen=True)
class Output:
    """A kind of output with its path, as it was typed."""

    kind: Kind
    path: str = ""

    def refuse_arguments(self, arguments: Iterable[str]) -> None:
        """Refuses a file that the run reads: a list, a table, a song.

        Raises:
            UsageError: it is one of the arguments, under whatever name.
        """
        written = list(self._written())
        for argument in arguments:
            for path in written:
                if _are_same(argument, path):
                    raise _is_input(path, argument)

    def refuse_inputs(self, is_input: Callable[[str], bool]) -> None:
        """Refuses a file that is an input, by its real path. ``is_input`` takes that as rows hold it.

        Raises:
            UsageError: it is one.
        """
        if self.kind is Kind.FILE and is_input(text_from_path(RealPaths().of(self.path))):
            raise _is_input(self.path, self.path)

    def refuse_foreign(self, partial: bool = True) -> None:
        """Refuses a file that is there and is none of rows: hand-made labels, a list. An empty one is none.

        Args:
            partial: also where a run that is stopped puts its rows.

        Raises:
            UsageError: it is one, cannot be read, or is no file.
        """
        for path in self._written(partial):
            if os.path.exists(path) and not os.path.isfile(path):
                reason = "is no regular file, and rows of a run that is stopped go there"
                raise UsageError(f"{path} {reason}: name another file")
            if is_foreign(Path(path), _holds_rows):
                raise UsageError(f"{path} is there and holds no rows of mer-label: name another file")

    def _written(self, partial: bool = True) -> Iterator[str]:
        """The files that are there and may be replaced: this one, and what a run that is stopped leaves."""
        if self.kind is Kind.FILE and os.path.lexists(self.path):
            yield self.path
            beside = str(partial_of(Path(self.path)))
            if partial and os.path.lexists(beside):
                yield beside


def output_from_text(out: str | None) -> Output:
    """What an ``--out`` means: a folder if it has no suffix, ends in a slash or is there as one.

    Raises:
        UsageError: empty, a URL, another suffix than those of tables, there as something else, or in a
            folder of labels. A folder in one goes on where it was begun so.
        MerError: its folder is missing.
    """
    if out is None:
        return Output(Kind.NOTHING)
    if out == STDOUT:
        return Output(Kind.STDOUT, out)
    if not out or is_remote(out):
        raise UsageError(f"{out or 'an empty name'} names no place for rows on this machine")
    suffix = Path(out).suffix.lower()
    if out.endswith((os.sep, "/")) or not suffix or os.path.isdir(out):
        if not _holds_shards(out):
            refuse_inside_labels(out)
        return Output(Kind.FOLDER, out)
    if suffix not in SUFFIXES:
        raise UsageError(
            f"{out}: the name of a file of rows must end in {', '.join(SUFFIXES)}; "
            f"{out}/ names a folder of shards"
        )
    folder = os.path.dirname(os.path.realpath(out))
    if not os.path.isdir(folder):
        raise MerError(f"{out} cannot be written: No such file or directory: {folder}")
    if os.path.exists(out) and not stat.S_ISREG(os.stat(out).st_mode):
        raise UsageError(f"{out} is no regular file: {STDOUT} writes JSON lines to stdout")
    refuse_inside_labels(out)
    return Output(Kind.FILE, out)


def refuse_inside_labels(path: str, *begun: str) -> None:
    """Refuses to write to a place in a folder of labels at any depth, or to that folder, by whatever links.

    Args:
        begun: folders that will be such.

    Raises:
        UsageError: it is there: programs that read the folder as a whole would read it too, or fail.
    """
    place, folders = os.path.realpath(path), {*map(os.path.realpath, begun)}
    for folder in map(str, (Path(place), *Path(place).parents)):
        if folder in folders or _holds_shards(folder):
            raise UsageError(
                f"{path} is inside {folder}, which other programs read as a whole: name another place"
            )


def _holds_rows(file: Path) -> bool:
    """Whether a file has the columns that rows had in every version. Of JSON its first row is read."""
    if file.suffix.lower() == ".parquet":
        with opened_parquet(str(file)) as table:
            names = table.schema_arrow.names
    elif file.suffix.lower() == ".csv":
        names, _ = open_csv(str(file), "path")
    else:
        with file.open(encoding="utf-8-sig") as lines:
            whole = iter(lambda: lines.readline(LONGEST_LINE), "")
            first = next((line for line in whole if line.strip()), "{}")
        row = json_from_text(first, LONGEST_LINE)
        names = row if isinstance(row, dict) else ()
    return {*_IN_EVERY_ROW} <= {*names}


def _holds_shards(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(SHARD_NAME.fullmatch(entry.name) for entry in entries)
    except OSError:  # files can be made in some folders that cannot be listed
        return False


def _are_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return os.path.realpath(one) == os.path.realpath(other)


def _is_input(path: str, argument: str) -> UsageError:
    also = "" if path == argument else f" ({argument})"
    return UsageError(f"{path} is an input of this run{also}: name another file for the rows")
