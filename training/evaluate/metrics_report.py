"""Metrics from predictions; metrics.json; the model card."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.data.cleaning import quoted_label
from ...engine.data.metrics import (
    Integers,
    accuracy_and_macro_f1,
    bootstrap_interval,
    calibration_error_by_chance,
    confusion_matrix,
    expected_calibration_error,
    log_loss,
)
from ...engine.files import write_whole
from ...engine.spec import ModelSpec
from ...engine.text.escape import for_markdown
from ..recipe import FROZEN_FIELDS
from .predictions import Floats, Predictions

CROSS_VALIDATION = "cross-validation"
"""``measured_by`` in the provenance of a network whose metrics are those of folds."""

HEARD_BEFORE = "heard_before"
"""In metrics: how many of the songs the weights to begin with were trained on; absent where it is none."""


def metrics_from_predictions(
    predictions: Predictions, temperature: float, probabilities: Floats | None = None
) -> dict[str, Any]:
    """The figures of metrics.json: of songs, with an interval and the calibration error, and of windows.

    Everything is a share from 0 to 1, but for counts and ``log_loss`` (nats). ``macro_f1`` is over the labels
    that songs have; the others are ``not_tested``, and their figures None. ``macro_f1_interval`` is None
    where there are too few songs for one. ``accuracy_top2`` counts the two likeliest labels,
    ``calibration_error_by_chance`` is that of so many songs where every confidence is true.

    Args:
        probabilities: the songs' ``[songs, labels]``, where they do not share one temperature (folds).
    """
    by_song = predictions.by_song(temperature) if probabilities is None else probabilities
    truth, labels = predictions.truth, predictions.labels
    song = _figures(truth, by_song, labels)
    interval = bootstrap_interval(truth, by_song.argmax(axis=1), groups=predictions.groups)
    window_truth, by_window = predictions.by_window(temperature)
    window = _figures(window_truth, by_window, labels)
    return {
        "songs": len(truth),
        "accuracy": song["accuracy"],
        "accuracy_top2": round(
            float((by_song.argsort(axis=1)[:, -2:] == truth[:, None]).any(axis=1).mean()), 4
        ),
        "macro_f1": song["macro_f1"],
        "macro_f1_interval": interval and [round(end, 4) for end in interval],
        "not_tested": [label for label, row in song["per_label"].items() if not row["songs"]],
        "majority": round(float(np.bincount(truth).max() / len(truth)), 4),
        "per_label": song["per_label"],
        "confusion": song["confusion"],
        "calibration_error": song["calibration_error"],
        "calibration_error_by_chance": round(calibration_error_by_chance(by_song.max(axis=1)), 4),
        "log_loss": round(log_loss(truth, by_song), 4),
        "temperature": temperature,
        "window": {name: window[name] for name in ("accuracy", "macro_f1")} | {"windows": len(window_truth)},
    }


def _figures(truth: Integers, probabilities: Floats, labels: Sequence[str]) -> dict[str, Any]:
    predicted = probabilities.argmax(axis=1)
    accuracy, macro_f1 = accuracy_and_macro_f1(truth, predicted)
    matrix = confusion_matrix(truth, predicted, len(labels))
    right, songs, said = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    by_label = {"precision": (right, said), "recall": (right, songs), "f1": (2 * right, songs + said)}
    return {
        "accuracy": round(accuracy, 4),
        "macro_f1": round(macro_f1, 4),
        "per_label": {
            label: {
                **{
                    name: round(float(part[i] / max(1, whole[i])), 4) if songs[i] else None
                    for name, (part, whole) in by_label.items()
                },
                "songs": int(songs[i]),
            }
            for i, label in enumerate(labels)
        },
        "confusion": matrix.tolist(),
        "calibration_error": round(expected_calibration_error(truth, probabilities), 4),
    }


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Writes indented JSON, whole or not at all; NaN and infinity become null.

    Raises:
        OSError: it could not be written.
    """
    write_whole(path, json.dumps(_plain(content), indent=2, ensure_ascii=False) + "\n")


def card_from_spec(spec: ModelSpec) -> str:
    """The model card in Markdown: what the network is, its data and its held-out figures."""
    lines = _description(spec)
    if spec.provenance.get("metrics"):
        lines += _held_out(spec)
    split = spec.provenance["split"]
    if split["kind"] == "random":
        lines += ["", "The split is random: songs of one artist may stand on both sides, so the "
                  "figures are too high for music by others."]  # fmt: skip
    elif any(split.get("shared", {}).values()):
        lines += ["", "What stands on both sides of the split makes the figures too high for other music."]
    lines += ["", "Emotion is what its listeners said of this data; other listeners and other music differ."]
    return "\n".join(lines) + "\n"


def _description(spec: ModelSpec) -> list[str]:
    provenance = spec.provenance
    data, notice, choice = provenance["data"], provenance.get("notice"), provenance.get("plan_choice")
    labels = ", ".join(map(quoted_label, spec.labels))
    counts = ", ".join(f"{quoted_label(label)} {count}" for label, count in data["labels"].items())
    tags = f" Learnt beside the labels: {', '.join(data['tags'])}." if data.get("tags") else ""
    return [
        f"# {spec.backbone}, {provenance['protocol']}",
        "",
        f"Says which of {labels} a song carries, from {spec.audio.window_s:g} s windows of "
        f"log-mel spectrogram ({spec.audio.sample_rate} Hz, {spec.audio.n_mels} mels).",
        "",
        f"- **Data**: {for_markdown(data['name'])}, {data['clips']} clips ({counts}).{for_markdown(tags)}",
        *_left_out(data),
        _split(provenance),
        f"- **Weights to begin with**: {provenance['weights']}{_pretrained(provenance)}.",
        *([f"- **What of them is trained**: plan {for_markdown(choice)}."] if choice else []),
        *_teachers(provenance),
        *_recipe(provenance),
        f"- **Licence**: {for_markdown(provenance['licence'])}",
        *([f"- **Notice**: {for_markdown(' '.join(notice.split()))}"] if notice else []),
        *_evidence(provenance.get("evidence"), data.get("grouped_by") in ("clip", "recording")),
    ]


def _evidence(facts: Mapping[str, Any] | None, alone: bool) -> list[str]:
    if not facts:
        return []
    of = "" if alone else " by other artists"
    return [
        f"- **What is no music**: {facts['caught']:.1%} of {facts['sounds']} sounds, on average over "
        f"{len(facts['caught_by_kind'])} kinds that it had not heard, get no emotion, and "
        f"{1 - facts['kept']:.1%} of its music{of}."
    ]


def _recipe(provenance: Mapping[str, Any]) -> list[str]:
    """How it was trained: the seeds, the recipe's fields, and the versions of what computed it."""
    recipe, software = provenance.get("recipe", {}), provenance.get("software", {})
    used = FROZEN_FIELDS if provenance.get("plan") == "frozen" else recipe.keys() - {"seed"}
    fields = ", ".join(f"{name} {value}" for name, value in recipe.items() if name in used)
    versions = ", ".join(f"{name} {version}" for name, version in software.items())
    seeds = f"{recipe.get('seed', '-')} of the training, {provenance['split'].get('seed', '-')} of the split"
    return [
        *([f"- **Recipe**: {for_markdown(fields)}."] if fields else []),
        *([f"- **Seeds**: {seeds}."] if recipe else []),
        *([f"- **Made with**: {for_markdown(versions)}."] if versions else []),
    ]


def _teachers(provenance: Mapping[str, Any]) -> list[str]:
    if not provenance.get("teachers"):
        return []
    names = ", ".join(f"{teacher['name']} ({teacher['sha256'][:16]})" for teacher in provenance["teachers"])
    music = provenance["unlabelled"]
    more = f", and of {music['clips']} clips without a label ({music['name']})," if music["clips"] else ""
    return [
        f"- **Teachers**: {for_markdown(names)}: what they make of the training clips{for_markdown(more)} is "
        "learnt beside the labels."
    ]


def _pretrained(provenance: Mapping[str, Any]) -> str:
    facts = provenance.get("pretrained")
    if not facts:
        return ""
    music = f"{facts['steps']:,} steps on {facts['clips']:,} clips without a label"
    return f"; first taught by {for_markdown(facts['teacher'])} alone, {music}"


def _split(provenance: Mapping[str, Any]) -> str:
    split = provenance["split"]
    if provenance.get("measured_by") != CROSS_VALIDATION:
        return f"- **Split**: {for_markdown(split['note'])}; test part {split['hash'][:16]}."
    folds = len(provenance["metrics"].get("by_fold", ()))
    return (
        f"- **Split**: none: trained on every clip, all {provenance['data']['clips']}; none is held out. "
        f"What to expect of it is what {folds} folds said: their networks were trained in the same way, "
        "each without the clips that it is judged on."
    )


def _left_out(data: Mapping[str, Any]) -> list[str]:
    refused, copies = data.get("skipped"), data.get("near_copies")
    clips = "1 clip holds" if copies == 1 else f"{copies} clips hold"
    return [
        *([f"- **Left out**: {refused} clips that labelling refuses."] if refused else []),
        *([f"- **Near copies**: {clips} a recording that another clip has."] if copies else []),
    ]


def _held_out(spec: ModelSpec) -> list[str]:
    metrics = spec.provenance["metrics"]
    untested = for_markdown(", ".join(map(quoted_label, metrics.get("not_tested", ()))))
    by_fold = metrics.get("by_fold", ())
    what = "Songs that test it" if metrics.get(HEARD_BEFORE) else "Held-out songs"
    if spec.provenance.get("measured_by") == CROSS_VALIDATION:
        what = f"Expected, from {len(by_fold)} folds"
    folds = ", ".join(f"{macro_f1:.3f}" for macro_f1 in by_fold)
    return [
        f"- **{what}**: {metrics['songs']} songs; macro-F1 {macro_f1_text(metrics, '95% interval ')}, "
        f"accuracy {metrics['accuracy']:.3f} (the most frequent label alone: "
        f"{metrics['majority']:.3f}), expected calibration error {calibration_text(metrics)} at "
        f"temperature {spec.temperature:g}.",
        *([f"- **Heard before**: {heard_before_text(metrics)}."] if metrics.get(HEARD_BEFORE) else []),
        *([f"- **Macro-F1 of each fold**: {folds}."] if folds else []),
        *([f"- **Not tested**: {untested}, of which no song is held out"] if untested else []),
        "",
        "| label | songs | precision | recall | F1 |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {for_markdown(label)} | {row['songs']} | {_figure(row['precision'])} "
            f"| {_figure(row['recall'])} | {_figure(row['f1'])} |"
            for label, row in metrics["per_label"].items()
        ),
    ]


def macro_f1_text(metrics: Mapping[str, Any], name: str = "") -> str:
    """The macro-F1 and its interval, which ``name`` precedes, or why it has none."""
    interval = metrics["macro_f1_interval"]
    ends = f"{name}{interval[0]:.3f} to {interval[1]:.3f}" if interval else "too few clips for an interval"
    return f"{metrics['macro_f1']:.3f} ({ends})"


def heard_before_text(metrics: Mapping[str, Any]) -> str:
    """What it means that the weights to begin with were trained on songs of these figures."""
    return (
        f"{metrics[HEARD_BEFORE]} of the {metrics['songs']} songs were training music of the weights to "
        "begin with: the figures say nothing of new music"
    )


def calibration_text(metrics: Mapping[str, Any]) -> str:
    """The calibration error, and what so few songs read where every confidence is true."""
    by_chance = metrics["calibration_error_by_chance"]
    return f"{metrics['calibration_error']:.3f} ({by_chance:.3f} by chance alone)"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
