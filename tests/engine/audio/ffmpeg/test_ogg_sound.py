"""Opus and Vorbis of Ogg files by FFmpeg's codecs, beside libsndfile from their beginning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from audio_files import Samples, noise, write_audio
from ffmpeg_files import ogg_page, place_of
from merkit.engine.audio.channels import mono_from_two
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.audio.ffmpeg.ogg_sound import OggSound, ogg_sound_from_file
from merkit.engine.audio.open import open_decoder
from merkit.engine.errors import AudioError
from ogg_files import granule_of, numbered, pages_of, with_granules

RATES = {"opus": 48_000, "vorbis": 44_100}
SUFFIXES = {"opus": ".opus", "vorbis": ".ogg"}


@contextmanager
def opened(path: Path, limits: Limits | None = None) -> Iterator[OggSound]:
    codec = soundfile.info(str(path)).subtype.lower()
    with path.open("rb") as file:
        sound = ogg_sound_from_file(file.fileno(), codec, Budget(limits or Limits()))
        assert sound
        yield sound


def song(codec: str, channels: int, seconds: float = 9) -> Samples:
    """Loud and soft in turns, so that blocks change their size."""
    rate = RATES[codec]
    sides = np.stack([noise(seconds, rate, seed) for seed in range(channels)], axis=1)
    return sides * np.where(np.arange(len(sides)) * 4 // rate % 2, 1, 0.02).astype(np.float32)[:, None]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("codec", RATES)
def test_each_sample_is_libsndfiles(tmp_path: Path, codec: str, channels: int) -> None:
    rate = RATES[codec]
    path = write_audio(tmp_path / f"a{SUFFIXES[codec]}", song(codec, channels), rate)
    whole = soundfile.read(path, dtype="float32", always_2d=True)[0]
    with opened(path) as sound:
        assert (sound.length, sound.sample_rate) == (len(whole), rate)
        for start in (0, 1, 700, rate, 8 * rate - 5, 3 * rate + 17, 2 * rate, len(whole) - rate // 2):
            block = sound.read(start, rate)
            assert block is not None
            expected = whole[start : start + rate]
            assert block.shape == expected.shape
            # Rounding decides now and then what Opus does in a band of a frame, and it forgets after a seek.
            error = np.sqrt(np.mean((block - expected) ** 2))
            assert error <= (0.01 if codec == "opus" else 1e-5) * np.sqrt(np.mean(expected**2))
            assert np.median(np.abs(block - expected)) < 1e-4
        rest = sound.read(len(whole), 10)
        assert rest is not None
        assert rest.shape == (0, channels)


@pytest.mark.parametrize(
    "options", [{"application": "voip", "b": "12k"}, {"frame_duration": "2.5"}, {"frame_duration": "60"}]
)
def test_opus_of_every_kind(tmp_path: Path, options: dict[str, str]) -> None:
    """SILK, which FFmpeg's own decoder hears otherwise, and frames of other lengths, which are joined."""
    rate, samples, path = 48_000, noise(6, 48_000), tmp_path / "a.opus"
    with av.open(str(path), "w", format="ogg") as file:
        stream = file.add_stream("libopus", rate=rate, layout="mono", options=options)
        frame = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        resampler = av.AudioResampler("flt", "mono", rate, frame_size=stream.codec_context.frame_size or 960)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            file.mux(stream.encode(part))
    whole: Any = soundfile.read(path, dtype="float32")[0]
    with opened(path) as sound:
        for start in (0, 3 * rate + 11):
            block = sound.read(start, rate)
            assert block is not None
            part = block[:, 0]
            assert place_of(part, whole) == start
            assert np.mean((part - whole[start : start + rate]) ** 2) < 1e-3 * np.mean(part**2)


@pytest.mark.parametrize("codec", RATES)
def test_a_damaged_file_is_read_as_before(tmp_path: Path, codec: str) -> None:
    path = write_audio(tmp_path / f"a{SUFFIXES[codec]}", song(codec, 1, 30), RATES[codec])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    rate = RATES[codec]
    with opened(path) as sound:
        assert sound.read(0, rate) is not None
        assert sound.read(14 * rate, 2 * rate) is None
    with closing(open_decoder(path, Limits())) as decoder:
        assert len(decoder.read(0, rate)) == rate
        assert decoder.name.startswith("ffmpeg")
        decoder.read(14 * rate, 2 * rate)
        assert decoder.name.startswith("libsndfile")
        np.testing.assert_allclose(
            decoder.read(0, rate), soundfile.read(path, rate, dtype="float32")[0], atol=1e-4
        )


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("codec", RATES)
def test_a_gap_is_silence(tmp_path: Path, codec: str, channels: int) -> None:
    """Where a recorder paused its pages are numbered on (RFC 7845, 4.1)."""
    rate, sides = RATES[codec], np.stack([noise(40, RATES[codec], seed) for seed in range(channels)], axis=1)
    good = write_audio(tmp_path / f"a{SUFFIXES[codec]}", sides, rate)
    whole = soundfile.read(good, dtype="float32", always_2d=True)[0]
    pages = pages_of(good.read_bytes())
    before = next(i for i, page in enumerate(pages) if granule_of(page) > 12 * rate)
    after = next(i for i, page in enumerate(pages) if granule_of(page) > 24 * rate)
    path = tmp_path / f"b{SUFFIXES[codec]}"
    path.write_bytes(numbered([*pages[: before + 1], *pages[after:]]))
    gap, end = granule_of(pages[before]) + rate // 2, granule_of(pages[after - 1]) - rate // 2
    with opened(path) as sound:
        assert sound.length == len(whole)
        for start in (10 * rate, 11 * rate + 5, 20 * rate, 23 * rate, 24 * rate, 30 * rate, 35 * rate + 3):
            block = sound.read(start, 4 * rate)
            assert block is not None
            assert block.shape == (4 * rate, channels)
            places = np.arange(start, start + 4 * rate)
            is_silent, is_sound = (
                (gap < places) & (places < end),
                (places < gap - rate) | (places > end + rate),
            )
            assert not block[is_silent].any()
            error = (block - whole[start : start + 4 * rate])[is_sound]
            assert is_silent.any() or is_sound.any()
            assert np.sum(error**2) <= 1e-4 * np.sum(whole[start : start + 4 * rate] ** 2)
    with closing(open_decoder(path, Limits())) as decoder:
        decoder.read(23 * rate, 4 * rate)
        assert decoder.name.startswith("ffmpeg")


@pytest.mark.parametrize("channels", [1, 2])
def test_what_a_cut_left_before_the_beginning_is_left_out(tmp_path: Path, channels: int) -> None:
    """As ``ffmpeg -ss 20 -c copy`` writes it: the first page has more samples than it states."""
    rate = RATES["vorbis"]
    good = write_audio(tmp_path / "a.ogg", song("vorbis", channels), rate)
    whole = soundfile.read(good, dtype="float32", always_2d=True)[0]
    first = next(granule for page in pages_of(good.read_bytes()) if (granule := granule_of(page)) > 0)
    for cut in (100, first - 500):
        path = tmp_path / "b.ogg"
        path.write_bytes(with_granules(good.read_bytes(), lambda _, granule, cut=cut: granule - cut))
        with opened(path) as sound:
            assert sound.length == len(whole) - cut
            for start in (0, 300, 700, 2_000, first - cut, rate, 6 * rate):
                block = sound.read(start, rate)
                assert block is not None
                np.testing.assert_allclose(block, whole[cut + start :][:rate], atol=1e-4)
        with closing(open_decoder(path, Limits())) as decoder:
            places = [
                place_of(decoder.read(start, rate), whole.mean(axis=1)) for start in (0, rate, 5 * rate, 0)
            ]
            assert places == [cut, cut + rate, cut + 5 * rate, cut]
            assert decoder.name.startswith("ffmpeg")


def test_what_is_decoded_is_counted(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.ogg", song("vorbis", 2), 44_100)
    with (
        opened(path, Limits(decoded_samples=2 * 44_100)) as sound,
        pytest.raises(AudioError, match="more than"),
    ):
        sound.read(0, 5 * 44_100)


def test_two_channels_become_one_as_everywhere(tmp_path: Path) -> None:
    sides = song("vorbis", 2)
    path = write_audio(tmp_path / "a.ogg", sides, 44_100)
    both = np.asarray(soundfile.read(path, dtype="float32")[0][:44_100], np.float32)
    expected = mono_from_two(both)
    with closing(open_decoder(path, Limits())) as decoder:
        np.testing.assert_allclose(decoder.read(0, 44_100), expected, atol=1e-5)


def test_a_stream_that_was_cut_off_at_its_beginning_is_libsndfiles(tmp_path: Path) -> None:
    """Its pages count from somewhere else than its samples."""
    path = write_audio(tmp_path / "a.opus", song("opus", 1), 48_000)
    data = path.read_bytes()
    starts = [i for i in range(len(data)) if data.startswith(b"OggS\0", i)]
    path.write_bytes(data[: starts[2]] + data[starts[4] :])
    with closing(open_decoder(path, Limits())) as decoder:
        decoder.read(0, 1_000)
        assert decoder.name.startswith("libsndfile")


@pytest.mark.parametrize("stated", [0, 8_000, 12_000, 16_000, 24_000, 44_100])
def test_opus_has_one_rate_whatever_was_encoded(tmp_path: Path, stated: int) -> None:
    data = write_audio(tmp_path / "a.opus", song("opus", 2, 3), 48_000).read_bytes()
    expected = mono_from_two(np.asarray(soundfile.read(tmp_path / "a.opus", dtype="float32")[0], np.float32))
    end = 28 + data[27]
    head = data[28:40] + stated.to_bytes(4, "little") + data[44:end]
    noted = ogg_page(int.from_bytes(data[14:18], "little"), 0, 2, head) + data[end:]
    other = write_audio(tmp_path / "b.opus", song("opus", 1, 1), 48_000).read_bytes()
    for whole, is_plain in ((noted, True), (noted + other, False)):
        (tmp_path / "c.opus").write_bytes(whole)
        with closing(open_decoder(tmp_path / "c.opus", Limits())) as decoder:
            assert decoder.sample_rate == 48_000
            np.testing.assert_allclose(
                decoder.read(0, 96_000), expected[:96_000], atol=0.01
            )  # rounding decides now and then
            assert decoder.name.startswith("ffmpeg" if is_plain else "libsndfile")
