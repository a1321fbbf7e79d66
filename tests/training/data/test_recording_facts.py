"""Level, band and bitrate of a recording, from sounds whose figures are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from merkit.engine.data.labelled_audio import Clip
from merkit.engine.errors import MerError
from merkit.training.data.recording_facts import FACTS, facts_from_samples, recording_facts

_RATE = 44_100
_SECONDS = 3


def _noise(cutoff_hz: float, rms: float) -> np.ndarray:
    """White noise below a frequency, float32 ``[samples]``."""
    count = _SECONDS * _RATE
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(count))
    spectrum[np.fft.rfftfreq(count, 1 / _RATE) > cutoff_hz] = 0
    sound = np.fft.irfft(spectrum, count)
    return (rms * sound / np.sqrt(np.mean(sound**2))).astype(np.float32)


def _by_name(facts: np.ndarray) -> dict[str, float]:
    return dict(zip(FACTS, facts.tolist(), strict=True))


@pytest.mark.parametrize("cutoff", [4_000, 11_000])
def test_the_band_ends_where_the_sound_does(cutoff: int):
    facts = _by_name(facts_from_samples(_noise(cutoff, 0.1)[None], 20_000, 30))
    assert facts["upper edge at -60 dB"] == pytest.approx(cutoff / 1_000, abs=0.4)
    assert facts["level"] == pytest.approx(-20, abs=0.01)
    assert facts["bits a second"] == pytest.approx(np.log10(20_000), abs=0.001)


def test_gain_changes_levels_and_nothing_else():
    sound = _noise(8_000, 0.1)[None]
    before, after = (_by_name(facts_from_samples(np.float32(gain) * sound, 1, 1)) for gain in (1.0, 0.1))
    moved = {name for name in FACTS if abs(before[name] - after[name]) > 0.01}
    assert moved <= {"level", "peak", "quietest tenth", "offset"}
    assert before["level"] - after["level"] == pytest.approx(20, abs=0.01)


def test_the_level_of_a_file_is_the_sound_s(tmp_path: Path):
    sound = _noise(8_000, 0.1)
    for name, gain in (("loud", 1.0), ("quiet", 0.03)):
        soundfile.write(tmp_path / f"{name}.wav", np.float32(gain) * sound, _RATE, subtype="FLOAT")
    results = recording_facts([Clip(tmp_path / f"{name}.wav", "x", "") for name in ("loud", "quiet")], 1)
    loud, quiet = (_by_name(result) for result in results if isinstance(result, np.ndarray))
    assert loud["level"] == pytest.approx(-20, abs=0.1)
    assert loud["peak"] == pytest.approx(20 * np.log10(np.abs(sound).max()), abs=0.1)
    for name in ("level", "peak", "quietest tenth"):
        assert loud[name] - quiet[name] == pytest.approx(-20 * np.log10(0.03), abs=0.1)


def test_files_and_what_cannot_be_heard(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", _noise(11_000, 0.1), _RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "silent.wav", np.zeros(_RATE), _RATE)
    clips = [Clip(tmp_path / name, "x", "") for name in ("a.wav", "silent.wav", "missing.wav")]
    facts, silent, missing = recording_facts(clips, 1)
    assert isinstance(facts, np.ndarray)
    assert np.isfinite(facts).all()
    # 16 bits a sample and the header's few bytes
    assert _by_name(facts)["bits a second"] == pytest.approx(np.log10(16 * _RATE), abs=0.001)
    assert isinstance(silent, MerError)
    assert isinstance(missing, MerError)
