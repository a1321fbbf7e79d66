"""What training hears of a file: all that sounds in it, where labelling would give the file a label."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np
import soxr

from ...engine.arrays import Float32
from ...engine.audio.decoder import SLACK_S, Budget, Decoder, Limits
from ...engine.audio.open import open_decoder
from ...engine.audio.silence import sound_in
from ...engine.audio.windows import windows_from_decoder
from ...engine.errors import AudioError
from ...engine.spec import AudioSpec

_PAUSE_S = 2.0  # labelling's for windows of 10 s: a longer silence is no part of the music


def sound_from_clip(path: str, spec: AudioSpec) -> Float32:
    """All that sounds in a file, mono: float32 ``[samples]`` at ``spec.sample_rate``.

    Silences longer than two seconds are left out. Of a file that is damaged it is what labelling hears: its
    windows, one after another.

    Raises:
        AudioError: labelling refuses the file, with its reason.
    """
    budget = Budget(Limits())
    with closing(open_decoder(path, budget)) as decoder:
        whole = _decoded(decoder)
        # The rule is labelling's own, on samples that are decoded once where they are all there.
        windows = list(windows_from_decoder(whole or decoder, spec, budget=budget))
    if whole is None:
        return np.concatenate([window.samples for window in windows if not window.silent])
    samples = np.concatenate([whole.samples[first:end] for first, end in sound_in(whole, _PAUSE_S).stretches])
    if whole.sample_rate == spec.sample_rate:
        return samples
    return soxr.resample(samples, whole.sample_rate, spec.sample_rate, quality="HQ")


@dataclass
class _Decoded:
    """A file whose ``samples`` are in memory, as a ``Decoder``."""

    name: str
    sample_rate: int
    samples: Float32
    length: int

    def read(self, start: int, count: int) -> Float32:
        return self.samples[start : start + count]

    def measure(self) -> int:
        return self.length

    def tags(self) -> dict[str, str]:
        return {}

    def close(self) -> None: ...


def _decoded(decoder: Decoder) -> _Decoded | None:
    """None where a part of the file is damaged: where it lies decides what labelling hears."""
    try:
        samples = decoder.read(0, decoder.length)
    except AudioError:
        return None
    missing = decoder.length - len(samples)
    if missing > SLACK_S * decoder.sample_rate or not np.isfinite(samples).all():
        return None
    return _Decoded(decoder.name, decoder.sample_rate, samples, len(samples))
