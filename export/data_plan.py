"""Where the data of an export comes from, and the two sets that it becomes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..engine.data.clip import id_or_none
from ..engine.data.labelled_audio import LabelledAudio, labelled_audio
from ..engine.spec import ModelSpec
from .calibration_set import CalibrationSet
from .eval_set import EvalSet, Split, eval_set_from_clips, split_clips
from .song_log_mels import generated_log_mels

_GENERATED_WINDOWS = 16


@dataclass(frozen=True)
class DataPlan:
    """The data that the user has.

    Attributes:
        data: labelled audio: the clips that a model held out are scored, the others calibrate.
        layout: how ``data`` is laid out, as in ``labelled_audio``.
        calib_data: a folder or a file of audio, or an .npz archive of log-mels, that calibrates instead.
        calib_windows: how many windows calibrate.
        method: how ranges are chosen, as in ``ranges_from_log_mels``.
        workers: processes that decode; 0 is one a core.
    """

    data: Path | None = None
    layout: str = "auto"
    calib_data: str | None = None
    calib_windows: int = 256
    method: str = "percentile"
    workers: int = 0

    @cached_property
    def labelled(self) -> LabelledAudio | None:
        """The clips of ``data``, read on first use.

        Raises:
            MerError: they cannot be read.
        """
        return None if self.data is None else labelled_audio(self.data, self.layout)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files and folders that it names."""
        return tuple(Path(name) for name in (self.data, self.calib_data) if name is not None)


def sets_from_plan(
    spec: ModelSpec, plan: DataPlan, say: Callable[[str], None]
) -> tuple[EvalSet, CalibrationSet | None]:
    """What a model is compared and scored on, and what it is calibrated on; None without real music.

    Without labelled audio the calibration windows are compared, without those generated sound.

    Raises:
        MerError: data that cannot be read, or that has other labels than the model.
    """
    split = _split(spec, plan)
    calibration_set = _calibration_set(spec, plan, split)
    if split is not None:
        return eval_set_from_clips(split, spec, plan.workers, say), calibration_set
    if calibration_set is not None:
        origin = "the calibration data itself: no labelled data, so no accuracy is claimed"
        songs = calibration_set.log_mels
        for path, reason in songs.failed:
            say(f"skipped {path}: {reason}")
        return EvalSet(songs, None, "clips", origin, "the calibration data itself"), calibration_set
    origin = "generated sound: no labelled data, so no accuracy is claimed"
    songs = generated_log_mels(spec.audio, _GENERATED_WINDOWS)
    return EvalSet(songs, None, "synthetic", origin, "generated sound"), None


def calibration_set_from_plan(spec: ModelSpec, plan: DataPlan) -> CalibrationSet | None:
    """The second of ``sets_from_plan``; nothing is decoded.

    Raises:
        MerError: see there.
    """
    return _calibration_set(spec, plan, _split(spec, plan))


def _split(spec: ModelSpec, plan: DataPlan) -> Split | None:
    return None if plan.labelled is None else split_clips(plan.labelled, spec)


def _calibration_set(spec: ModelSpec, plan: DataPlan, split: Split | None) -> CalibrationSet | None:
    scored: frozenset[str] = frozenset()
    if plan.calib_data is not None:
        clips, origin = (), Path(os.path.abspath(plan.calib_data)).name or plan.calib_data
        if split is not None:
            scored = frozenset(filter(None, map(id_or_none, split.test)))
    elif split is not None:
        clips = split.train
        origin = split.origin if split.heard else f"not held out: {split.origin}"
    else:
        return None
    return CalibrationSet(
        spec.audio,
        clips,
        plan.calib_data,
        origin,
        plan.calib_windows,
        plan.method,
        plan.workers,
        scored,
        strict=split is None,
    )
