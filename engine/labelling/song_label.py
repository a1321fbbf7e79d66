"""A song's logits in, its label with a timeline out. Probabilities and verdicts are computed nowhere else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..arrays import Float32
from ..spec import EvidenceSpec, ModelSpec
from .file_windows import FileFacts

Float64 = npt.NDArray[np.float64]

Verdict = Literal["sure", "unsure", "not_music", "silence"]
"""Songs of the last two have no emotion."""


@dataclass(frozen=True)
class SongLabel:
    """One input's label. With an ``error``, ``path`` and ``unreadable`` are all else that is set. Silence
    has no ``emotion``, ``probabilities`` and ``windows``.

    ``probabilities`` are in the order of the model's labels. ``windows`` is the timeline: where each
    window begins, in seconds, and its probabilities, or None where it is silent: such a window has no vote.
    ``tags`` has the file's title, artist and album.

    ``further`` has the labels of further models by their names, without timeline and tags.

    ``verdict`` and ``novelty`` as in ``verdict_from_evidence``; None where the network cannot tell. A song
    that is no music, or silence, has no ``emotion``.

    ``unreadable`` says of an error that the file was not there or could not be read: another day it may get a
    label. Other errors are of files that were read and that hold no usable audio.
    """

    path: str
    error: str | None = None
    emotion: str | None = None
    probabilities: tuple[float, ...] = ()
    duration_s: float | None = None
    windows: tuple[tuple[float, tuple[float, ...] | None], ...] = ()
    decoder: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    unreadable: bool = False
    verdict: Verdict | None = None
    novelty: float | None = None
    further: Mapping[str, SongLabel] = field(default_factory=dict, hash=False)

    @property
    def confidence(self) -> float | None:
        """The probability of ``emotion``; None where there is none."""
        return max(self.probabilities, default=None) if self.emotion else None

    def to_json(self) -> str:
        """All fields as JSON text, which ``label_from_json`` reads."""
        return json.dumps(dataclasses.asdict(self))


def label_from_logits(
    path: str, file: FileFacts, logits: Float32, spec: ModelSpec, min_confidence: float | None = None
) -> SongLabel:
    """The label of a file, from what the network gives for its windows that sound.

    Args:
        logits: float32 ``[windows, labels]``, with the other outputs of ``ModelSpec.outputs`` beside them.
        min_confidence: see ``verdict_from_evidence``.
    """
    if not np.isfinite(logits).all():
        return SongLabel(path, error="the network gave numbers that are not finite")
    logits, evidence = np.split(logits, [len(spec.labels)], axis=1)
    by_window = probabilities_from_logits(logits, spec.temperature)
    song = by_window.mean(axis=0)
    verdict, novelty = verdict_from_evidence(evidence, float(song.max()), spec.evidence, min_confidence)
    heard = {start: _rounded(row) for start, row in zip(file.starts_s, by_window, strict=True)}
    return SongLabel(
        path,
        emotion=None if verdict == "not_music" else spec.labels[int(song.argmax())],
        probabilities=_rounded(song),
        duration_s=file.duration_s,
        windows=tuple((start, heard.get(start)) for start in sorted((*file.starts_s, *file.silent_s))),
        decoder=file.decoder,
        tags=file.tags,
        verdict=verdict,
        novelty=novelty,
    )


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


def label_of_silence(path: str, file: FileFacts | None) -> SongLabel:
    """The label of a file that is silence throughout, which has no timeline."""
    if file is None:
        return SongLabel(path, verdict="silence")
    return SongLabel(
        path, duration_s=file.duration_s, decoder=file.decoder, tags=file.tags, verdict="silence"
    )


def label_of_lost(path: str, processes: int) -> SongLabel:
    """The label of a file that so many processes had when they ended.

    Of the file nothing is known: machines go away, and systems kill processes when memory runs out.
    """
    return SongLabel(path, error=f"{processes} processes ended while they labelled it", unreadable=True)


def label_from_json(text: str, path: str) -> SongLabel:
    """The inverse of ``SongLabel.to_json``, with ``path`` in place of the path in the text."""
    return _from_fields(json.loads(text), path)


def _from_fields(fields: dict[str, Any], path: str) -> SongLabel:
    fields["probabilities"] = tuple(fields["probabilities"])
    fields["windows"] = tuple((start, p and tuple(p)) for start, p in fields["windows"])
    fields["further"] = {name: _from_fields(own, path) for name, own in fields["further"].items()}
    return SongLabel(**{**fields, "path": path})


def song_probabilities(logits: Float32, temperature: float) -> Float64:
    """A song's probabilities ``[labels]``: the mean over its windows' ``logits`` ``[windows, labels]``."""
    return probabilities_from_logits(logits, temperature).mean(axis=0)


def probabilities_from_logits(logits: Float32, temperature: float) -> Float64:
    """``softmax(logits / temperature)`` along the last axis, in float64 (Guo et al., 2017)."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    powers = np.exp(scaled)
    return powers / powers.sum(axis=-1, keepdims=True)


def _rounded(values: Float64) -> tuple[float, ...]:
    """Six decimals, as many as float32 logits carry: more would differ from machine to machine."""
    return tuple(np.round(values.astype(np.float64), 6).tolist())
