"""The music that INT8 is calibrated on: which songs, how many windows of each, and the ranges they give."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.artifact import Artifact
from ..engine.catalogue.expand import inputs_from_paths
from ..engine.data.labelled_audio import Clip
from ..engine.errors import MerError
from ..engine.spec import AudioSpec
from .calibration import cached_ranges, calibration_key, ranges_from_log_mels
from .precision import Ranges
from .song_log_mels import SongLogMels, log_mels_from_archive, log_mels_from_songs

_SEED = 0


@dataclass(frozen=True)
class CalibrationSet:
    """What a model's INT8 graph is calibrated on. No file is looked for or decoded before it is needed.

    Attributes:
        spec: of the log-mels, the model's.
        clips: labelled clips that the model's score is not computed on.
        source: instead of ``clips``, a folder or a file of audio, or an .npz archive of log-mels.
        origin: for the report: where ``clips`` or ``source`` come from.
        windows: how many, over all songs.
        method: "percentile", "entropy" or "minmax", as in ``ranges_from_log_mels``.
        workers: processes that decode; 0 is one a core.
    """

    spec: AudioSpec
    clips: tuple[Clip, ...]
    source: str | None
    origin: str
    windows: int = 256
    method: str = "percentile"
    workers: int = 0

    @cached_property
    def log_mels(self) -> SongLogMels:
        """The calibration windows, decoded on first use.

        Raises:
            MerError: no file gives audio, or the archive is not of this spec.
        """
        paths, windows_a_song = self._songs
        if paths[0].suffix == ".npz":
            return log_mels_from_archive(paths[0], self.spec)
        return log_mels_from_songs(paths, self.spec, windows_a_song, self.workers)

    def ranges(self, artifact: Artifact, tensors: Sequence[str], say: Callable[[str], None]) -> Ranges:
        """The ranges of a model's activations ``tensors``; from the cache if the same files gave them before.

        Raises:
            MerError: a file cannot be read, or gives no audio.
        """
        paths, _ = self._songs
        key = calibration_key(artifact.sha256, tensors, self.method, paths, self.windows)

        def compute() -> Ranges:
            log_mels = self.log_mels.spread(self.windows)
            songs = len(self.log_mels.songs)
            say(f"  calibrating ({self.method}) on {len(log_mels)} windows of {songs} songs")
            return ranges_from_log_mels(artifact.content, log_mels, tensors, self.method)

        return cached_ranges(key, compute)

    @property
    def facts(self) -> dict[str, Any]:
        """What a report says of the calibration, as plain JSON values."""
        paths, _ = self._songs
        return {"method": self.method, "windows": self.windows, "files": len(paths), "data": self.origin}

    @cached_property
    def _songs(self) -> tuple[list[Path], int]:
        """The files to calibrate on, and how many windows of each."""
        if self.source is None:
            return calibration_paths(self.clips, self.windows)
        if self.source.endswith(".npz"):
            return [Path(self.source)], self.windows
        paths = [Path(path) for path in inputs_from_paths([self.source]).paths]
        return calibration_paths([Clip(path, "", path.name) for path in paths], self.windows)


def calibration_paths(clips: Sequence[Clip], windows: int) -> tuple[list[Path], int]:
    """Songs to calibrate on, the labels by turns, and how many windows of each make ``windows`` in all.

    Raises:
        MerError: there are no clips.
    """
    by_label: dict[str, list[Path]] = defaultdict(list)
    for i in np.random.default_rng(_SEED).permutation(len(clips)):
        by_label[clips[i].label].append(clips[i].path)
    by_turns = chain.from_iterable(zip_longest(*(by_label[label] for label in sorted(by_label))))
    songs = [path for path in by_turns if path is not None][:windows]
    if not songs:
        raise MerError("no song is left to calibrate on")
    return songs, math.ceil(windows / len(songs))
