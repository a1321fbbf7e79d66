"""What a training came to: figures by torchmetrics, a metrics.json, a model card."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...engine.data.metrics import bootstrap_interval
from ...engine.files import write_whole
from ...engine.spec import AudioSpec, ModelSpec
from .predictions import Floats, Predictions


def metrics_from_predictions(
    predictions: Predictions, temperature: float, probabilities: Floats | None = None
) -> dict[str, Any]:
    """Song-level figures with their interval and calibration, and the window-level ones beside them.

    Args:
        probabilities: the songs' ``[songs, labels]``, where they are not of one temperature (folds).
    """
    by_song = predictions.by_song(temperature) if probabilities is None else probabilities
    truth, labels = predictions.truth, predictions.labels
    song = _figures(truth, by_song, labels)
    low, high = bootstrap_interval(truth, by_song.argmax(axis=1), groups=predictions.groups)
    true = by_song[np.arange(len(truth)), truth]
    window_truth, by_window = predictions.by_window(temperature)
    window = _figures(window_truth, by_window, labels)
    return {
        "songs": len(truth),
        "accuracy": song["accuracy"],
        "macro_f1": song["macro_f1"],
        "macro_f1_interval": [round(low, 4), round(high, 4)],
        "majority": round(float(np.bincount(truth).max() / len(truth)), 4),
        "per_label": song["per_label"],
        "confusion": song["confusion"],
        "calibration_error": song["calibration_error"],
        "calibration_error_at_1": _figures(truth, predictions.by_song(), labels)["calibration_error"],
        "log_loss": round(float(-np.log(np.maximum(true, 1e-12)).mean()), 4),
        "temperature": temperature,
        "window": {name: window[name] for name in ("accuracy", "macro_f1")} | {"windows": len(window_truth)},
    }


def _figures(truth: np.ndarray, probabilities: Floats, labels: Sequence[str]) -> dict[str, Any]:
    from torchmetrics.functional import classification as measure  # seconds to import

    classes = len(labels)
    wanted, given = torch.from_numpy(np.asarray(truth)), torch.from_numpy(probabilities).float()
    said = given.argmax(1)
    each = [
        function(said, wanted, classes, average="none")
        for function in (measure.multiclass_precision, measure.multiclass_recall, measure.multiclass_f1_score)
    ]
    per_label = {
        label: {name: _round(rows[i]) for name, rows in zip(("precision", "recall", "f1"), each, strict=True)}
        | {"songs": int((wanted == i).sum())}
        for i, label in enumerate(labels)
    }
    return {
        "accuracy": _round(measure.multiclass_accuracy(said, wanted, classes, average="micro")),
        "macro_f1": _round(measure.multiclass_f1_score(said, wanted, classes, average="macro")),
        "per_label": per_label,
        "confusion": measure.multiclass_confusion_matrix(said, wanted, classes).tolist(),
        "calibration_error": _round(measure.multiclass_calibration_error(given, wanted, classes, n_bins=10)),
    }


def parameters_and_macs(network: nn.Module, audio: AudioSpec) -> tuple[int, int]:
    """Parameters, and multiply-adds for one window."""
    from torch.utils.flop_counter import FlopCounterMode

    device = next(network.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.eval()(torch.zeros(1, 1, audio.n_mels, audio.frames, device=device))
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Indented, whole or not at all; what is not a number becomes null."""
    write_whole(path, json.dumps(_plain(content), indent=2, ensure_ascii=False) + "\n")


def card_from_spec(spec: ModelSpec) -> str:
    """The model card, in Markdown: what it is, what it was trained and tested on, and how right it is."""
    told = spec.provenance
    data, split, metrics = told["data"], told["split"], told.get("metrics", {})
    counts = ", ".join(f"{label} {count}" for label, count in data["labels"].items())
    beside = f" Learnt beside the labels: {', '.join(data['tags'])}." if data.get("tags") else ""
    lines = [
        f"# {spec.backbone}, {told['protocol']}",
        "",
        f"Says which of {', '.join(spec.labels)} a song carries, from {spec.audio.window_s:g} s windows of "
        f"log-mel spectrogram ({spec.audio.sample_rate} Hz, {spec.audio.n_mels} mels).",
        "",
        f"- **Data**: {_escaped(data['name'])}, {data['clips']} clips ({counts}).{_escaped(beside)}",
        f"- **Split**: {split['note']}; test part {split['hash'][:16]}.",
        f"- **Weights to begin with**: {told['weights']}.",
        f"- **Licence**: {_escaped(told['licence'])}",
    ]
    if metrics:
        low, high = metrics["macro_f1_interval"]
        lines += [
            f"- **Held-out songs**: {metrics['songs']}; macro-F1 {metrics['macro_f1']:.3f} (95% interval "
            f"{low:.3f} to {high:.3f}), accuracy {metrics['accuracy']:.3f} (the most frequent label alone: "
            f"{metrics['majority']:.3f}), expected calibration error {metrics['calibration_error']:.3f} at "
            f"temperature {spec.temperature:g}.",
            "",
            "| label | songs | precision | recall | F1 |",
            "|---|---:|---:|---:|---:|",
            *(
                f"| {_escaped(label)} | {row['songs']} | {row['precision']:.3f} | {row['recall']:.3f} "
                f"| {row['f1']:.3f} |"
                for label, row in metrics["per_label"].items()
            ),
        ]
    if split["kind"] == "random":
        lines += ["", "The split is random: songs of one artist or recording may stand on both sides, so the "
                  "figures are too high for music by others."]  # fmt: skip
    lines += ["", "Emotion is what its listeners said of this data; other listeners and other music differ."]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "|<>[]*_`#" else c for c in " ".join(str(text).split()))


def _round(value: torch.Tensor) -> float:
    return round(float(value), 4)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
