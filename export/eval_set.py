"""What one model's export is judged and calibrated on, gathered once for all its precisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..engine.artifact import Artifact
from ..engine.data.labelled_audio import labelled_audio
from ..engine.errors import MerError, UsageError
from ..engine.spec import ModelSpec
from .calibration import cached_ranges, calibration_key, ranges_from_log_mels
from .calibration_set import (
    SongLogMels,
    Split,
    calibration_paths,
    generated_log_mels,
    log_mels_from_archive,
    log_mels_from_songs,
    paths_from_audio,
    split_clips,
)
from .precision import Ranges

_WINDOWS_A_SONG = 3  # as mer-label takes by default


@dataclass(frozen=True)
class DataPlan:
    """Where data comes from. ``calib_data`` is a folder or file of audio, or an .npz of images."""

    data: Path | None = None
    layout: str = "auto"
    calib_data: str | None = None
    calib_windows: int = 256
    method: str = "percentile"
    workers: int = 0


@dataclass(frozen=True)
class Evidence:
    """``songs`` are compared and, where ``truth`` (label positions) is there, scored.

    ``kind`` is "clips" or "synthetic"; ``origin`` says which clips, ``short`` in a few words.
    """

    songs: SongLogMels
    truth: np.ndarray[Any, Any] | None
    kind: Literal["clips", "synthetic"]
    origin: str
    short: str
    plan: DataPlan
    spec: ModelSpec
    train: Split | None = None

    def few(self, count: int) -> SongLogMels:
        """At most ``count`` windows, each as a song of its own."""
        images = self.songs.spread(count)
        return SongLogMels(
            images, tuple(np.arange(at, at + 1) for at in range(len(images))), self.songs.paths
        )

    def calibration(self) -> SongLogMels:
        """The calibration windows; decoded on first use.

        Raises:
            UsageError: there is no real data to calibrate on.
        """
        return self._calibration_images

    def ranges(self, artifact: Artifact, tensors: Sequence[str], say: Callable[[str], None]) -> Ranges:
        """The model's activation ranges, from the cache if the same files gave them before."""
        paths, _ = self._calibration_paths
        key = calibration_key(artifact.sha256, tensors, self.plan.method, paths, self.plan.calib_windows)

        def make() -> Ranges:
            songs = self._calibration_images
            images = songs.spread(self.plan.calib_windows)
            say(f"  calibrating ({self.plan.method}) on {len(images)} windows of {len(songs.songs)} songs")
            return ranges_from_log_mels(artifact.content, images, tensors, self.plan.method)

        return cached_ranges(key, make)

    @property
    def calibration_facts(self) -> dict[str, Any]:
        """What a report says of the calibration."""
        paths, _ = self._calibration_paths
        source = self.plan.calib_data or (self.train.origin if self.train else "")
        return {
            "method": self.plan.method,
            "windows": self.plan.calib_windows,
            "files": len(paths),
            "data": f"not held out: {source}" if self.plan.calib_data is None else Path(source).name,
        }

    @cached_property
    def _calibration_paths(self) -> tuple[list[Path], int]:
        if self.plan.calib_data is not None:
            if self.plan.calib_data.endswith(".npz"):
                return [Path(self.plan.calib_data)], self.plan.calib_windows
            return paths_from_audio(self.plan.calib_data, self.plan.calib_windows)
        if self.train is None:
            raise UsageError("--int8 needs data to calibrate on: --data, or --calib-data")
        return calibration_paths(self.train.train, self.plan.calib_windows)

    @cached_property
    def _calibration_images(self) -> SongLogMels:
        paths, windows = self._calibration_paths
        if paths[0].suffix == ".npz":
            return log_mels_from_archive(paths[0], self.spec.audio)
        return log_mels_from_songs(paths, self.spec.audio, windows, self.plan.workers)


def gather_evidence(spec: ModelSpec, plan: DataPlan, say: Callable[[str], None]) -> Evidence:
    """Held-out clips of ``plan.data`` with their labels; else calibration windows; else generated sound.

    Raises:
        MerError: data that cannot be read, or whose labels are not the model's.
    """
    if plan.data is None:
        if plan.calib_data is None:
            songs = generated_log_mels(spec.audio)
            origin = "generated sound: no --data, so no accuracy is claimed"
            return Evidence(songs, None, "synthetic", origin, "generated sound", plan, spec)
        empty = Evidence(generated_log_mels(spec.audio, 1), None, "clips", "", "", plan, spec)
        songs = empty.calibration()
        origin = "the calibration data itself: no --data, so no accuracy is claimed"
        return Evidence(songs, None, "clips", origin, "calibration clips", plan, spec)
    split = split_clips(labelled_audio(plan.data, plan.layout), spec)
    if not split.origin.startswith("the clips"):
        say(f"warning: scored on {split.origin}")
    labels = {clip.path: spec.labels.index(clip.label) for clip in split.test}
    songs = log_mels_from_songs(list(labels), spec.audio, _WINDOWS_A_SONG, plan.workers)
    for path, reason in songs.failed[:5]:
        say(f"warning: {path} {reason}")
    if len(songs.failed) > len(labels) / 10:
        raise MerError(f"{len(songs.failed)} of {len(labels)} held-out files give no audio")
    truth = np.asarray([labels[path] for path in songs.paths])
    short = f"{len(truth)} held-out clips"
    return Evidence(songs, truth, "clips", split.origin, short, plan, spec, split)
