"""Further models in one run: they label the windows of the first one, in columns of their own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact, known_models, open_artifact
from ..errors import UsageError
from ..text.escape import storable
from .file_windows import FileFacts
from .song_label import SongLabel, label_from_logits


def open_models(models: Sequence[str]) -> Artifact:
    """Opens the first model as ``open_artifact``; the others are its ``further`` ones.

    Raises:
        UsageError: an unknown model, several in one name, two of one name, an engine among several, or one
            that hears other windows.
        ArtifactError: see ``open_artifact``.
    """
    for model in models:
        names = [name.strip() for name in model.split(",")]
        if len(names) > 1 and {*names} <= known_models().keys() and not os.path.lexists(model):
            each = " ".join(f"--model {name}" for name in names)
            raise UsageError(f"{model!r} is no model; for several give --model several times: {each}")
    first, *others = [open_artifact(model) for model in models]
    names = [first.name]
    for other in others:
        if first.facts or other.facts:
            raise UsageError("an engine labels alone: give it a run of its own, or the .onnx of each model")
        if other.name in names:
            raise UsageError(
                f"two models are called {other.name}: their columns would have the same names; "
                "copy the .onnx of one to another name"
            )
        if _windows(other) != _windows(first):
            raise UsageError(f"{other.name} hears other windows than {first.name}: give it a run of its own")
        names.append(other.name)
    return replace(first, further=tuple(others))


def further_columns(model: Artifact) -> dict[str, str]:
    """The columns of a further model, with their kinds: ``hindi5_emotion`` and so on."""
    kinds = {"emotion": "string", "confidence": "float64", "verdict": "string", "novelty": "float64"}
    shares = {f"p_{label}": "float64" for label in model.spec.labels}
    columns = {**kinds, **shares, "model_sha256": "string"}
    return {f"{prefix_of_columns(model.name)}{column}": kind for column, kind in columns.items()}


def further_values(label: SongLabel, model: Artifact) -> dict[str, Any]:
    """What a song's row has in these columns."""
    own = label.further.get(model.name) or SongLabel(label.path, verdict=label.verdict)
    shares = own.probabilities or (None,) * len(model.spec.labels)
    values = (own.emotion, own.confidence, own.verdict, own.novelty, *shares, model.sha256)
    return dict(zip(further_columns(model), values, strict=True))


def prefix_of_columns(model: str) -> str:
    """What the columns of a further model begin with, from the model's name."""
    return f"{storable(model)}_"


def label_from_outputs(
    path: str, file: FileFacts, outputs: Float32, artifact: Artifact, min_confidence: float | None = None
) -> SongLabel:
    """``label_from_logits`` for a model and its further ones, whose outputs stand side by side."""
    if not artifact.further:
        return label_from_logits(path, file, outputs, artifact.spec, min_confidence)
    models = (artifact, *artifact.further)
    ends = np.cumsum([sum(model.spec.outputs.values()) for model in models])[:-1]
    labels = [
        label_from_logits(path, file, part, model.spec, min_confidence)
        for model, part in zip(models, np.split(outputs, ends, axis=1), strict=True)
    ]
    if error := next((label.error for label in labels if label.error), None):
        return SongLabel(path, error=error)
    further = {
        model.name: replace(label, windows=(), tags={})
        for model, label in zip(models[1:], labels[1:], strict=True)
    }
    return replace(labels[0], further=further)


def _windows(model: Artifact) -> tuple[object, ...]:
    """What decides the samples that a model hears."""
    audio = model.spec.audio
    return audio.sample_rate, audio.window_samples, audio.short_audio
