"""What is done to dB is what a filter and noise do to the sound itself."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from audio_files import noise
from merkit.engine.spectrogram.log_mel import decibels_from_audio, mel_edges
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.data.degrade import (
    at_a_lower_rate,
    coded,
    high_passed,
    low_passed,
    random_codec,
    random_high_pass,
    random_low_pass,
    random_noise,
    with_noise,
)

SPEC = PRESETS["emotion4q"]
RATE = SPEC.sample_rate
QUIET = dataclasses.replace(SPEC, amin=1e-12)  # no floor


def _by_mel(decibels: np.ndarray) -> np.ndarray:
    """The mean power of each mel, in dB, without the sound's ends, which are clicks."""
    return 10 * np.log10(np.power(10, decibels[:, 4:-4].astype(np.float64) / 10).mean(axis=1))


@pytest.mark.parametrize(("order", "slope"), [(4, 24), (8, 48)])
def test_a_low_pass_is_butterworths(order: int, slope: float):
    sound, cutoff = noise(5, RATE), 2_500.0
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    gain = (1 + (hz / cutoff) ** (2 * order)) ** -0.5
    filtered = np.fft.irfft(np.fft.rfft(sound) * gain, len(sound)).astype(np.float32)
    expected = _by_mel(decibels_from_audio(filtered, QUIET))
    ours = _by_mel(low_passed(decibels_from_audio(sound, QUIET), QUIET, cutoff, slope))
    octaves = np.abs(np.log2(_mel_hz() / cutoff))
    np.testing.assert_allclose(ours, expected, atol=3.3)  # its corner is round: 3 dB
    np.testing.assert_allclose(ours[octaves > 0.8], expected[octaves > 0.8], atol=1.0)


@pytest.mark.parametrize(("order", "slope"), [(1, 6), (2, 12), (4, 24)])
def test_a_high_pass_is_butterworths(order: int, slope: float):
    sound, cutoff = noise(5, RATE), 800.0
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    gain = (1 + (cutoff / np.maximum(hz, 1e-3)) ** (2 * order)) ** -0.5
    filtered = np.fft.irfft(np.fft.rfft(sound) * gain, len(sound)).astype(np.float32)
    expected = _by_mel(decibels_from_audio(filtered, QUIET))
    ours = _by_mel(high_passed(decibels_from_audio(sound, QUIET), QUIET, cutoff, slope))
    octaves = np.log2(_mel_hz() / cutoff)
    np.testing.assert_allclose(ours[octaves > -1.5], expected[octaves > -1.5], atol=3.3)  # a round corner
    np.testing.assert_allclose(ours[octaves > 1], expected[octaves > 1], atol=1.0)


def test_a_random_high_pass_takes_bass_alone():
    before, taken = np.zeros((SPEC.n_mels, 3), np.float32), []
    for seed in range(200):
        lost = before - random_high_pass(before, SPEC, np.random.default_rng(seed))
        assert (np.diff(lost, axis=0) <= 1e-5).all()  # the lower, the more
        assert np.abs(lost[_mel_hz() > 500]).max() < 1e-3
        taken.append(lost[0, 0])
    low, high = np.quantile(taken, (0.1, 0.9))
    assert high - low > 30


def test_a_file_of_a_lower_rate_ends_at_half_of_it():
    wide = dataclasses.replace(PRESETS["audioset"], amin=1e-12)
    before = decibels_from_audio(noise(2, wide.sample_rate), wide)
    ends = set()
    for seed in range(40):
        lost = before - at_a_lower_rate(before, wide, np.random.default_rng(seed))
        assert np.ptp(lost, axis=1).max() < 1e-3
        hears = lost[:, 0] < 30
        ends.add(int(hears.sum()))
        assert hears[: hears.sum()].all()
        assert np.abs(lost[:, 0][mel_edges(wide)[1:-1] < 4_000]).max() < 1e-3
    assert len(ends) == 5


def _mel_hz() -> np.ndarray:
    librosa = pytest.importorskip("librosa")
    return librosa.mel_frequencies(SPEC.n_mels + 2, fmin=SPEC.fmin, fmax=SPEC.fmax)[1:-1]


def test_noise_is_noise():
    """White noise 20 dB below a sound, added before and after the spectrogram."""
    times = np.arange(10 * RATE) / RATE
    sound = (0.3 * np.sin(2 * np.pi * 440 * times) * (1 + np.sin(2 * np.pi * times))).astype(np.float32)
    hiss = 0.01 * np.random.default_rng(0).standard_normal(len(sound)).astype(np.float32)
    level = _by_mel(decibels_from_audio(hiss, SPEC)).mean()
    expected = decibels_from_audio((sound + hiss).astype(np.float32), SPEC)
    ours = with_noise(decibels_from_audio(sound, SPEC), level, 0.0, np.random.default_rng(1))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(_by_mel(ours), _by_mel(expected), atol=1.0)
    spread = [part[60:].std(axis=1).mean() for part in (ours, expected)]
    assert spread[0] == pytest.approx(spread[1], rel=0.5)  # it moves as much as noise does


def test_tilt_goes_from_the_lowest_mel_to_the_highest():
    rng = np.random.default_rng(0)
    ours = _by_mel(with_noise(np.full((16, 4_000), -200, np.float32), -40.0, 8.0, rng))
    np.testing.assert_allclose(ours, -40 + np.linspace(0, 8, 16), atol=0.3)


def test_random_ones_stay_within_their_bounds():
    rng = np.random.default_rng(0)
    flat = np.zeros((128, 50), np.float32)
    hz = _mel_hz()
    dull = [random_low_pass(flat, SPEC, rng)[:, 0] for _ in range(200)]
    assert {int((tone[hz < 2_500] == 0).all()) for tone in dull} == {1}
    lost = [hz[tone < -1].min() if (tone < -1).any() else 8_000 for tone in dull]
    assert 2_500 < min(lost) < 2_800
    assert max(lost) > 7_000
    noise_db = [10 * np.log10(10 ** (random_noise(flat, rng).mean() / 10) - 1 + 1e-9) for _ in range(200)]
    assert -55 < min(noise_db) < -40
    assert -17 < max(noise_db) < -10  # 15 dB below, with up to 9 dB more in the treble
    silence = np.full((128, 2_000), -200, np.float32)
    for level, tilt, of_all in ((-15, 9, -10), (-45, -18, -51)):  # as the documents say
        power = np.power(10, with_noise(silence, level, tilt, rng).astype(np.float64) / 10).mean()
        assert 10 * np.log10(power) == pytest.approx(of_all, abs=0.5)


def test_a_codec_errs_where_it_is_masked():
    image = np.tile(np.array([-10, -30, -50, -90], np.float32).repeat(8)[:, None], (1, 4_000))
    error = coded(image, 1.0, np.random.default_rng(0)) - image
    assert error.dtype == np.float32
    assert abs(error.mean()) < 0.1
    by_level = [error[start : start + 8].std() for start in (0, 8, 16, 24)]
    np.testing.assert_allclose(by_level, [1.0, 2.4, 3.8, 5.2], rtol=0.03)  # no more below 60 dB
    for apart in (error[:, 1:] * error[:, :-1], error[1:8] * error[:7]):
        assert apart[:7].mean() == pytest.approx(0.5, abs=0.05)
    assert (coded(image, 0.0, np.random.default_rng(0)) == image).all()
    strengths = [np.std(random_codec(image, np.random.default_rng(n))[:8] + 10) for n in range(40)]
    assert 0.3 <= min(strengths) < 0.5 < 1.2 < max(strengths) <= 1.55
