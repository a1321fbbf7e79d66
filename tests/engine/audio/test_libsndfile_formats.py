"""Every container and subtype that libsndfile writes, read in windows, against the samples written."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import noise
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.audio.libsndfile import SoundFileDecoder

# SD2 keeps its header in another file, RAW has none, mp3.py reads MP3. PAF and SDS, of samplers, are filled
# up to whole blocks, which libsndfile does not always read.
_CONTAINERS = sorted(set(soundfile.available_formats()) - {"RAW", "SD2", "MP3", "PAF", "SDS"})
_TABLE = [(kind, subtype) for kind in _CONTAINERS for subtype in soundfile.available_subtypes(kind)]
# The noise of a subtype beside the sound, in power; 16 bits and more have next to none.
_NOISE = {
    "VORBIS": 0.05, "OPUS": 0.8, "MPEG_LAYER_III": 0.05, "GSM610": 0.6, "G721_32": 0.01, "G723_24": 0.05,
    "G723_40": 0.01, "NMS_ADPCM_16": 0.3, "NMS_ADPCM_24": 0.05, "NMS_ADPCM_32": 0.02, "IMA_ADPCM": 0.01,
    "MS_ADPCM": 0.01, "DPCM_8": 0.05, "PCM_S8": 5e-3, "PCM_U8": 5e-3, "ULAW": 1e-3, "ALAW": 1e-3,
    "DWVW_12": 1e-5,
}  # fmt: skip


def written(path: Path, sound: np.ndarray, rate: int, kind: str, subtype: str) -> bool:
    """False where libsndfile does not write such a file."""
    channels = sound.shape[1]
    if not soundfile.check_format(kind, subtype):
        return False
    try:
        with soundfile.SoundFile(path, "w", rate, channels, subtype, format=kind) as file:
            for start in range(0, len(sound), 8_192):  # libsndfile's Vorbis crashes on long writes
                file.write(sound[start : start + 8_192])
    except soundfile.LibsndfileError:
        return False
    return True


def error_of(window: np.ndarray, sound: np.ndarray) -> float:
    """The power of the difference, in that of the sound."""
    return float(np.mean((window - sound[: len(window)]) ** 2) / np.mean(sound[: len(window)] ** 2))


def opened(path: Path) -> SoundFileDecoder:
    return SoundFileDecoder(os.open(path, os.O_RDONLY), Budget(Limits()))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("kind", "subtype"), _TABLE)
def test_windows_are_the_samples(tmp_path: Path, kind: str, subtype: str, channels: int) -> None:
    rate, size = (48_000 if subtype == "OPUS" else 8_000), 2_000
    sound = np.stack([noise(4, rate, seed) for seed in range(channels)], axis=1)
    sound = np.stack([np.convolve(each, np.ones(6) / 4, "same") for each in sound.T], axis=1).astype(
        np.float32
    )
    mono = sound.mean(axis=1)
    path = tmp_path / "sound"
    if not written(path, sound, rate, kind, subtype):
        pytest.skip("libsndfile does not write it")
    with closing(opened(path)) as decoder:
        assert 0 <= decoder.length - len(sound) <= 2_000  # blocks of ADPCM are filled up
        for start in (len(sound) - size, len(sound) // 2 + 1, 3, len(sound) // 4, 0):
            window = decoder.read(start, size)
            assert window.shape == (size,)
            errors = {
                shift: error_of(window[9:-9], mono[start + 9 + shift :])
                for shift in range(-9, 10)
                if start > 3
            }
            errors[0] = error_of(window, mono[start:])
            assert errors[0] < _NOISE.get(subtype, 1e-6), start
            assert min(errors, key=lambda shift: errors[shift]) == 0, start
        assert len(decoder.read(decoder.length - 5, 50)) == 5
        assert decoder.measure() == decoder.length
