"""Each change does to sound what its name says, to the decibel and to the sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from merkit.benchmarks.experiments.changes import CHANGES, Sound, changes_from_names
from merkit.engine.errors import UsageError

RATE = 22_050


def tone(frequency: float, rate: int = RATE, seconds: float = 4.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def changed(name: str, samples: np.ndarray, rate: int = RATE, path: str = "", seed: int = 0) -> np.ndarray:
    result = CHANGES[name].make(Sound(samples, rate, path), np.random.default_rng(seed))
    assert result is not None
    assert result.dtype == np.float32
    return result


def rms_db(samples: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(samples.astype(np.float64))))


def middle(samples: np.ndarray) -> np.ndarray:
    return samples[len(samples) // 4 : -len(samples) // 4]


@pytest.mark.parametrize("decibels", [6, -6, 10, -10, -20, -30])
def test_level(decibels: int) -> None:
    loud = 3 * tone(440)  # a peak of 0.9: +6 dB is beyond full scale, and is not clipped
    after = changed(f"level{decibels:+}", loud)
    assert rms_db(after) - rms_db(loud) == pytest.approx(decibels, abs=1e-4)
    assert np.abs(after).max() == pytest.approx(0.9 * 10 ** (decibels / 20), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "gone", "kept"),
    [("lowpass8000", 8_800, 7_200), ("lowpass5500", 6_000, 1_000), ("lowpass4000", 4_400, 3_600)],
)
@pytest.mark.parametrize("rate", [22_050, 44_100])
def test_low_pass(name: str, gone: float, kept: float, rate: int) -> None:
    high, low = tone(gone, rate), tone(kept, rate)
    assert rms_db(middle(changed(name, high, rate))) - rms_db(high) < -40
    np.testing.assert_allclose(middle(changed(name, low, rate)), middle(low), atol=3e-3)  # no delay either


@pytest.mark.parametrize("rate", [22_050, 44_100])
def test_high_pass(rate: int) -> None:
    song = tone(150, rate)
    assert rms_db(middle(changed("highpass300", song, rate))) - rms_db(song) == pytest.approx(-14, abs=0.1)
    np.testing.assert_allclose(
        middle(changed("highpass300", tone(6_000, rate), rate)), middle(tone(6_000, rate)), atol=3e-3
    )


def test_an_old_disc_has_neither_bass_nor_treble_and_is_not_clean() -> None:
    song = tone(1_000)
    flaws = changed("old", song) - song
    assert rms_db(song) - rms_db(flaws) == pytest.approx(17, abs=1)  # a gain of 0.93 is a flaw too
    assert np.abs(flaws).max() > 10 * np.sqrt(np.mean(np.square(flaws)))  # clicks
    for lost in (50, 9_000):  # beside what is kept
        louder = tone(1_000) + tone(lost)
        spectrum = np.abs(np.fft.rfft(changed("old", louder)))
        assert spectrum[lost * 4] < 0.35 * spectrum[1_000 * 4]


def test_noise_is_25_db_below_and_the_seed_chooses_it() -> None:
    song = tone(440)
    noise = changed("noise25", song) - song
    assert rms_db(song) - rms_db(noise) == pytest.approx(25, abs=0.01)
    np.testing.assert_array_equal(changed("noise25", song), changed("noise25", song))
    assert not np.array_equal(changed("noise25", song), changed("noise25", song, seed=1))


@pytest.mark.parametrize(("name", "frame"), [("opus16", 0.02), ("mp3-32", 1_152 / 22_050)])
@pytest.mark.parametrize("rate", [16_000, 22_050, 37_800, 44_100])
def test_a_codec_keeps_length_and_place(name: str, frame: float, rate: int) -> None:
    rng = np.random.default_rng(0)
    times = np.arange(4 * rate) / rate
    # Struck tones at uneven times: only one delay fits them.
    song = np.zeros(len(times))
    for start in np.sort(rng.uniform(0.1, 3.5, 12)):
        decay = np.where(times >= start, np.exp(-12 * (times - start)), 0)
        song += 0.15 * decay * np.sin(2 * np.pi * rng.uniform(200, 1_500) * times)
    song = song.astype(np.float32)
    after = changed(name, song, rate)
    assert 0 <= len(song) - len(after) <= frame * rate
    padded = np.zeros(2 * len(song))
    padded[: len(after)] = after
    correlation = np.fft.irfft(np.fft.rfft(padded) * np.conj(np.fft.rfft(song, 2 * len(song))))
    delay = int(np.argmax(correlation))
    delay = delay - 2 * len(song) if delay > len(song) else delay
    assert abs(delay) <= 0.001 * rate
    assert rms_db(after) == pytest.approx(rms_db(song), abs=1)
    assert not np.allclose(after, song[: len(after)], atol=1e-3)  # it was coded


@pytest.mark.parametrize(("name", "seconds"), [("later1", 1), ("later2", 2)])
def test_begun_later(name: str, seconds: int) -> None:
    song = tone(440)
    np.testing.assert_array_equal(changed(name, song), song[seconds * RATE :])
    make = CHANGES[name].make
    assert make(Sound(song[: seconds * RATE], RATE), np.random.default_rng(0)) is None


def test_faster_is_shorter_and_higher() -> None:
    after = changed("faster3", tone(1_000))
    assert len(after) == pytest.approx(4 * RATE / 1.03, abs=2)
    heard = np.fft.rfftfreq(len(after), 1 / RATE)[np.abs(np.fft.rfft(after)).argmax()]
    assert heard == pytest.approx(1_030, abs=0.5)


def test_offset() -> None:
    np.testing.assert_allclose(changed("offset", tone(440)) - tone(440), 0.05, atol=1e-6)


def test_one_channel(tmp_path: Path) -> None:
    left, right, stereo, mono = tone(440), tone(700), tmp_path / "stereo.wav", tmp_path / "mono.wav"
    soundfile.write(stereo, np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    soundfile.write(mono, left, RATE)
    np.testing.assert_array_equal(changed("left", (left + right) / 2, path=str(stereo)), left)
    for path in (mono, tmp_path / "missing.wav"):
        assert CHANGES["left"].make(Sound(left, RATE, str(path)), np.random.default_rng(0)) is None


def test_names() -> None:
    assert [change.name for change in changes_from_names()] == list(CHANGES)
    assert [change.name for change in changes_from_names(["opus16", "level-10", "opus16"])] == [
        "level-10",
        "opus16",
    ]
    with pytest.raises(UsageError, match="unknown change level-11; there are: level"):
        changes_from_names(["level-11"])
