"""Sounds and specs on which spectrograms go wrong first."""

from __future__ import annotations

import numpy as np
from audio_files import chirp, noise
from merkit.engine.spec import AudioSpec
from merkit.engine.spectrogram.presets import PRESETS

SPECS = {
    **PRESETS,
    "reflect": AudioSpec(pad_mode="reflect"),
    "htk": AudioSpec(mel_scale="htk", mel_norm="none"),
    "narrow": AudioSpec(fmin=300, fmax=3_400, n_mels=40, n_fft=1_024, hop_length=160, frames=1_001),
}


def music(spec: AudioSpec) -> np.ndarray:
    """A loud bass, a quiet treble and silence: where float32 would fail."""
    seconds = spec.window_samples / spec.sample_rate
    rate = spec.sample_rate
    t = np.arange(spec.window_samples) / rate
    bass = 0.9 * np.sin(2 * np.pi * 60 * t)
    quiet = 1e-4 * np.sin(2 * np.pi * rate / 3 * t)
    mixed = bass + quiet + 0.1 * chirp(seconds, rate)[: len(t)] + 1e-3 * noise(seconds, rate)[: len(t)]
    mixed[len(t) // 2 : len(t) // 2 + rate // 2] = 0
    return mixed.astype(np.float32)
