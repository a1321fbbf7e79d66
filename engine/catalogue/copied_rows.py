"""Copies rows: of a folder of labels to a file, of a file to a folder or another file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import MerError, UsageError
from ..files import staging
from .output import Kind, output_from_text
from .row_file import RowFile
from .rows import columns_of_rows
from .run_info import RunInfo
from .shards import ShardFolder, labelled_shards, rows_in
from .written_rows import rows_in_file


def copy_rows(source: str | Path, out: str | Path, say: Callable[[str], None] = lambda line: None) -> int:
    """Copies the rows of a folder of labels, or of a file of rows, to another place; returns their number.

    Args:
        out: a ``.parquet``, ``.csv`` or ``.jsonl`` file, ``-`` for stdout, or, for the rows of a file, a new
            folder of labels.

    Raises:
        UsageError: another suffix, a file in a folder of shards, a file that is there and holds no rows, or
            a folder for the rows of one.
        MerError: ``source`` holds no rows, or a damaged one; ``out`` is a folder that holds something, or
            cannot be written.
    """
    source = Path(source)
    output = output_from_text(str(out))
    output.refuse_foreign(partial=False)
    if not source.is_file():
        info = labelled_shards(source)[0]
        if output.kind is Kind.FOLDER and os.path.isdir(out):
            raise UsageError(f"{out} is a folder: name a file for the rows of one")
        with RowFile(out, info) as file:
            return _copy(rows_in(source), info, file)
    info, rows = rows_in_file(source, say)
    if output.kind is not Kind.FOLDER:
        with RowFile(out, info) as file:
            return _copy(rows(), info, file)
    with _whole_folder(Path(out)) as folder, ShardFolder(folder, info) as shards:
        return _copy(rows(), info, shards)


def _copy(rows: Iterable[Mapping[str, Any]], info: RunInfo, place: RowFile | ShardFolder) -> int:
    columns = (*columns_of_rows(info.labels), *info.carried)
    count = 0
    for row in rows:
        place.write({name: row.get(name) for name in columns})  # older ones lack some
        count += 1
    return count


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A folder beside this one, which gets its name when the block ends without an error, or goes.

    A part of the rows would be taken for all of them.
    """
    place = Path(os.path.realpath(folder))
    try:
        if place.is_dir() and any(place.iterdir()):
            raise MerError(f"{folder} is not empty: name a new folder")
        place.parent.mkdir(parents=True, exist_ok=True)
        with staging(place.parent) as begun:
            yield begun / "labels"  # made by whoever writes, with the rights of a folder of theirs
            os.replace(begun / "labels", place)
    except (OSError, MerError) as error:
        cause = error.__cause__ if isinstance(error, MerError) else error
        if not isinstance(cause, OSError):
            raise
        # A run's text is about the folder beside, and that its rows are kept.
        raise MerError(f"{folder} cannot be written: {cause.strerror or cause}") from None
