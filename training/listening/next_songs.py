"""The songs of a catalogue that are to be labelled next, by what a model says of them and how they sound."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...engine.arrays import Float32
from ...engine.data.labelled_audio import Clip
from ...engine.errors import MerError
from .choice import points_from_probabilities, songs_to_label, uncertainty_from_probabilities
from .label_rows import LabelledSongs
from .queue_file import QueuedSong

_WORTH_HEARING = 10  # times as many songs as are asked for


@dataclass(frozen=True)
class Hearing:
    """Whose ears say which songs are alike: see ``clip_embeddings``."""

    weights: str
    cache: Path | None = None
    workers: int = 0


def next_songs(
    found: LabelledSongs, known: Collection[str], count: int, seed: int = 0, hearing: Hearing | None = None
) -> list[QueuedSong]:
    """``count`` songs without a label, the most telling first; fewer where there are no more.

    Args:
        known: the paths of songs that have a label.
        hearing: None for songs that are alike where the model says the same of them.

    Raises:
        UsageError, MerError: see ``clip_embeddings``; or none of the songs can be heard.
    """
    labelled = np.array([song.path in known for song in found.songs])
    unsure = uncertainty_from_probabilities(found.probabilities)
    points = points_from_probabilities(found.probabilities)
    if hearing is None:
        return [found.songs[i] for i in songs_to_label(points, unsure, labelled, count, seed)]
    # To hear takes time, and of a large catalogue most songs are like others: these are as good as all.
    worth = songs_to_label(points, unsure, labelled, _WORTH_HEARING * count, seed)
    if not worth:
        return []
    heard, points = _heard([*worth, *map(int, np.flatnonzero(labelled))], found.songs, hearing)
    chosen = songs_to_label(points, unsure[heard], labelled[heard], count, seed)
    return [found.songs[heard[i]] for i in chosen]


def _heard(
    positions: Sequence[int], songs: Sequence[QueuedSong], hearing: Hearing
) -> tuple[list[int], Float32]:
    """The positions of the songs that could be heard, and their embeddings ``[songs, features]``."""
    from ..embeddings.embeddings import clip_embeddings
    from ..progress import TerminalProgress

    clips = [Clip(Path(songs[position].path), "", "") for position in positions]
    with TerminalProgress() as progress:
        on_done = progress.cached(len(clips))
        vectors = clip_embeddings(hearing.weights, clips, hearing.cache, hearing.workers, on_done)
    pairs = [(i, v) for i, v in zip(positions, vectors, strict=True) if not isinstance(v, MerError)]
    if not pairs:
        raise MerError("none of the songs can be heard any more")
    return [position for position, _ in pairs], np.stack([vector for _, vector in pairs])
