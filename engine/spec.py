"""The specs that travel inside every artifact.

``AudioSpec`` says how a window of sound becomes the network's input, ``ModelSpec`` what its output means.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from .errors import SpecError

VERSION = 1


@dataclass(frozen=True)
class AudioSpec:
    """How a window of ``window_samples`` samples becomes a log-mel ``[n_mels, frames]``.

    The power spectrogram uses a periodic Hann window of ``n_fft`` samples, centred, as librosa
    and DALI do. dB are ``10 log10(max(power, amin))``, minus the window's maximum when ``reference``
    is "max", and never more than ``top_db`` below the maximum where that is set. ``mean`` and ``std``
    hold one number, or one per mel, in dB; the log-mel is ``(dB - mean) / std``. Sound shorter than a
    window is repeated or padded with zeros, as ``short_audio`` says. Frequencies are in Hz.

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
    reference: Literal["one", "max"] = "one"
    top_db: float | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    short_audio: Literal["zeros", "repeat"] = "repeat"
    version: int = VERSION

    def __post_init__(self) -> None:
        _check_types(self)
        _require(self.version == VERSION, f"AudioSpec version {self.version}; this merkit reads {VERSION}")
        for name in ("sample_rate", "window_samples", "frames", "n_fft", "hop_length", "n_mels"):
            _require(getattr(self, name) > 0, f"AudioSpec.{name} must be above 0")
        _require(self.n_fft % 2 == 0, "AudioSpec.n_fft must be even")
        available = 1 + self.window_samples // self.hop_length
        _require(
            self.frames <= available,
            f"AudioSpec.frames is {self.frames}; {self.window_samples} samples give {available}",
        )
        _require(
            self.pad_mode != "reflect" or self.window_samples > self.n_fft // 2,
            "AudioSpec.pad_mode reflect needs a window longer than n_fft / 2",
        )
        _require(
            0 <= self.fmin < self.fmax <= self.sample_rate / 2,
            "AudioSpec needs 0 <= fmin < fmax <= sample_rate / 2",
        )
        _require(0 < self.amin < math.inf, "AudioSpec.amin must be above 0")
        _require(self.top_db is None or self.top_db > 0, "AudioSpec.top_db must be above 0")
        for name in ("mean", "std"):
            values = getattr(self, name)
            _require(
                len(values) in (1, self.n_mels) and all(map(math.isfinite, values)),
                f"AudioSpec.{name} must hold 1 or n_mels finite numbers",
            )
        _require(min(self.std) > 0, "AudioSpec.std must be above 0")

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
    ``provenance`` is any JSON object: data, split, protocol, metrics, licence.

    Raises:
        SpecError: no or repeated labels, a temperature that is not above 0, or provenance that
            is not JSON.
    """

    backbone: str
    labels: tuple[str, ...]
    audio: AudioSpec
    temperature: float = 1.0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def __post_init__(self) -> None:
        _check_types(self)
        _require(self.version == VERSION, f"ModelSpec version {self.version}; this merkit reads {VERSION}")
        _require(bool(self.backbone), "ModelSpec.backbone is empty")
        _require(len(self.labels) >= 2, "ModelSpec.labels needs two labels or more")
        _require(
            all(self.labels) and len(set(self.labels)) == len(self.labels),
            "ModelSpec.labels must be different and not empty",
        )
        _require(0 < self.temperature < math.inf, "ModelSpec.temperature must be above 0")
        try:
            json.dumps(dict(self.provenance), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise SpecError(f"ModelSpec.provenance is not JSON: {error}") from None

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
        return _from_mapping(cls, fields)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise SpecError(message)


_KINDS: Mapping[Any, tuple[type, ...]] = {
    int: (int,),
    float: (int, float),
    str: (str,),
    float | None: (int, float, type(None)),
}


def _check_types(spec: Any) -> None:
    """Checks types against the annotations.

    Lists become tuples and whole numbers floats where the field says so: a spec that was read from JSON
    equals the one that was written.
    """
    for name, hint in get_type_hints(type(spec)).items():
        value = getattr(spec, name)
        if hint in (tuple[float, ...], tuple[str, ...]):
            element = get_args(hint)[0]
            _require(
                isinstance(value, list | tuple)
                and all(isinstance(v, _KINDS[element]) and not isinstance(v, bool) for v in value),
                f"{type(spec).__name__}.{name} must be a list of {element.__name__}",
            )
            object.__setattr__(spec, name, tuple(map(element, value)))
        elif get_origin(hint) is Literal:
            choices = get_args(hint)
            _require(
                value in choices,
                f"{type(spec).__name__}.{name} must be one of {', '.join(choices)}, not {value!r}",
            )
        elif hint in _KINDS:
            kind = hint.__name__ if isinstance(hint, type) else hint
            _require(
                isinstance(value, _KINDS[hint]) and not isinstance(value, bool),
                f"{type(spec).__name__}.{name} must be {kind}, not {value!r}",
            )
            if float in _KINDS[hint] and value is not None:
                object.__setattr__(spec, name, float(value))
        else:
            expected = AudioSpec if hint is AudioSpec else Mapping
            _require(isinstance(value, expected), f"{type(spec).__name__}.{name} must be {expected.__name__}")


def _to_json(spec: Any) -> str:
    return json.dumps(
        dataclasses.asdict(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _parse(text: str, cls: type) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise SpecError(f"{cls.__name__} is not JSON: {error}") from None
    _require(isinstance(fields, dict), f"{cls.__name__} must be a JSON object")
    return fields


def _from_mapping(cls: Any, fields: Mapping[str, Any]) -> Any:
    known = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(set(fields) - set(known))
    _require(
        not unknown,
        f"{cls.__name__} has unknown fields: {', '.join(unknown)}; a newer merkit may have made it",
    )
    # No field may be missing: a default that changes later would silently change the network's input.
    missing = sorted(set(known) - set(fields))
    _require(not missing, f"{cls.__name__} lacks fields: {', '.join(missing)}")
    return cls(**fields)


QUADRANTS = ("happy", "tense", "sad", "calm")
"""The labels of every ``emotion4q`` model, in order: Russell's quadrants Q1 to Q4."""

MER500_LABELS = ("sad", "romantic", "devotional", "party", "happy")
"""The labels of the ``mer500`` models, in the order of the Hindi paper's code."""

PRESETS: Mapping[str, AudioSpec] = {
    # Twice the default hop halves the cost of log-mels and networks. Below -60 dB (amin) codecs keep nothing.
    "emotion4q": AudioSpec(hop_length=1_024, frames=157, amin=1e-6),
    # As the Hindi paper reports. It leaves the length of a window open (its clips are "about 10 s"): 10 s is
    # our choice. The mean and deviation are fitted to the training set.
    "mer500": AudioSpec(n_mels=224, fmin=0.0, reference="max", top_db=80.0, short_audio="zeros"),
    # As its authors' notebook: the first 224 x 512 samples at librosa's default rate. librosa makes 225
    # frames of them, which they resize to 224 x 224; here the first 224 frames are kept as they are.
    "mer500-notebook": AudioSpec(
        sample_rate=22_050,
        window_samples=224 * 512,
        frames=224,
        n_mels=224,
        fmin=0.0,
        fmax=8_000.0,
        reference="max",
        top_db=80.0,
        short_audio="zeros",
    ),
    # As the paper on Indian classical music: 44.1 kHz, 5 s, STFT 2,048 / 512. Mels and dB are our choice.
    "jumusemodb": AudioSpec(
        sample_rate=44_100,
        window_samples=220_500,
        frames=431,
        n_mels=128,
        fmin=0.0,
        fmax=22_050.0,
        short_audio="zeros",
    ),
}
