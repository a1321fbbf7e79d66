"""Reads files of rows that mer-label wrote (Parquet, CSV, JSON lines), changed by others since or not."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..audio.readable import opened
from ..errors import MerError
from ..strict_json import json_from_text
from ..text.escape import text_from_csv
from .csv_rows import open_csv
from .parquet_rows import is_index, opened_parquet
from .reconcile import paths_from_text
from .rounded_times import has_whole_time
from .row_file import LONGEST_LINE, SUFFIXES
from .rows import columns_of_rows, rounded
from .run_info import FILE_KEY, RunInfo, fields_from_json, info_from_fields
from .shards import NEW_COLUMNS

Record = dict[str, Any]
_Rows = Callable[[], Iterator[Record]]
_SHA256 = "_model_sha256"  # what the last column of a further model ends in
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+([eE][+-]?\d+)?")
_KINDS: dict[Any, str] = {bool: "bool", int: "int64", float: "float64"}  # all else is text


def rows_in_file(file: Path, say: Callable[[str], None] = lambda line: None) -> tuple[RunInfo, _Rows]:
    """What the rows of a file have in common, and the rows, all of which have been looked at.

    Columns that were added count as a manifest's. Of several rows of one file the last one is taken. Parquet
    says which options its rows were made with. CSV and JSON lines say the models alone, so that no run can go
    on in a folder of their rows.

    Args:
        say: gets a line, with the last row, where another program rounded times that no file tells.

    Raises:
        MerError: it cannot be read, or is not what mer-label writes.
    """
    read = {".parquet": _from_parquet, ".csv": _from_csv, ".jsonl": _from_jsonl}.get(file.suffix.lower())
    if read is None:
        raise MerError(f"{file} holds no rows: the name of a file of rows ends in {', '.join(SUFFIXES)}")
    with _explained(file):
        columns, said, rows = read(file)
        labels = _labels(columns, said)
        own = columns_of_rows(labels)
        if missing := [name for name in own if name not in columns and name not in NEW_COLUMNS]:
            raise MerError(f"{file} holds no rows of mer-label: it has no column {missing[0]!r}")
        first: Record | None = None
        kinds: dict[str, set[str]] = {name: set() for name in columns if name not in own}
        last: dict[Hashable, int] = {}  # of each song
        for number, row in enumerate(rows(), 1):
            first = first or row
            _check(row, first, labels, own, number)
            last[_song_of(row, number)] = number
            for name in row.keys() - own.keys():
                value = row[name]
                kinds.setdefault(name, set()).update(
                    () if value is None else (_KINDS.get(type(value), "string"),)
                )
        if first is None:
            raise MerError(f"{file} holds no rows")
        carried = {name: _kind(found) for name, found in kinds.items()}
        info = RunInfo(labels, carried, _decides(first, carried))
        if said is not None:
            info = replace(said, carried={**carried, **said.carried})

    def wanted() -> Iterator[Record]:
        texts = [name for name, kind in info.carried.items() if kind == "string"]
        untold = 0
        with _explained(file):
            for number, row in enumerate(rows(), 1):
                if last[_song_of(row, number)] == number:
                    untold += not has_whole_time(row)
                    for name in own:
                        row[name] = _stored(row.get(name), own[name])
                    for name in texts:
                        value = row.get(name)
                        row[name] = value if value is None or isinstance(value, str) else str(value)
                    yield row
        if untold:
            say(
                "mtime_ns was rounded by another program, and no file tells the whole of it "
                f"(rows: {untold}): these count as changed. Keep it whole there (Int64 in pandas, text in a "
                "spreadsheet)"
            )

    return info, wanted


def _labels(columns: list[str], said: RunInfo | None) -> tuple[str, ...]:
    """The labels, in the order of the shares in windows: that of the columns, where nobody has moved them.

    Raises:
        ValueError: a column is there twice, or those of the shares were moved or removed.
    """
    if twice := [name for name in dict.fromkeys(columns) if columns.count(name) > 1]:
        raise ValueError(f"it has two columns {twice[0]!r}: rename one")
    if not {"confidence", "duration_s"} <= {*columns}:
        return ()  # the first column that is missing will be named
    between = columns[columns.index("confidence") : columns.index("duration_s")]
    labels = tuple(name[2:] for name in between if name.startswith("p_"))
    if not labels or (said is not None and labels != said.labels):
        raise ValueError("the columns p_... do not stand where mer-label wrote them, before 'duration_s'")
    return labels


def _decides(row: Record, columns: dict[str, str]) -> dict[str, Any]:
    """What a row says of the run that made it."""
    further = [name.removesuffix(_SHA256) for name in columns if _is_further(name, columns)]
    return {
        **{name: row.get(name) for name in ("model", "model_sha256", "runtime")},
        "audio_spec": None,  # nor the windows: the row does not say it
        "further": ", ".join(f"{row.get(name + _SHA256)} {name}" for name in further) or None,
    }


def _is_further(name: str, columns: Any) -> bool:
    """Whether a column is the last one of a further model."""
    prefix = name.removesuffix(_SHA256)
    return name.endswith(_SHA256) and {f"{prefix}_verdict", f"{prefix}_novelty"} <= {*columns}


def _song_of(row: Record, number: int) -> Hashable:
    """What rows of one file have in common. One without a path is of no file, and stands for itself.

    Names that are not UTF-8 may look alike: their sizes and times tell them apart, as in ``InputStore``.
    """
    text = row.get("real_path") or row["path"] or number
    if isinstance(text, str) and len(list(paths_from_text(text))) > 1:
        return text, row.get("size_bytes"), row.get("mtime_ns")
    return text


def _check(row: Record, first: Record, labels: tuple[str, ...], own: dict[str, str], number: int) -> None:
    empty: tuple[str, ...] = ()
    if row.get("status") == "error" and row.get("path") == "":  # of a table's line without a path
        empty = ("path", "real_path")
    for name, kind in own.items():
        value = row.get(name)
        if value is None and name not in ("path", "status"):
            continue
        if not (_is_one(value, kind, len(labels)) or (value == "" and name in empty)):
            raise _wrong(number, name, value, kind)
    for name, known in (("status", ("ok", "error")), ("emotion", (None, *labels))):
        if row.get(name) not in known:
            raise _wrong(number, name, row.get(name))
    if _are_in_another_order(row, labels):
        raise ValueError(
            f"row {number}: its columns p_... are not in the order in which mer-label wrote them"
        )
    if row.get("model_sha256") != first.get("model_sha256"):
        raise ValueError(f"row {number} is by another model than the first one")


def _wrong(number: int, name: str, value: Any, kind: str = "string") -> ValueError:
    """What a row says that mer-label does not write there."""
    is_comma = kind not in ("string", "windows") and _DECIMAL_COMMA.fullmatch(str(value))
    helps = ": a decimal comma; save the table with points" if is_comma else ""
    return ValueError(f"row {number}: {name} is {str(value)[:40]!r}{helps}")


def _are_in_another_order(row: Record, labels: tuple[str, ...]) -> bool:
    """Whether a row's shares, which are the means of its windows', are those of other labels."""
    heard = [window["p"] for window in row.get("windows") or () if window["p"]]
    shares: list[Any] = [row.get(f"p_{label}") for label in labels]
    if not heard or None in shares:
        return False
    means = [sum(values) / len(values) for values in zip(*heard, strict=True)]
    return not _are_near(means, shares) and _are_near(sorted(means), sorted(shares))


def _are_near(some: list[float], others: list[float]) -> bool:
    return all(abs(one - other) < 1e-4 for one, other in zip(some, others, strict=True))


def _is_one(value: Any, kind: str, labels: int) -> bool:
    """Whether a value is one of a column of rows."""
    if kind == "windows":
        return isinstance(value, list) and all(
            isinstance(window, dict)
            and window.keys() == {"start_s", "p"}
            and _is_one(window["start_s"], "float64", labels)
            and (window["p"] is None or (len(window["p"]) == labels and all(map(_is_share, window["p"]))))
            for window in value
        )
    if kind == "string":
        return isinstance(value, str) and value != ""
    if kind == "float32":  # the confidence, the novelty and the shares
        return _is_share(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and (float(value).is_integer() if kind == "int64" else abs(value) < float("inf"))


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _stored(value: Any, kind: str) -> Any:
    """With whole numbers as such: pandas makes floats of a column in which some are missing."""
    return int(value) if kind == "int64" and value is not None else value


def _kind(kinds: set[str]) -> str:
    """The kind of a manifest's column, from those of its values."""
    if len(kinds) == 1:
        return next(iter(kinds))
    return "float64" if kinds == {"int64", "float64"} else "string"


def _from_parquet(file: Path) -> tuple[list[str], RunInfo | None, _Rows]:
    import pyarrow as pa

    with opened_parquet(str(file)) as table:
        schema, text = table.schema_arrow, (table.metadata.metadata or {}).get(FILE_KEY)
    floats = [field.name for field in schema if pa.types.is_float32(field.type)]
    names = [name for name in schema.names if text or not is_index(name)]  # pandas takes that text away

    def rows() -> Iterator[Record]:
        with opened_parquet(str(file)) as table:
            for batch in table.iter_batches(100, use_threads=False):  # shard_file.py says why
                for row in batch.select(names).to_pylist():
                    row = _read_from_csv(row)
                    is_stored = isinstance(windows := row.get("windows"), list) and all(
                        isinstance(window, dict) and "p" in window for window in windows
                    )
                    yield rounded(row, floats) if is_stored or windows is None else row

    return names, None if text is None else info_from_fields(fields_from_json(text, file)), rows


def _from_csv(file: Path) -> tuple[list[str], None, _Rows]:
    header, _ = open_csv(str(file), "path", LONGEST_LINE)
    names = [*filter(None, header)]  # of spreadsheets' empty columns, and of pandas' index, nothing is kept
    kinds = dict.fromkeys(names, "string") | columns_of_rows(_labels(names, None))
    for prefix in (name.removesuffix(_SHA256) for name in names if _is_further(name, names)):
        numbers = (f"{prefix}_confidence", f"{prefix}_novelty", f"{prefix}_p_")
        kinds |= {name: "float64" for name in names if name.startswith(numbers)}

    def rows() -> Iterator[Record]:
        for number, cells in enumerate(open_csv(str(file), "path", LONGEST_LINE)[1], 1):
            row = {}
            for name, cell in zip(header, cells, strict=True):
                try:
                    has_value = name and (cell or name == "path")
                    row[name] = _value(cell, kinds[name]) if has_value else None
                except ValueError:
                    raise _wrong(number, name, cell, kinds[name]) from None
            row.pop("", None)
            yield row

    return names, None, rows


def _value(cell: str, kind: str) -> Any:
    """What stands in a cell."""
    if kind == "windows":
        return json_from_text(cell, LONGEST_LINE)
    if kind == "int64":
        return int(cell) if cell.lstrip("-").isdigit() else float(cell)
    return cell if kind == "string" else float(cell)


def _read_from_csv(row: Record) -> Record:
    """A row that another program read from CSV and wrote as Parquet or JSON: its timeline is text.

    What keeps cells from being formulas is taken off, and what was an empty cell is null.
    """
    with suppress(KeyError, TypeError, ValueError):  # no text, or no JSON, which is named later
        windows = json_from_text(row["windows"], LONGEST_LINE)
        texts = {name: text_from_csv(value) for name, value in row.items() if isinstance(value, str)}
        told = {name: text or None for name, text in texts.items()}
        return {**row, **told, "path": texts.get("path"), "windows": windows}
    return row


def _from_jsonl(file: Path) -> tuple[list[str], None, _Rows]:
    def rows() -> Iterator[Record]:
        with opened(file) as binary, io.TextIOWrapper(binary, "utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    row = json_from_text(line, LONGEST_LINE)
                    if not isinstance(row, dict):
                        raise ValueError(f"line {number} is no row")
                    yield _read_from_csv(row)

    return list(next(rows(), {})), None, rows


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except MerError:
        raise
    except (OSError, ValueError, TypeError, LookupError, NotImplementedError) as error:  # Arrow's own too
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise MerError(f"{file} cannot be read: {reason}") from None
