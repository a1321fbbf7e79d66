"""Training hears a file exactly where labelling does, and refuses it with the same words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import noise, write_audio
from merkit.engine.errors import AudioError
from merkit.engine.labelling.file_windows import WindowOptions, log_mels_from_file
from merkit.engine.spec import AudioSpec
from merkit.training.data.clip_sound import sound_from_clip

SPEC = AudioSpec(window_samples=32_000, frames=63, n_mels=32)  # of 2 s
RATE = 16_000
LEVEL = 0.3  # the highest sample of ``noise``


def _float_wav(path: Path, samples: np.ndarray) -> None:
    soundfile.write(path, samples, RATE, "FLOAT")


def _with_a_hole(path: Path) -> None:
    """An MP3 of 12 s with 40 % of its bytes, in the middle, overwritten."""
    write_audio(path, noise(12, RATE), RATE)
    data = bytearray(path.read_bytes())
    first, end = int(0.3 * len(data)), int(0.7 * len(data))
    data[first:end] = bytes(end - first)
    path.write_bytes(data)


def _cut_off(path: Path) -> None:
    """A FLAC of 6 s of which the second half of the bytes is missing."""
    write_audio(path, noise(6, RATE), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _not_a_number(path: Path) -> None:
    """The last window is not finite, and is among those that labelling hears."""
    _float_wav(path, np.where(np.arange(6 * RATE) < 5 * RATE, noise(6, RATE), np.nan))


def _not_a_number_between_windows(path: Path) -> None:
    """Three windows of 2 s in 20 s begin at 0, 9 and 18 s."""
    samples = noise(20, RATE)
    samples[5 * RATE] = np.nan
    _float_wav(path, samples)


REFUSED: dict[str, Callable[[Path], object]] = {
    "silent.wav": lambda path: write_audio(path, np.zeros(3 * RATE, np.float32), RATE),
    "offset.wav": lambda path: _float_wav(path, np.full(3 * RATE, 0.2, np.float32)),
    "quiet.wav": lambda path: _float_wav(path, 1e-3 * noise(3, RATE)),
    "empty.wav": lambda path: write_audio(path, np.zeros(0, np.float32), RATE),
    "short.wav": lambda path: write_audio(path, noise(0.05, RATE), RATE),
    "a click.wav": lambda path: _float_wav(path, np.pad(noise(0.02, RATE), (RATE, 5 * RATE))),
    "text.wav": lambda path: path.write_bytes(b"RIFF, but no more"),
    "no bytes.wav": lambda path: path.write_bytes(b""),
    "no number.wav": lambda path: _float_wav(path, np.full(3 * RATE, np.nan, np.float32)),
}
HEARD: dict[str, Callable[[Path], object]] = {
    "music.wav": lambda path: write_audio(path, noise(5, RATE), RATE),
    "other rate.wav": lambda path: write_audio(path, noise(5, 44_100), 44_100),
    "short enough.wav": lambda path: write_audio(path, noise(0.2, RATE), RATE),
    "hole.mp3": _with_a_hole,
    "cut off.flac": _cut_off,
    "not a number.wav": _not_a_number,
    "not a number between.wav": _not_a_number_between_windows,
}


def _refusal(hear: Callable[[], object]) -> str | None:
    try:
        hear()
    except AudioError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", [*REFUSED, *HEARD])
def test_what_labelling_refuses_is_refused_with_its_words(name: str, tmp_path: Path):
    path = tmp_path / name
    (REFUSED | HEARD)[name](path)
    reason = _refusal(lambda: log_mels_from_file(str(path), WindowOptions(SPEC)))
    assert (reason is None) == (name in HEARD), reason
    assert _refusal(lambda: sound_from_clip(str(path), SPEC)) == reason


@pytest.mark.parametrize("name", HEARD)
def test_what_is_heard_is_finite_and_no_silence(name: str, tmp_path: Path):
    path = tmp_path / name
    HEARD[name](path)
    samples = sound_from_clip(str(path), SPEC)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert len(samples) >= SPEC.n_fft
    assert np.abs(samples).max() > LEVEL / 2


def test_the_whole_clip_is_heard(tmp_path: Path):
    samples = noise(5, RATE)
    _float_wav(tmp_path / "whole.wav", samples)
    assert np.array_equal(sound_from_clip(str(tmp_path / "whole.wav"), SPEC), samples)


def test_long_silences_are_left_out(tmp_path: Path):
    """Labelling puts no window there; a short rest is part of the music."""
    first, second = noise(4, RATE, 1), noise(3, RATE, 2)
    rest, pause = np.zeros(RATE, np.float32), np.zeros(6 * RATE, np.float32)
    _float_wav(tmp_path / "pauses.wav", np.concatenate([pause, first, rest, first, pause, second, pause]))
    heard = sound_from_clip(str(tmp_path / "pauses.wav"), SPEC)
    assert len(heard) == pytest.approx(12 * RATE, abs=0.05 * RATE)
    assert heard[-len(second) :] == pytest.approx(second, abs=1e-6)
