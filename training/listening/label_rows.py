"""The rows of mer-label as songs that could be labelled by hand, with what the model says of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.arrays import Float32
from ...engine.audio.formats import is_remote
from ...engine.catalogue.reconcile import paths_from_text
from ...engine.catalogue.row_file import SUFFIXES
from ...engine.catalogue.run_info import RunInfo
from ...engine.catalogue.shards import labelled_shards, rows_in
from ...engine.catalogue.written_rows import rows_in_file
from ...engine.errors import MerError, UsageError
from .label_file import path_cell
from .queue_file import QueuedSong

_WITHOUT_EMOTION = ("not_music", "silence")


@dataclass(frozen=True)
class LabelledSongs:
    """Songs of a catalogue, each once; ``probabilities`` is ``[songs, labels]``.

    ``left_out`` counts rows by the reason why they are none of these.
    """

    songs: tuple[QueuedSong, ...]
    labels: tuple[str, ...]
    probabilities: Float32
    left_out: dict[str, int]


def songs_from_labels(place: Path, folder: Path = Path()) -> LabelledSongs:
    """The songs of a folder of labels, or of a file of rows, whose files are there.

    Args:
        folder: that of the queue, which must be able to name them.

    Raises:
        UsageError: neither of them.
        MerError: it cannot be read, is no output of mer-label, or names no song that could be labelled.
    """
    info, rows = _rows(place)
    songs: dict[str, tuple[QueuedSong, list[float]]] = {}
    left_out: dict[str, int] = {}
    for row in rows:
        path = os.path.realpath(_file(row))
        shares = [row[f"p_{name}"] for name in info.labels]
        if reason := _reason_against(row, shares, path, folder):
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        song = QueuedSong(path, row.get("artist") or "", row.get("title") or "")
        songs.setdefault(path, (song, shares))
    if not songs:
        named = "; ".join(f"{count} {reason}" for reason, count in left_out.items()) or "it has no rows"
        raise MerError(f"{place} names no song that could be labelled: {named}")
    probabilities = np.array([shares for _, shares in songs.values()], np.float32)
    return LabelledSongs(tuple(song for song, _ in songs.values()), info.labels, probabilities, left_out)


def _rows(place: Path) -> tuple[RunInfo, Iterator[dict[str, Any]]]:
    if place.is_dir():
        return labelled_shards(place)[0], rows_in(place)
    if place.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{place} is neither a folder of labels nor a file of rows ({', '.join(SUFFIXES)})")
    info, rows = rows_in_file(place)
    return info, rows()


def _file(row: dict[str, Any]) -> str:
    """Where a row's file was, or is by the path that was typed: a folder above it may have another name."""
    paths = [_path(text) for text in (row.get("real_path"), row["path"]) if text]
    return next(filter(os.path.isfile, paths), paths[0])


def _path(text: str) -> str:
    """The path of a row, in which ``\\xNN`` stands for a byte that is not UTF-8, or for itself."""
    paths = list(paths_from_text(text))
    return next(filter(os.path.exists, paths), paths[0])


def _reason_against(row: dict[str, Any], shares: list[Any], path: str, folder: Path) -> str:
    if row["status"] != "ok" or None in shares:
        return "could not be labelled"
    if row.get("verdict") in _WITHOUT_EMOTION:
        return "no music"
    if is_remote(row["path"]):
        return "not on this machine"
    if not os.path.isfile(path):
        return "not there any more"
    try:
        path_cell(path, folder)
    except MerError:
        return "with a name that is not UTF-8: rename it"
    return ""
