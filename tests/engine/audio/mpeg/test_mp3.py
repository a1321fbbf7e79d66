"""MP3s that are joined, change in the middle, or are damaged, against the sound that was encoded."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import soxr
from audio_files import Samples, noise, write_audio
from merkit.engine.audio.decoder import Limits
from merkit.engine.audio.mpeg import mp3
from merkit.engine.audio.open import open_decoder
from merkit.engine.errors import AudioError
from mp3_files import write_mp3

RATE = 44_100
ENCODER_DELAY = 1_105  # of LAME and of every decoder, in samples; a tag states it, so that it is left out


def encoded(path: Path, sound: Samples, rate: int = RATE, channels: int = 2, xing: bool = True) -> bytes:
    return write_mp3(path, np.stack([sound] * channels), rate, "constant", xing).read_bytes()


def lag(samples: Samples, expected: Samples, most: int = 3_000) -> int:
    """How many samples later than expected a sound is."""
    size = 2 * len(samples)
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(expected, size).conj()
    near = np.roll(np.fft.irfft(spectrum, size), most)[: 2 * most]
    return int(near.argmax()) - most


def test_joined_files_are_all_heard(tmp_path: Path) -> None:
    sound = noise(11, RATE)
    one, two = (encoded(tmp_path / "part.mp3", part) for part in (sound[: 4 * RATE], sound[4 * RATE :]))
    path = tmp_path / "a.mp3"
    id3v1 = b"TAG" + bytes(125)
    path.write_bytes(one + id3v1 + two + id3v1)
    with closing(open_decoder(path, Limits())) as decoder:
        assert (decoder.sample_rate, decoder.length) == (RATE, len(sound))
        for start, count in ((0, RATE), (3 * RATE, 2 * RATE), (6 * RATE, 3 * RATE), (10 * RATE, RATE)):
            samples = decoder.read(start, count)
            assert len(samples) == count
            assert lag(samples, sound[start : start + count]) == 0
        assert len(decoder.read(10 * RATE, 3 * RATE)) == RATE
        assert len(decoder.read(decoder.length, 1)) == 0
        assert decoder.measure() == len(sound)


@pytest.mark.parametrize("xing", [True, False])
@pytest.mark.parametrize(
    "kinds",
    [
        ((22_050, 2), (48_000, 2)),
        ((44_100, 2), (44_100, 1)),
        ((44_100, 1), (48_000, 2)),
        ((48_000, 2), (32_000, 1), (11_025, 2)),
    ],
)
def test_another_rate_or_number_of_channels(
    tmp_path: Path, kinds: tuple[tuple[int, int], ...], xing: bool
) -> None:
    path = tmp_path / "a.mp3"
    sounds = [noise(3, rate, seed) for seed, (rate, _) in enumerate(kinds)]
    parts = [
        encoded(tmp_path / "part.mp3", sound, *kind, xing) for sound, kind in zip(sounds, kinds, strict=True)
    ]
    path.write_bytes(b"".join(parts))
    with closing(open_decoder(path, Limits())) as decoder:
        rate = decoder.sample_rate
        assert rate == max(rate for rate, _ in kinds)
        samples = decoder.read(0, decoder.length)
        assert len(samples) == decoder.length
        assert len(samples) / rate == pytest.approx(3 * len(kinds), abs=1e-4 if xing else 0.3)
        # Without a tag nothing tells how much an encoder has added to the end of a part.
        for number, (sound, (own, _)) in enumerate(zip(sounds, kinds, strict=True)):
            if xing or number == 0:
                first = 3 * number * rate + (0 if xing else round(ENCODER_DELAY * rate / own))
                expected = soxr.resample(sound, own, rate)[: 2 * rate]
                assert abs(lag(samples[first : first + 2 * rate], expected)) <= 1


def test_an_mp3_that_claims_days_and_goes_on_at_another_rate(tmp_path: Path) -> None:
    one, other = (
        write_audio(tmp_path / f"{rate}.mp3", noise(3, rate), rate).read_bytes() for rate in (22_050, 44_100)
    )
    data = bytearray(one[:4_526] + other[4_000:])
    tag = max(data.find(b"Info"), data.find(b"Xing"))  # LAME's header: flags, then the count of frames
    assert tag > 0
    data[tag + 8 : tag + 12] = (10_944_629).to_bytes(4, "big")
    path = tmp_path / "a.mp3"
    path.write_bytes(data)
    with closing(open_decoder(path, Limits())) as decoder:
        assert 3 < decoder.length / decoder.sample_rate < 4
        assert len(decoder.read(0, decoder.length)) == decoder.length


def damaged(data: bytes, seed: int, places: int) -> bytes:
    """With some of its bytes changed, but for those of the first frames."""
    rng = np.random.default_rng(seed)
    changed = bytearray(data)
    for place in rng.integers(5_000, len(data), places):
        changed[place] = int(rng.integers(256))
    return bytes(changed)


@pytest.mark.parametrize("places", [1, 3, 100])
def test_broken_bytes_cost_their_frames(tmp_path: Path, places: int) -> None:
    sound = noise(12, RATE)
    data = encoded(tmp_path / "part.mp3", sound, channels=1)
    path = tmp_path / "a.mp3"
    for seed in range(5):
        path.write_bytes(damaged(data, seed, places))
        with closing(open_decoder(path, Limits())) as decoder:
            assert len(sound) - decoder.length <= 1_152 * places
            samples = decoder.read(0, decoder.length)
            assert len(samples) == decoder.length
            assert np.abs(samples).max() <= 8
            if places <= 3:
                seconds = len(samples) // RATE
                intact = [
                    second
                    for second in range(seconds)
                    if abs(lag(samples[second * RATE :][:RATE], sound[second * RATE :][:RATE]))
                    <= 1_152 * places
                ]
                assert len(intact) >= seconds - places


def test_bytes_that_are_missing_or_too_many(tmp_path: Path) -> None:
    sound = noise(12, RATE)
    data = encoded(tmp_path / "part.mp3", sound)
    third = len(data) // 3
    path = tmp_path / "a.mp3"
    for changed in (
        data[:third] + data[third + 700 :],
        data[:third] + b"junk" * 999 + data[third:],
        data[:third] + bytes(5_000) + data[third:],
        b"junk" * 999 + data,
        data + b"\xff\xfb\x90\x00" * 5_000,
    ):
        path.write_bytes(changed)
        with closing(open_decoder(path, Limits())) as decoder:
            assert abs(decoder.length - len(sound)) <= 4 * 1_152
            samples = decoder.read(10 * RATE, RATE)
            assert abs(lag(samples, sound[10 * RATE : 11 * RATE], 6_000)) <= 4 * 1_152


@pytest.mark.parametrize("stated", [0, 90, 5_000, 1 << 27])
def test_an_id3_tag_of_a_wrong_size(tmp_path: Path, stated: int) -> None:
    sound = noise(6, RATE)
    size = bytes(stated >> shift & 0x7F for shift in (21, 14, 7, 0))
    path = tmp_path / "a.mp3"
    frames = encoded(tmp_path / "part.mp3", sound)
    path.write_bytes(b"ID3\x03\x00\x00" + size + bytes(900) + frames[frames.find(b"\xff\xfb") :])
    with closing(open_decoder(path, Limits())) as decoder:
        assert decoder.name.startswith("libsndfile")
        assert decoder.length == len(sound)
        assert lag(decoder.read(4 * RATE, RATE), sound[4 * RATE : 5 * RATE]) == 0


def test_a_burst_is_muted() -> None:
    sound = np.full((50 * 1_152 + 10, 2), 0.5, np.float32)
    assert mp3._without_bursts(sound, 1_152) is sound
    assert not len(mp3._without_bursts(sound[:0], 1_152))
    for peak in (-20_000, np.nan, np.inf):
        burst = sound.copy()
        burst[20 * 1_152 + 7, 1] = peak
        heard = mp3._without_bursts(burst, 1_152)
        assert not heard[19 * 1_152 : 22 * 1_152].any()
        assert (np.delete(heard, slice(19 * 1_152, 22 * 1_152), axis=0) == 0.5).all()
    loud = sound * 1_000  # all of it: that is no damage
    assert mp3._without_bursts(loud, 1_152) is loud


@pytest.mark.parametrize("refused", [False, True])
def test_where_the_system_has_no_files_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    sound = noise(3, RATE)
    path = tmp_path / "a.mp3"
    encoded(path, sound)
    with closing(open_decoder(path, Limits())) as decoder:
        expected = decoder.read(RATE, RATE)
        if refused:
            refusal = OSError(errno.EPERM, os.strerror(errno.EPERM))
            monkeypatch.setattr(os, "memfd_create", Mock(side_effect=refusal), raising=False)
        else:
            monkeypatch.delattr(os, "memfd_create", raising=False)
        np.testing.assert_array_equal(decoder.read(RATE, RATE), expected)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux only")
def test_a_limit_of_the_size_of_files_takes_no_sound_away(tmp_path: Path) -> None:
    import resource

    sound = noise(3, RATE)
    path = tmp_path / "a.mp3"
    encoded(path, sound)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(open_decoder(path, Limits())) as decoder:
        expected = decoder.read(RATE, RATE)
        for most in (1_000, 0):  # a write that is cut short, and one that fails
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
            try:
                heard = decoder.read(RATE, RATE)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            np.testing.assert_array_equal(heard, expected)


def test_limits(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    encoded(path, noise(3, RATE))
    with pytest.raises(AudioError, match="sample rate"):
        open_decoder(path, Limits(sample_rate=8_000))
    with closing(open_decoder(path, Limits(decoded_samples=40_000))) as decoder, pytest.raises(AudioError):
        decoder.read(0, decoder.length)
