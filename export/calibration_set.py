"""The music that INT8 is calibrated on: which songs, how many windows of each, and the ranges they give."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.artifact import Artifact
from ..engine.audio.formats import is_remote
from ..engine.catalogue.expand import inputs_from_paths
from ..engine.data.clip import id_or_none
from ..engine.data.labelled_audio import Clip
from ..engine.errors import MerError, UsageError
from ..engine.spec import AudioSpec
from ..engine.text.escape import storable
from .calibration import cached, calibration_key, ranges_from_log_mels
from .calibration_windows import distinct_windows, weakness_of
from .precision import Ranges
from .song_log_mels import SongLogMels, failures_of, log_mels_from_archive, log_mels_from_songs

_SEED = 0
_SPARE = 4  # one song for so many: the key of the cache needs the bytes of all, used or not


@dataclass(frozen=True)
class Calibration:
    """Ranges, and what they were measured on.

    Attributes:
        ranges: of the activations.
        windows: how many were used; of those that are the same only one is.
        files: of how many files they are.
        skipped: files that gave no windows, each with the reason.
        weakness: why the ranges may not hold for other music; empty where nothing speaks against them.
    """

    ranges: Ranges
    windows: int
    files: int
    skipped: tuple[tuple[Path, str], ...]
    weakness: str


@dataclass(frozen=True)
class CalibrationSet:
    """What a model's INT8 graph is calibrated on. No file is looked for or decoded before it is needed.

    Attributes:
        spec: of the log-mels, the model's.
        clips: labelled clips that the model's score is not computed on.
        source: instead of ``clips``, a folder or a file of audio, or an .npz archive of log-mels.
        origin: for the report: where ``clips`` or ``source`` come from.
        windows: how many are asked for, over all songs.
        method: "percentile", "entropy" or "minmax", as in ``ranges_from_log_mels``.
        workers: processes that decode; 0 is one a core.
        scored: ids of clips that the model is scored on: ``source`` is taken without them.
        strict: refuse too little music, for no score will show what it does.
    """

    spec: AudioSpec
    clips: tuple[Clip, ...]
    source: str | None
    origin: str
    windows: int = 256
    method: str = "percentile"
    workers: int = 0
    scored: frozenset[str] = frozenset()
    strict: bool = False

    @cached_property
    def log_mels(self) -> SongLogMels:
        """The calibration windows, decoded on first use.

        Raises:
            MerError: no file gives audio, or the archive is not of this spec.
        """
        paths, windows_a_song, spare = self._songs
        if self._is_archive:
            return log_mels_from_archive(paths[0], self.spec)
        songs = log_mels_from_songs(paths, self.spec, windows_a_song, self.workers, spare)
        missing = bool(songs.failed) and len(songs.log_mels) < self.windows
        if missing and (share := math.ceil(self.windows / len(songs.paths))) > windows_a_song:
            # No song is spare: the others make up for those without audio, else the windows may be too few.
            more = log_mels_from_songs(songs.paths, self.spec, share, self.workers)
            return replace(more, failed=songs.failed + more.failed)
        return songs

    def calibration(
        self, artifact: Artifact, tensors: Sequence[str], say: Callable[[str], None]
    ) -> Calibration:
        """The ranges of a model's activations ``tensors``; from the cache if the same files gave them before.

        Files that gave no audio then are decoded again first: a disk may have been full, or a machine busy.

        Raises:
            MerError: no file gives audio, or what they give is too little and the set is ``strict``.
        """
        paths, windows_a_song, spare = self._songs
        music = [*paths, *spare]
        key = calibration_key(artifact.sha256, tensors, self.method, music, self.windows)
        reasons: dict[Path, str] = {}  # of files without audio, as they are today

        def compute() -> dict[str, Any]:
            songs = self.log_mels
            reasons.update(songs.failed)
            log_mels = distinct_windows(songs.spread(self.windows))
            files = 1 if self._is_archive else len(songs.songs)
            weakness = weakness_of(log_mels, self.spec, None if self._is_archive else files)
            self._check(weakness)
            say(f"  calibrating ({self.method}) on {len(log_mels)} windows of {files} files")
            return {
                "ranges": ranges_from_log_mels(artifact.content, log_mels, tensors, self.method),
                "windows": len(log_mels),
                "files": files,
                "silent": [music.index(path) for path in dict(songs.failed)],
                "weakness": weakness,
            }

        def holds(value: Any) -> bool:
            if not _is_of(value, tensors, music):
                return False
            silent = [music[position] for position in value["silent"]]
            again = failures_of(silent, self.spec, windows_a_song, self.workers) if silent else {}
            reasons.update(again)
            return len(again) == len(silent)

        calibration = _calibration_from_json(cached(key, compute, holds), music, reasons)
        self._check(calibration.weakness)
        for path, reason in calibration.skipped:
            say(f"skipped {path}: {reason}")
        if calibration.weakness:
            say(f"warning: INT8 is calibrated on too little: {calibration.weakness}")
        return calibration

    def facts_of(self, calibration: Calibration) -> dict[str, Any]:
        """What a report says of a calibration on this set, as plain JSON values."""
        return {
            "method": self.method,
            "windows": calibration.windows,
            "files": calibration.files,
            "skipped": [[storable(path.name), reason] for path, reason in calibration.skipped],
            "weakness": calibration.weakness,
            "data": self.origin,
        }

    def _check(self, weakness: str) -> None:
        if weakness and self.strict:
            raise MerError(
                f"too little to calibrate INT8 on: {weakness}; labelled data would show what it costs"
            )

    @property
    def _is_archive(self) -> bool:
        return self.source is not None and self.source.endswith(".npz")

    @cached_property
    def _songs(self) -> tuple[list[Path], int, list[Path]]:
        """The files to calibrate on, how many windows of each, and the files that are spare."""
        if self.source is None:
            return calibration_paths(self.clips, self.windows)
        if is_remote(self.source):
            raise UsageError(f"{self.source} is not a local file: copy the music to calibrate on")
        if self._is_archive:
            return [Path(self.source)], self.windows, []
        paths = inputs_from_paths([self.source]).paths
        if url := next(filter(is_remote, paths), None):
            raise UsageError(
                f"{self.source} names {url}: copy the music to this machine, and name the copies"
            )
        clips = [Clip(Path(path), "", Path(path).name) for path in paths]
        return calibration_paths(clips, self.windows, self.scored)


def calibration_paths(
    clips: Sequence[Clip], windows: int, left_out: Collection[str] = ()
) -> tuple[list[Path], int, list[Path]]:
    """Songs to calibrate on, the labels by turns, and how many windows of each make ``windows`` in all.

    Last, where there are more songs than that, those that take the place of what gives no audio.

    Args:
        left_out: ids of clips that are not taken.

    Raises:
        MerError: there are no clips.
    """
    by_label: dict[str, list[Clip]] = defaultdict(list)
    for i in np.random.default_rng(_SEED).permutation(len(clips)):
        by_label[clips[i].label].append(clips[i])
    by_turns = chain.from_iterable(zip_longest(*(by_label[label] for label in sorted(by_label))))
    songs: list[Path] = []
    for clip in by_turns:
        if len(songs) == windows + windows // _SPARE:
            break
        if clip is not None and not (left_out and id_or_none(clip) in left_out):
            songs.append(clip.path)
    if not songs:
        raise MerError("no song is left to calibrate on")
    return songs[:windows], math.ceil(windows / min(windows, len(songs))), songs[windows:]


def _is_of(value: Any, tensors: Sequence[str], files: Sequence[Path]) -> bool:
    """Whether a cached value is a calibration of these tensors, on these files."""
    try:
        calibration = _calibration_from_json(value, files, {})
    except (TypeError, ValueError, LookupError, AttributeError):
        return False
    return set(calibration.ranges) == set(tensors)


def _calibration_from_json(value: Any, files: Sequence[Path], reasons: Mapping[Path, str]) -> Calibration:
    """The cache knows files by their positions: they may lie elsewhere by now."""
    silent = [files[position] for position in value["silent"]]
    return Calibration(
        {str(name): (float(low), float(high)) for name, (low, high) in value["ranges"].items()},
        int(value["windows"]),
        int(value["files"]),
        tuple((path, reasons.get(path, "")) for path in silent),
        str(value["weakness"]),
    )
