"""torch's log-mels are the reference's, whatever the spec."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from merkit.engine.spec import AudioSpec
from merkit.engine.spectrogram.log_mel import log_mel_from_audio
from merkit.engine.spectrogram.presets import PRESETS

torch = pytest.importorskip("torch")

SMALL = AudioSpec(window_samples=16_000, frames=30, n_mels=32, n_fft=1_024)
SPECS = {
    "emotion4q": PRESETS["emotion4q"],
    "max": replace(SMALL, reference="max", top_db=60.0, mean=(-30.0,), std=(12.0,)),
    "htk": replace(SMALL, pad_mode="reflect", mel_scale="htk", mel_norm="none", win_length=400),
}


@pytest.mark.parametrize("name", SPECS)
def test_the_references_log_mels(name: str) -> None:
    from merkit.benchmarks.experiments.gpu_checks.mel import TorchLogMel

    spec = SPECS[name]
    audio = np.random.default_rng(0).normal(0, 0.1, (3, spec.window_samples)).astype(np.float32)
    audio[1] *= 1e-3
    made = TorchLogMel(spec, "cpu")(torch.from_numpy(audio)).numpy()
    expected = log_mel_from_audio(audio, spec)
    assert made.shape == expected.shape
    np.testing.assert_allclose(made, expected, atol=0.01 / min(spec.std))
