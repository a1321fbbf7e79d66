"""The rows of a folder of labels as songs, which of them are meant, and where their files are today."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ..audio.formats import is_remote
from ..catalogue.capitals import is_same_way
from ..catalogue.reconcile import is_absent, paths_from_text
from ..catalogue.run_info import RunInfo
from ..catalogue.shard_file import ShardFile
from ..catalogue.shards import labelled_shards
from ..catalogue.source import is_same_time, labels_came_along, real_path_of, source_from_path
from ..errors import MerError, UsageError
from ..labelling.further import prefix_of_columns

_TEXTS = ("path", "real_path", "emotion", "verdict", "artist", "title", "album")
_SAID = ("emotion", "verdict", "confidence")  # of the model that is asked for
_SHA256 = "model_sha256"  # with the prefix in front, the last column of a further model
_NUMBERS = ("confidence", "duration_s", "size_bytes", "mtime_ns")


@dataclass(frozen=True, slots=True)
class Song:
    """What a row says, without its timeline; ``shard`` and ``number`` are its place.

    ``emotion`` is None for errors and for what is no music. ``verdict`` is None in rows of older versions,
    ``shares`` are the probabilities in the order of the labels, empty where there are none.
    """

    shard: Path
    number: int
    path: str
    real_path: str | None
    emotion: str | None
    verdict: str | None
    artist: str | None
    title: str | None
    album: str | None
    confidence: float | None
    duration_s: float | None
    size_bytes: int | None
    mtime_ns: int | None
    shares: tuple[float, ...]


class Found(Enum):
    """What became of a song's file since it was labelled."""

    SAME = "as it was"
    CHANGED = "has changed since it was labelled"
    MISSING = "not there now"
    REMOTE = "on another machine"


def labels_in(folder: str | Path) -> tuple[RunInfo, Iterator[ShardFile]]:
    """``labelled_shards``, which says of a file of rows that a folder is wanted."""
    if Path(folder).is_file():
        wanted = f"{folder} is a file: a folder of labels is wanted, from 'mer-label --out FOLDER/'"
        raise MerError(f"{wanted}, or of its rows from 'mer-label --from {folder} --out FOLDER/'")
    return labelled_shards(Path(folder))


def songs_in(folder: str | Path, model: str | None = None) -> tuple[tuple[str, ...], Iterator[Song]]:
    """The labels of a folder's model, and its rows in order, those with errors too.

    Args:
        model: a further one of the folder's models, for its labels and what it says; by default the first.

    Raises:
        UsageError: the folder has no columns of ``model``.
        MerError: it is no folder of labels; or, from the iterator, a shard is damaged or foreign.
    """
    info, shards = labels_in(folder)
    labels, prefix = info.labels, ""
    if model not in (None, info.decides.get("model")):
        prefix = prefix_of_columns(model)
        labels = tuple(
            name.removeprefix(f"{prefix}p_") for name in info.carried if name.startswith(f"{prefix}p_")
        )
        if not labels or f"{prefix}{_SHA256}" not in info.carried:
            names = [name.removesuffix(f"_{_SHA256}") for name in info.carried if name.endswith(_SHA256)]
            known = ", ".join((str(info.decides.get("model")), *names))
            raise UsageError(f"{folder} has no labels of a model {model}; it has those of: {known}")
    shares = [f"{prefix}p_{label}" for label in labels]
    said = {f"{prefix}{name}": name for name in _SAID} if prefix else {}

    def songs() -> Iterator[Song]:
        own = [name for name in (*_TEXTS, *_NUMBERS) if name not in said.values()]
        for shard in shards:
            columns = [name for name in (*own, *said, *shares) if name in shard.columns]
            for number, row in enumerate(shard.rows(columns)):
                named = {said.get(name, name): value for name, value in row.items()}
                yield _song(shard.path, number, named, shares)

    return labels, songs()


def _song(shard: Path, number: int, row: dict[str, Any], shares: list[str]) -> Song:
    values = [row[name] for name in shares]
    known = () if None in values else tuple(round(value, 6) for value in values)
    confidence = row["confidence"]
    return Song(
        shard,
        number,
        **{name: row.get(name) or None for name in _TEXTS if name != "path"},
        path=row["path"],
        confidence=None if confidence is None else round(confidence, 6),
        **{name: row[name] for name in _NUMBERS[1:]},
        shares=known,
    )


def is_sure(song: Song, min_confidence: float = 0.0, unsure: bool = False) -> bool:
    """Whether a song with an emotion is meant: its verdict is "sure" (or there is none), and it is confident.

    Args:
        min_confidence: the least confidence, 0 to 1.
        unsure: those with another verdict are meant too.
    """
    sure_enough = unsure or song.verdict in (None, "sure")
    return sure_enough and (song.confidence or 0.0) >= min_confidence


def find(song: Song) -> tuple[Found, str]:
    """What became of a song's file, and its path: as it was typed if that leads to it, else where it led.

    Where labels were copied with the music, the song is the copy, also where that has changed or went. Else,
    where the file is still there, a path of the same text that leads elsewhere now is not taken for it: it
    may be of a backup. Nor is one whose file has another size or time; only ``real_path`` can have changed.
    """
    if is_remote(song.path):
        return Found.REMOTE, song.path
    own = song.real_path or song.path
    found, path = _found_at(own, song)
    if own == song.path:
        return found, path
    typed_found, typed = _found_at(song.path, song)
    # Real paths, since tagging gives a hard link in a backup another file.
    if typed_found is Found.SAME and (
        found is Found.MISSING or is_same_way(real_path_of(typed), real_path_of(path))
    ):
        return Found.SAME, typed
    if any(labels_came_along(song.shard, song.path, each) for each in paths_from_text(own)):
        return typed_found, typed
    return found, path


def _found_at(text: str, song: Song) -> tuple[Found, str]:
    """What became of a song's file, if it is one that rows hold as ``text``."""
    changed = None
    for path in paths_from_text(text):
        now = source_from_path(path)
        if is_absent(now):
            continue
        if now.size_bytes == song.size_bytes and is_same_time(now.mtime_ns, song.mtime_ns):
            return Found.SAME, path
        changed = changed or path
    return (Found.CHANGED, changed) if changed else (Found.MISSING, song.path)
