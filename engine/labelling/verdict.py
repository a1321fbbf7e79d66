"""What a label is worth: is it music at all, and does the network know such music?"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..arrays import Float32
from ..spec import EvidenceSpec

Verdict = Literal["sure", "unsure", "not_music", "silence"]
"""Songs of the last two have no emotion."""


def verdict_from_evidence(
    evidence: Float32, confidence: float, spec: EvidenceSpec | None, min_confidence: float | None = None
) -> tuple[Verdict | None, float | None]:
    """A song's verdict, and its novelty: the share of the training clips that are less unlike, 0 to 1.

    Args:
        evidence: of its windows that sound, ``[windows, 2]`` as ``EvidenceSpec`` says.
        confidence: the probability of its best label.
        spec: None where the network gives no evidence: there is no novelty then, and a verdict only where
            ``min_confidence`` asks for one.
        min_confidence: in place of the network's own.
    """
    least = min_confidence if min_confidence is not None else spec.confidence if spec else None
    verdict: Verdict | None = None if least is None else "sure" if confidence >= least else "unsure"
    if spec is None:
        return verdict, None
    music, distance = evidence.astype(np.float64).mean(axis=0)
    nearer = np.interp(distance, spec.distances, np.linspace(0, 1, len(spec.distances)))
    if music < spec.music:
        verdict = "not_music"
    elif distance > spec.far:
        verdict = "unsure"
    return verdict, round(float(nearer), 6)
