"""What every decoder shares: the limits of one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from audio_files import write_audio
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.errors import AudioError
from merkit.engine.spec import AudioSpec
from reading import refusal

SPEC = AudioSpec()


def test_limits(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.wav", np.zeros((16_000, 8), np.float32) + 0.1, 16_000)
    assert "8 channels" in refusal(path, SPEC, channels=6)
    assert "16000 Hz" in refusal(path, SPEC, sample_rate=8_000)
    assert "decodes to more" in refusal(path, SPEC, decoded_samples=1_000)
    assert "longer than 0 s" in refusal(path, SPEC, seconds=0)


def test_a_budget_adds_up() -> None:
    budget = Budget(Limits(decoded_samples=100))
    budget.check_format(44_100, 64)
    budget.spend(60)
    budget.spend(40)
    with pytest.raises(AudioError, match="decodes to more than 100 samples"):
        budget.spend(1)
    for rate, channels in ((0, 1), (1_000_001, 1), (44_100, 0), (44_100, 65)):
        with pytest.raises(AudioError, match=r"sample rate of|channels; at most 64"):
            budget.check_format(rate, channels)
