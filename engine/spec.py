"""The specs that travel inside every artifact.

``AudioSpec`` says how a window of sound becomes the network's input, ``ModelSpec`` what its output means.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from reprlib import repr as shortened
from typing import Any, Literal, Self

from .errors import SpecError
from .spec_checks import EvidenceSpec, check_types, require, require_between, require_name
from .strict_json import json_from_text

VERSION = 1

_LATER = {"win_length": 0}
"""Fields of AudioSpec that version 1 did not have at first: absent they mean this."""

# A spec may come from a stranger, and says how much memory and time a window takes: far above what any
# network of music uses, and such that no window needs more than some 250 MB or a few seconds.
_SAMPLE_RATES = (1_000, 384_000)  # Hz; converters go no higher
_WINDOW_SAMPLES = 10_000_000  # ten minutes at 16 kHz
_N_FFT = 1 << 16
_N_MELS = 1_024
_FILTER_CELLS = 1 << 23  # n_mels x n_fft: the mel filters are computed densely
_IMAGE_CELLS = 1 << 21  # n_mels x all frames of a window: 40 of the default's images
_FFT_SAMPLES = 1 << 26  # n_fft x all frames of a window: 280 times the default's
_LEAST_BAND = 1.0  # Hz; in a narrower one the edges of neighbouring filters are the same float
_DECIBELS = 1e6
_AMIN = (1e-30, 1e30)  # float32 holds it
_STD = (1e-6, 1e6)
_TEMPERATURES = (1e-3, 1e3)
_LABELS = 1_000


@dataclass(frozen=True)
class AudioSpec:
    """How a window of ``window_samples`` samples becomes a log-mel ``[n_mels, frames]``.

    The power spectrogram uses a periodic Hann window of ``win_length`` samples (0: ``n_fft``) in the middle
    of ``n_fft``, centred, as librosa and DALI do. dB are ``10 log10(max(power, amin))``, minus the window's
    maximum when ``reference`` is "max", or the level of its mean power when it is "mean" (then a gain
    changes nothing), and never more than ``top_db`` below the maximum where that is set.
    ``mean`` and ``std`` hold one number, or one per mel, in dB; the log-mel is ``(dB - mean) / std``. Sound
    shorter than a window is repeated or padded with zeros, as ``short_audio`` says. Frequencies are in Hz.

    Raises:
        SpecError: a field is out of range or the fields contradict each other.
    """

    sample_rate: int = 16_000
    window_samples: int = 160_000
    frames: int = 313
    n_fft: int = 2_048
    hop_length: int = 512
    pad_mode: Literal["constant", "reflect"] = "constant"
    n_mels: int = 128
    fmin: float = 20.0
    fmax: float = 8_000.0
    mel_scale: Literal["slaney", "htk"] = "slaney"
    mel_norm: Literal["slaney", "none"] = "slaney"
    amin: float = 1e-10
    reference: Literal["one", "max", "mean"] = "one"
    top_db: float | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    short_audio: Literal["zeros", "repeat"] = "repeat"
    win_length: int = 0
    version: int = VERSION

    def __post_init__(self) -> None:
        check_types(self)
        require(self.version == VERSION, f"AudioSpec version {self.version}; this merkit reads {VERSION}")
        require_between(self, "sample_rate", *_SAMPLE_RATES)
        require_between(self, "window_samples", 1, _WINDOW_SAMPLES)
        require_between(self, "n_fft", 2, _N_FFT)
        require_between(self, "n_mels", 1, _N_MELS)
        for name in ("frames", "hop_length"):
            require(getattr(self, name) > 0, f"AudioSpec.{name} must be above 0")
        require(self.n_fft % 2 == 0, "AudioSpec.n_fft must be even")
        require(
            self.win_length == 0 or 2 <= self.win_length <= self.n_fft,
            "AudioSpec.win_length must be 0, or from 2 to n_fft",
        )
        available = 1 + self.window_samples // self.hop_length
        require(
            self.frames <= available,
            f"AudioSpec.frames is {shortened(self.frames)}; {self.window_samples} samples give {available}",
        )
        for cells, most, what in (
            (self.n_mels * self.n_fft, _FILTER_CELLS, "n_mels x n_fft"),
            (self.n_mels * available, _IMAGE_CELLS, "n_mels x (1 + window_samples / hop_length)"),
            (self.n_fft * available, _FFT_SAMPLES, "n_fft x (1 + window_samples / hop_length)"),
        ):
            require(cells <= most, f"AudioSpec needs too much memory or time: {what} is above {most}")
        require(
            self.pad_mode != "reflect" or self.window_samples > self.n_fft // 2,
            "AudioSpec.pad_mode reflect needs a window longer than n_fft / 2",
        )
        require(
            0 <= self.fmin <= self.fmax - _LEAST_BAND <= self.sample_rate / 2 - _LEAST_BAND,
            "AudioSpec needs 0 <= fmin < fmax <= sample_rate / 2, and a band of 1 Hz or more",
        )
        require_between(self, "amin", *_AMIN)
        require(
            self.top_db is None or 0 < self.top_db <= _DECIBELS,
            f"AudioSpec.top_db must be above 0, and at most {_DECIBELS:g}",
        )
        for name, least, most in (("mean", -_DECIBELS, _DECIBELS), ("std", *_STD)):
            values = getattr(self, name)
            require(
                len(values) in (1, self.n_mels) and all(least <= value <= most for value in values),
                f"AudioSpec.{name} must hold 1 or n_mels numbers from {least:g} to {most:g}",
            )

    @property
    def window_s(self) -> float:
        """The length of one window in seconds."""
        return self.window_samples / self.sample_rate

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal: equal for equal specs only."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return _to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of ``to_json``.

        Raises:
            SpecError: not JSON, a field is unknown or missing, or a value is out of range.
        """
        return _from_mapping(cls, _parse(text, cls))


@dataclass(frozen=True)
class ModelSpec:
    """A trained network: its backbone, the meaning of its outputs and the input it expects.

    ``labels`` name the logits in order. Probabilities are ``softmax(logits / temperature)``.
    ``provenance`` is any JSON object: data, split, protocol, metrics, licence. ``evidence`` is None, and not
    in the JSON, where the network has no such output.

    Raises:
        SpecError: no, repeated or too many labels, control characters in one, a temperature out of range,
            or provenance that is not JSON.
    """

    backbone: str
    labels: tuple[str, ...]
    audio: AudioSpec
    temperature: float = 1.0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION
    evidence: EvidenceSpec | None = None

    def __post_init__(self) -> None:
        check_types(self)
        require(self.version == VERSION, f"ModelSpec version {self.version}; this merkit reads {VERSION}")
        require_name(self.backbone, "ModelSpec.backbone")
        require(2 <= len(self.labels) <= _LABELS, f"ModelSpec.labels needs 2 to {_LABELS} labels")
        for label in self.labels:
            require_name(label, "ModelSpec.labels: a label")
        require(len(set(self.labels)) == len(self.labels), "ModelSpec.labels must be different")
        require_between(self, "temperature", *_TEMPERATURES)
        try:
            json_from_text(json.dumps(dict(self.provenance), allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise SpecError(f"ModelSpec.provenance is not JSON: {error}") from None

    @property
    def outputs(self) -> dict[str, int]:
        """The network's outputs: name to columns, in the order in which runtimes put them side by side."""
        return {"logits": len(self.labels), **({"evidence": 2} if self.evidence else {})}

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return _to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of ``to_json``.

        Raises:
            SpecError: not JSON, a field is unknown or missing, or a value is out of range.
        """
        fields = _parse(text, cls)
        if isinstance(fields.get("audio"), dict):
            fields["audio"] = _from_mapping(AudioSpec, fields["audio"])
        evidence = fields.setdefault("evidence", None)
        if isinstance(evidence, dict):
            fields["evidence"] = _from_mapping(EvidenceSpec, evidence)
        return _from_mapping(cls, fields)


def note_of_stopped(name: str, provenance: Mapping[str, Any]) -> str:
    """A warning where the training of the network that users call ``name`` has not ended; else empty."""
    if provenance.get("finished") is not False:  # only trainings say so
        return ""
    return f"warning: the training of {name} was stopped before its end: mer-train --resume finishes it"


def _to_json(spec: Any) -> str:
    fields = dataclasses.asdict(spec)
    audio = fields.get("audio", fields)
    for name, value in _LATER.items():
        if audio.get(name, ...) == value:  # older versions read it, and its fingerprint stays what it was
            del audio[name]
    if fields.get("evidence", 0) is None:
        del fields["evidence"]
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _parse(text: str, cls: type) -> dict[str, Any]:
    try:
        fields = json_from_text(text)
    except ValueError as error:
        raise SpecError(f"{cls.__name__} is not JSON: {error}") from None
    require(isinstance(fields, dict), f"{cls.__name__} must be a JSON object")
    return fields


def _from_mapping(cls: Any, fields: Mapping[str, Any]) -> Any:
    known = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(set(fields) - set(known))
    require(
        not unknown,
        f"{cls.__name__} has unknown fields: {', '.join(unknown)[:200]}; a newer merkit may have made it",
    )
    # No field may be missing: a default that changes later would silently change the network's input.
    missing = sorted(set(known) - set(fields) - set(_LATER))
    require(not missing, f"{cls.__name__} lacks fields: {', '.join(missing)}")
    return cls(**fields)


QUADRANTS = ("happy", "tense", "sad", "calm")
"""The labels of every ``emotion4q`` model, in order: Russell's quadrants Q1 to Q4."""

MER500_LABELS = ("sad", "romantic", "devotional", "party", "happy")
"""The labels of the ``mer500`` models, in the order of the Hindi paper's code."""
