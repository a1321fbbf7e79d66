"""A checkpoint to an ``.onnx`` file, scored by the engine as it will be used: from files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...engine.artifact import open_artifact
from ...engine.data.labelled_audio import LabelledAudio, held_out_clips
from ...engine.data.metrics import accuracy_and_macro_f1, bootstrap_interval, expected_calibration_error
from ...engine.errors import MerError
from ...engine.labelling.choose import open_backend
from ...engine.labelling.file_windows import WindowOptions
from ..networks.checkpoint import spec_from_checkpoint


@dataclass(frozen=True)
class Delivered:
    """What the engine says of the held-out clips with an exported network."""

    path: Path
    songs: int
    accuracy: float
    macro_f1: float
    interval: tuple[float, float]
    calibration_error: float


def export_checkpoint(checkpoint: Path, target: Path) -> None:
    """Writes the FP32 ONNX of a checkpoint."""
    # Imported here: its libraries are slow to load, and training alone does not need them.
    from ...export.torch_to_onnx import onnx_from_checkpoint

    target.parent.mkdir(parents=True, exist_ok=True)
    onnx_from_checkpoint(checkpoint, target)


def score_artifact(path: Path, data: LabelledAudio, chosen: Sequence[int], workers: int = 0) -> Delivered:
    """Labels clips of ``data`` through the engine, and compares.

    Raises:
        MerError: a clip that cannot be labelled, or labels that are not the model's.
    """
    artifact = open_artifact(str(path))
    if artifact.spec.labels != data.labels:
        says, has = ", ".join(artifact.spec.labels), ", ".join(data.labels)
        raise MerError(f"{path} says {says}; the data has {has}")
    windows = int(artifact.spec.provenance.get("recipe", {}).get("eval_windows", 3))
    clips = [data.clips[i] for i in chosen]
    probabilities = []
    options = WindowOptions(artifact.spec.audio, windows)
    with open_backend(artifact, workers=workers) as backend:
        for label in backend.label_files([str(clip.path) for clip in clips], artifact, options):
            if label.error:
                raise MerError(f"{label.path}: {label.error}")
            probabilities.append(label.probabilities)
    truth = np.asarray([data.labels.index(clip.label) for clip in clips])
    given = np.asarray(probabilities)
    accuracy, macro_f1 = accuracy_and_macro_f1(truth, given.argmax(axis=1))
    interval = bootstrap_interval(truth, given.argmax(axis=1), groups=[clip.group for clip in clips])
    return Delivered(path, len(clips), accuracy, macro_f1, interval, expected_calibration_error(truth, given))


def delivered(checkpoint: Path, data: LabelledAudio, workers: int = 0) -> Iterator[str]:
    """Exports beside the checkpoint and scores its test clips; says so, line by line."""
    spec = spec_from_checkpoint(checkpoint)
    target = checkpoint.with_name(f"{spec.backbone}.onnx")
    export_checkpoint(checkpoint, target)
    yield f"exported {target} ({target.stat().st_size / 1e6:.1f} MB)"
    chosen = held_out_clips(data.clips, spec.provenance["test_clips"])
    if not chosen:
        yield "no clip was held out from it, so it is not scored again"
        return
    found = score_artifact(target, data, chosen, workers)
    yield (
        f"through the engine: macro-F1 {found.macro_f1:.3f}, accuracy {found.accuracy:.3f}, "
        f"calibration error {found.calibration_error:.3f} on {found.songs} held-out songs"
    )
