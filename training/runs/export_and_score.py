"""A run's checkpoint to an ``.onnx`` file, which the engine scores from audio files, as it will be used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...engine.artifact import open_artifact
from ...engine.data.cleaning import quoted_label
from ...engine.data.labelled_audio import LabelledAudio, held_out_clips
from ...engine.data.metrics import accuracy_and_macro_f1, bootstrap_interval, expected_calibration_error
from ...engine.errors import MerError
from ...engine.labelling.choose import open_backend
from ...engine.labelling.file_windows import WindowOptions
from ..evaluate.metrics_report import write_json
from ..networks.checkpoint import spec_from_checkpoint
from .run_folder import CHECKPOINT, METRICS, checkpoint_of


@dataclass(frozen=True)
class EngineScore:
    """The engine's figures on the held-out clips, as shares.

    ``songs`` were scored. ``interval`` is the macro-F1's, 95 %; None where there are too few clips for one.
    ``failed`` are held-out clips that the engine refused, each with the reason.
    """

    songs: int
    accuracy: float
    macro_f1: float
    interval: tuple[float, float] | None
    calibration_error: float
    failed: tuple[tuple[str, str], ...] = ()


def export_run(folder: Path, target: Path) -> None:
    """Writes the FP32 ONNX of a run's checkpoint, and the graph's multiply-adds into its metrics.json.

    Raises:
        MerError: the checkpoint or the metrics cannot be read.
    """
    # Imported here: these libraries are slow to load, and training alone does not need them.
    import onnx

    from ...export.graph_costs import workload_from_onnx
    from ...export.torch_to_onnx import onnx_from_checkpoint

    target.parent.mkdir(parents=True, exist_ok=True)
    onnx_from_checkpoint(folder / CHECKPOINT, target)
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    write_json({**metrics, "macs": workload_from_onnx(onnx.load(target)).macs}, folder / METRICS)


def score_artifact(path: Path, data: LabelledAudio, workers: int = 0) -> EngineScore | None:
    """Labels the clips that were held out from a network, through the engine; None where there are none.

    Raises:
        MerError: none of them can be labelled, or the data has other labels than the network.
    """
    artifact = open_artifact(str(path))
    spec = artifact.spec
    if spec.labels != data.labels:
        own, others = (", ".join(map(quoted_label, labels)) for labels in (spec.labels, data.labels))
        raise MerError(f"{path} says {own}; the data has {others}")
    clips = [data.clips[i] for i in held_out_clips(data.clips, spec.provenance)]
    if not clips:
        return None
    options = WindowOptions(spec.audio, int(spec.provenance.get("recipe", {}).get("eval_windows", 3)))
    with open_backend(artifact, workers=workers) as backend:
        labels = list(backend.label_files([str(clip.path) for clip in clips], artifact, options))
    failed = tuple((label.path, label.error or "is silent") for label in labels if not label.probabilities)
    scored = [(clip, label) for clip, label in zip(clips, labels, strict=True) if label.probabilities]
    if not scored:
        raise MerError(f"no clip that was held out from {path} can be labelled: {': '.join(failed[0])}")
    truth = np.asarray([data.labels.index(clip.label) for clip, _ in scored])
    probabilities = np.asarray([label.probabilities for _, label in scored])
    predicted = probabilities.argmax(axis=1)
    return EngineScore(
        len(scored),
        *accuracy_and_macro_f1(truth, predicted),
        bootstrap_interval(truth, predicted, groups=[clip.group for clip, _ in scored]),
        expected_calibration_error(truth, probabilities),
        failed,
    )


def export_and_score(folder: Path, data: LabelledAudio, workers: int = 0) -> Iterator[str]:
    """Exports a run's network into its folder and scores it; yields a line for the user after each step.

    Raises:
        MerError: see ``export_run`` and ``score_artifact``.
    """
    target = folder / f"{spec_from_checkpoint(checkpoint_of(folder)).backbone}.onnx"
    export_run(folder, target)
    yield f"exported {target} ({target.stat().st_size / 1e6:.1f} MB)"
    score = score_artifact(target, data, workers)
    if score is None:
        yield "no clip was held out from it, so it is not scored again"
        return
    yield from (f"left out, since the engine refuses it: {path}: {reason}" for path, reason in score.failed)
    yield (
        f"through the engine: macro-F1 {score.macro_f1:.3f}, accuracy {score.accuracy:.3f}, "
        f"calibration error {score.calibration_error:.3f} on {score.songs} held-out songs"
    )
