"""What a model says of each clip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...engine.data.metrics import Integers
from ...engine.labelling.song_label import SongLabel
from .common_labels import CommonLabels


@dataclass(frozen=True)
class Answers:
    """A model's answers, in the order of the clips.

    ``said`` are positions in the common names; ``len(names)`` is a clip without an emotion, and ``reasons``
    says why it has none ("" for the others). ``confidence`` is mer-label's own, 0 without an emotion.
    ``probabilities`` are float64 ``[clips, names]``, NaN where a clip has none. ``verdicts`` are mer-label's,
    "" where it gives none; ``errors`` counts clips that failed.
    """

    said: Integers
    confidence: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64]
    reasons: tuple[str, ...]
    verdicts: tuple[str, ...]
    errors: int


def answers_from_labels(
    labels: Iterable[SongLabel], model_labels: Sequence[str], common: CommonLabels
) -> Answers:
    """Answers from what ``label_files`` gave; labels of the model that count as one add up."""
    places = [common.of_model(label) for label in model_labels]
    said, confidence, rows, reasons, verdicts, errors = [], [], [], [], [], 0
    for label in labels:
        row = np.full(len(common.names), 0.0 if label.probabilities else np.nan)
        if label.probabilities:
            np.add.at(row, places, label.probabilities)
        rows.append(row)
        said.append(common.of_model(label.emotion) if label.emotion else len(common.names))
        confidence.append(label.confidence if label.emotion and label.confidence else 0.0)
        verdicts.append(label.verdict or "")
        reasons.append("" if label.emotion else label.error or verdicts[-1])
        errors += label.error is not None
    shape = (len(rows), len(common.names))
    return Answers(
        np.asarray(said, np.intp),
        np.asarray(confidence, np.float64),
        np.asarray(rows, np.float64).reshape(shape),
        tuple(reasons),
        tuple(verdicts),
        errors,
    )
