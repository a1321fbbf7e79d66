"""A folder of labels as the few numbers and texts that the page shows."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...audio.decoder import TAGS
from ...spec import QUADRANTS
from ...text.escape import for_terminal
from ..songs import labels_in
from .packed import Column
from .places import Places
from .timelines import LEVELS, SILENT, Timelines, timelines_from_column

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_CELLS = 3_000_000  # of all timelines: about 10 MB of page
_MOST_OF_A_SONG = 500
_NONE = 255  # in place of a number of 8 bits
_SHARES = 250  # a share of 1 as a number of 8 bits
_CONFIDENCE = 10_000
_WANTED = (
    "path", "real_path", "status", "error", "emotion", "confidence", "verdict", "novelty", "duration_s",
    "windows", "model", *TAGS,
)  # fmt: skip


@dataclass(frozen=True)
class Catalogue:
    """What the page is given: ``about`` and ``columns`` are what ``packed`` packs.

    ``songs`` counts its rows, ``there`` those of them whose files are there; ``missing`` the songs whose
    files are not, left out or not. An error is one of these only where its file is gone from a folder that is
    there: a disk that is away is a reason to show it.
    """

    about: dict[str, Any]
    columns: dict[str, Column]
    songs: int
    there: int
    missing: int


def catalogue_from_folder(folder: Path, page: Path, keep_missing: bool = False) -> Catalogue:
    """The songs of a folder of labels, in its order.

    Args:
        page: the page's file; the ways to songs are relative to its folder.
        keep_missing: do not leave out songs whose files are not there; they cannot be played.

    Raises:
        MerError: it is no folder of labels, or a shard is damaged.
    """
    info, shards = labels_in(folder)
    labels = info.labels
    count = sum(shard.count for shard in shards)
    most = min(_MOST_OF_A_SONG, max(3, _MOST_CELLS // max(1, count)))
    rows = _Rows(labels, most, _tenths(info.decides.get("window_s")), Places(page), keep_missing)
    wanted = (*_WANTED, *(f"p_{label}" for label in labels))
    for shard in labels_in(folder)[1]:
        rows.add(shard.table([name for name in wanted if name in shard.columns]))
    about = {
        "labels": list(map(for_terminal, labels)),
        "isPlane": {*labels} == {*QUADRANTS},
        "levels": LEVELS,
        "silent": SILENT,
        "none": _NONE,
        "shares": _SHARES,
        "confidence": _CONFIDENCE,
        "songs": rows.songs,
        **rows.texts_of("model", "verdict"),
    }
    return Catalogue(about, rows.columns(), rows.songs, rows.there, rows.missing)


@dataclass
class _Numbers:
    """Texts that repeat, each with a number; "" is 0."""

    of: dict[str, int] = field(default_factory=lambda: {"": 0})

    def add(self, texts: Iterator[str]) -> Any:
        of = self.of
        return np.fromiter((of.setdefault(text, len(of)) for text in texts), np.uint32)


class _Rows:
    """Gathers the rows of tables.

    Args:
        length: of a window in tenths of a second; 0 where the folder does not say it.
    """

    def __init__(
        self, labels: tuple[str, ...], most: int, length: int, places: Places, keep_missing: bool
    ) -> None:
        self._labels, self._most, self._length = labels, most, length
        self._places, self._keep = places, keep_missing
        self._index = {label: number for number, label in enumerate(labels)}
        self._arrays: dict[str, list[Any]] = {}
        self._texts: dict[str, list[str]] = {"title": [], "file": []}
        repeated = ("artist", "album", "folder", "error", "model", "verdict")
        self._numbers = {name: _Numbers() for name in repeated}
        self.songs = self.there = self.missing = 0

    def add(self, table: pa.Table) -> None:
        names = set(table.column_names)
        real_paths = _values(table, "real_path")
        found = [self._places.of(*row) for row in zip(_values(table, "path"), real_paths, strict=True)]
        rows = zip(_values(table, "path"), real_paths, _values(table, "status"), found, strict=True)
        missing = [
            not is_there and (status != "error" or self._places.is_gone(path, real_path))
            for path, real_path, status, (_, is_there) in rows
        ]
        kept = [self._keep or not is_missing for is_missing in missing]
        places = [place for (place, _), is_kept in zip(found, kept, strict=True) if is_kept]
        self.missing += sum(missing)
        self.there += sum(is_there for _, is_there in found)
        self.songs += len(places)
        table = table.filter(np.array(kept, bool))
        self._texts["title"] += map(for_terminal, _texts(table, "title"))
        self._texts["file"] += (place.name for place in places)
        self._add("folder", self._numbers["folder"].add(place.folder for place in places))
        for name in ("artist", "album", "error", "model", "verdict"):
            # A name is one, in whichever normal form a file has it.
            texts = (unicodedata.normalize("NFC", text) for text in _texts(table, name))
            self._add(name, self._numbers[name].add(map(for_terminal, texts)))
        self._add("link", np.array([place.is_link for place in places], np.uint8))
        emotions = [self._index.get(text, _NONE) for text in _values(table, "emotion")]
        self._add("emotion", np.array(emotions, np.uint8))
        self._add("confidence", np.round(_CONFIDENCE * _floats(table, "confidence", 0)).astype(np.uint16))
        for number, label in enumerate(self._labels):
            shares = np.round(_SHARES * _floats(table, f"p_{label}", 0)).astype(np.uint8)
            self._add(f"p{number}", shares)
        # Shards of older versions lack the column.
        none = _NONE / _SHARES
        novelty = _floats(table, "novelty", none) if "novelty" in names else np.full(len(table), none)
        self._add("novelty", np.round(_SHARES * novelty).astype(np.uint8))
        self._add(
            "tenths", np.round(10 * _floats(table, "duration_s", 0)).clip(0, 2**32 - 1).astype(np.uint32)
        )
        self._add_timelines(timelines_from_column(table.column("windows"), len(self._labels), self._most))

    def _add_timelines(self, timelines: Timelines) -> None:
        self._add("cells", timelines.counts.astype(np.uint16))
        self._add("lengths", np.where(timelines.merged, 0, self._length).astype(np.uint16))
        self._add("starts", timelines.starts_ds.clip(0, 2**32 - 1).astype(np.uint32))
        for number, levels in enumerate(timelines.levels):
            self._add(f"levels{number}", levels)

    def _add(self, name: str, array: Any) -> None:
        self._arrays.setdefault(name, []).append(array)

    def columns(self) -> dict[str, Column]:
        """The columns, of as many rows as there are ``songs``; those of cells have one for each cell.

        ``lengths`` are those of a song's cells in tenths of a second; 0 is up to the next one's start. A
        start is the difference from the cell before, which compresses well: most songs have the same.
        """
        columns: dict[str, Column] = {name: np.concatenate(parts) for name, parts in self._arrays.items()}
        if "starts" in columns:
            columns["starts"] = _differences(columns["starts"], columns["cells"])
        columns |= self._texts
        columns |= {f"{name}Names": list(numbers.of) for name, numbers in self._numbers.items()}
        return columns

    def texts_of(self, *names: str) -> dict[str, list[str]]:
        return {f"{name}s": [text for text in self._numbers[name].of if text] for name in names}


def _tenths(seconds: Any) -> int:
    """Of what a folder says; 0 where that is no number."""
    return round(min(max(10 * seconds, 0), 2**16 - 1)) if isinstance(seconds, int | float) else 0


def _differences(starts: Any, cells: Any) -> Any:
    differences = np.diff(starts.astype(np.int64), prepend=0)
    firsts = np.cumsum(cells.astype(np.int64)) - cells
    firsts = firsts[cells > 0]
    differences[firsts] = starts[firsts]
    return differences.astype(np.uint32)


def _values(table: pa.Table, name: str) -> list[Any]:
    """A column; Nones where older rows lack it."""
    return table.column(name).to_pylist() if name in table.column_names else [None] * table.num_rows


def _texts(table: pa.Table, name: str) -> Iterator[str]:
    return (value or "" for value in _values(table, name))


def _floats(table: pa.Table, name: str, missing: float) -> Any:
    import pyarrow.compute as pc

    column = pc.fill_null(table.column(name).cast("float64"), float(missing))
    return np.nan_to_num(np.asarray(column), nan=missing)
