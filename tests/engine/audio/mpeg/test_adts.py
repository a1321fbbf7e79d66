"""ADTS streams against the sound that was encoded, and against PyAV's decode of the whole file."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import av.error
import numpy as np
import pytest
import soxr
from aac_files import adts, grouped
from audio_files import Samples, chirp, noise
from merkit.engine.audio.decoder import Budget, Decoder, Limits
from merkit.engine.audio.mpeg import adts as adts_module
from merkit.engine.audio.mpeg.adts import AdtsDecoder
from merkit.engine.audio.mpeg.adts_frames import adts_from_file
from merkit.engine.audio.open import open_decoder
from merkit.engine.errors import AudioError

ENCODER_DELAY = 1_024  # samples, which no header states; FFmpeg's own decode holds them too


def opened(path: Path, data: bytes) -> Decoder:
    path.write_bytes(data)
    return open_decoder(path, Limits())


def whole(path: Path) -> Samples:
    """By the container: the mean of the channels."""
    with av.open(str(path)) as file:
        blocks: Any = [frame.to_ndarray().mean(axis=0) for frame in file.decode(audio=0)]
    return np.concatenate(blocks)


def same(samples: Samples, expected: Samples) -> None:
    """But for the noise that an encoder states instead of samples: each decode makes it anew."""
    assert len(samples) == len(expected)
    assert np.corrcoef(samples, expected)[0, 1] > 0.98


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (22_050, 1), (96_000, 2)])
def test_a_window_sounds_as_the_whole(tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "a.aac"
    data = adts(
        np.stack([chirp(8, rate), chirp(8, rate, 3_000, 50)][:channels]),
        rate,
        "mono" if channels == 1 else "stereo",
    )
    with closing(opened(path, data)) as decoder:
        sound = whole(path)
        assert decoder.name.startswith("ffmpeg libavcodec")
        assert (decoder.sample_rate, decoder.length) == (rate, len(sound))
        for start, count in (
            (0, rate),
            (5 * rate + 7, rate),
            (1_024, 1),
            (3 * rate, 2 * rate),
            (0, len(sound)),
        ):
            np.testing.assert_allclose(decoder.read(start, count), sound[start : start + count], atol=1e-4)
        near = len(sound) - 100
        assert len(decoder.read(near, 900)) == 100
        assert not len(decoder.read(len(sound), 10))
        assert decoder.measure() == len(sound)


@pytest.mark.parametrize(
    "kinds", [((22_050, 1), (48_000, 1)), ((44_100, 2), (44_100, 1)), ((48_000, 1), (44_100, 2), (11_025, 1))]
)
def test_another_rate_or_number_of_channels(tmp_path: Path, kinds: tuple[tuple[int, int], ...]) -> None:
    sounds = [chirp(3, rate, low=60 + 300 * i) for i, (rate, _) in enumerate(kinds)]
    parts = [
        adts(np.stack([sound] * channels), rate, "mono" if channels == 1 else "stereo")
        for sound, (rate, channels) in zip(sounds, kinds, strict=True)
    ]
    with closing(opened(tmp_path / "a.aac", b"".join(parts))) as decoder:
        rate = max(rate for rate, _ in kinds)
        assert decoder.sample_rate == rate
        samples = decoder.read(0, decoder.length)
        assert len(samples) == decoder.length
        start = 0.0
        for sound, part, (own, _) in zip(sounds, parts, kinds, strict=True):
            first = round((start + ENCODER_DELAY / own) * rate)
            expected = soxr.resample(sound, own, rate)[: 2 * rate]
            similar = np.corrcoef(samples[first : first + 2 * rate], expected)[0, 1]
            assert similar > 0.95  # a chirp is unlike itself a millisecond later
            start += part.count(part[:3]) * 1_024 / own


def test_six_channels_are_mixed_by_their_names(tmp_path: Path) -> None:
    sound = np.stack([chirp(2, 48_000, 100 * (i + 1)) * (i == 2) for i in range(6)])  # the centre alone
    with closing(opened(tmp_path / "a.aac", adts(sound, 48_000, "5.1"))) as decoder:
        samples = decoder.read(ENCODER_DELAY, 48_000)
        np.testing.assert_allclose(samples.std(), sound[2][:48_000].std() * np.sqrt(0.5), rtol=0.02)


@pytest.mark.parametrize("layout", ["quad", "2.1", "6.1"])
def test_channels_that_only_the_first_frame_names(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "a.aac"
    count = {"quad": 4, "2.1": 3, "6.1": 7}[layout]
    channels = np.tile(noise(12, 48_000) / np.float32(8), (count, 1))
    path.write_bytes(adts(channels, 48_000, layout))
    with closing(open_decoder(path, Limits())) as song:
        everything = song.read(0, song.length)
        assert len(everything) == song.length > 11 * 48_000
        for start in (8 * 48_000, 3 * 48_000, 0):
            same(song.read(start, 48_000), everything[start : start + 48_000])


def test_what_stands_between_frames(tmp_path: Path) -> None:
    data = adts(noise(4, 44_100)[None], 44_100, "mono")
    with closing(opened(tmp_path / "a.aac", data)) as decoder:
        sound = decoder.read(0, decoder.length)
    middle = data.find(data[:3], len(data) // 2)
    tag = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128)
    changed = tag + data[:middle] + tag + b"junk" + data[middle:] + b"TAG" + bytes(125)
    with closing(opened(tmp_path / "a.aac", changed)) as decoder:
        same(decoder.read(0, decoder.length), sound)


def test_damage_costs_the_frames_that_it_hits(tmp_path: Path) -> None:
    data = bytearray(adts(noise(6, 44_100)[None], 44_100, "mono"))
    rng = np.random.default_rng(0)
    middle = data.find(data[:3], len(data) // 2)
    data[middle + 20 : middle + 400] = rng.bytes(380)
    with closing(opened(tmp_path / "a.aac", bytes(data))) as decoder:
        samples = decoder.read(0, decoder.length)
        assert len(samples) == decoder.length > 5.8 * 44_100
        assert np.isfinite(samples).all()
        assert samples[:44_100].std() > 0.01 < samples[-44_100:].std()


@pytest.mark.parametrize("counts", [(2,), (4,), (1, 3, 2)])
@pytest.mark.parametrize("checked", [False, True])
def test_frames_of_several_blocks(tmp_path: Path, counts: tuple[int, ...], checked: bool) -> None:
    rate = 44_100
    data = adts(np.stack([chirp(8, rate), chirp(8, rate, 3_000, 50)]), rate, "stereo")
    with closing(opened(tmp_path / "a.aac", data)) as decoder:
        expected = decoder.read(0, decoder.length)
    with closing(opened(tmp_path / "b.aac", grouped(data, counts, checked))) as decoder:
        assert (decoder.sample_rate, decoder.length) == (rate, len(expected))
        for start, count in ((5 * rate + 7, rate), (0, rate), (len(expected) - 9_000, 9_000), (2_050, 2_000)):
            same(decoder.read(start, count), expected[start : start + count])
        assert decoder.measure() == len(expected)


def test_a_wrong_number_of_blocks_counts_for_nothing(tmp_path: Path) -> None:
    data = bytearray(adts(chirp(4, 44_100)[None], 44_100, "mono"))
    with closing(opened(tmp_path / "a.aac", bytes(data))) as decoder:
        expected = decoder.read(0, decoder.length)
    place = 0
    while place < len(data):
        data[place + 6] |= 3
        place += (data[place + 3] & 3) << 11 | data[place + 4] << 3 | data[place + 5] >> 5
    with closing(opened(tmp_path / "b.aac", bytes(data))) as decoder:
        assert decoder.length == len(expected)
        same(decoder.read(0, decoder.length), expected)


def test_streams_of_other_numbers_of_blocks_joined(tmp_path: Path) -> None:
    data = adts(chirp(4, 44_100)[None], 44_100, "mono")
    joined = data + grouped(data, (2,), False)
    with closing(opened(tmp_path / "a.aac", data)) as decoder:
        length, last = decoder.length, decoder.read(88_200, 44_100)
    with closing(opened(tmp_path / "b.aac", joined)) as decoder:
        assert decoder.length == 2 * length
        same(decoder.read(length + 88_200, 44_100), last)


def test_limits(tmp_path: Path) -> None:
    path = tmp_path / "a.aac"
    path.write_bytes(adts(noise(6, 16_000)[None], 16_000, "mono"))
    with pytest.raises(AudioError, match="sample rate"):
        open_decoder(path, Limits(sample_rate=8_000))
    with closing(open_decoder(path, Limits(decoded_samples=40_000))) as decoder, pytest.raises(AudioError):
        decoder.read(0, decoder.length)


class DoublingContext:
    """A decoder of HE-AAC, which FFmpeg does not encode. Every fourth frame is broken."""

    def decode(self, packet: Any) -> list[Any]:
        number = bytes(packet)[8]
        if number % 4 == 3:
            raise av.error.InvalidDataError(1, "broken")
        frame = av.AudioFrame.from_ndarray(np.full((2, 2_048), number / 256, np.float32), "fltp", "stereo")
        frame.sample_rate = 44_100
        return [frame]


def test_a_high_band_doubles_the_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In PyAV 14 the attributes of the type itself cannot be set.
    context = SimpleNamespace(create=lambda *_: DoublingContext())
    monkeypatch.setattr(adts_module.av, "CodecContext", context)
    frame = b"\xff\xf1\x5c\x80\x02\x7f\xfc"  # 22.05 kHz, two channels, 19 bytes
    path = tmp_path / "a.aac"
    path.write_bytes(b"".join(frame + bytes([0, number]) + bytes(10) for number in range(200)))
    with closing(open_decoder(path, Limits())) as decoder:
        assert isinstance(decoder, AdtsDecoder)
        assert (decoder.sample_rate, decoder.length) == (44_100, 200 * 2_048)
        samples = decoder.read(100 * 2_048 - 5, 4 * 2_048)
        heard = [0, *[100 / 256] * 2_048, *[101 / 256] * 2_048, *[102 / 256] * 2_048]
        np.testing.assert_allclose(samples[4 : 5 + 3 * 2_048], heard)
        assert not samples[5 + 3 * 2_048 :].any()  # the broken frame is silence
        assert not len(decoder.read(103 * 2_048, 2_048))  # where nothing can be decoded there are no samples


@pytest.mark.parametrize(("begin", "end", "rate"), [(10, 200, 44_100), (0, 90, 44_100), (20, 60, 22_050)])
def test_a_high_band_in_a_part_of_the_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: int, end: int, rate: int
) -> None:
    class Context:
        def decode(self, packet: Any) -> list[Any]:
            doubles = begin <= bytes(packet)[8] < end
            sound = np.full((1, 2_048 if doubles else 1_024), 0.5 if doubles else 0.25, np.float32)
            frame = av.AudioFrame.from_ndarray(sound, "fltp", "mono")
            frame.sample_rate = 44_100 if doubles else 22_050
            return [frame]

    monkeypatch.setattr(adts_module.av, "CodecContext", SimpleNamespace(create=lambda *_: Context()))
    frame = b"\xff\xf1\x5c\x40\x02\x7f\xfc"  # 22.05 kHz, one channel, 19 bytes
    path = tmp_path / "a.aac"
    path.write_bytes(b"".join(frame + bytes([0, number]) + bytes(10) for number in range(200)))
    with closing(open_decoder(path, Limits())) as decoder:
        size = 1_024 * rate // 22_050
        assert (decoder.sample_rate, decoder.length) == (rate, 200 * size)
        expected = np.repeat([0.5 if begin <= number < end else 0.25 for number in range(200)], size)
        inner = np.ones(len(expected), np.bool_)
        for edge in (0, begin * size, end * size, 200 * size):
            inner[max(0, edge - 300) : edge + 300] = False
        everything = decoder.read(0, decoder.length)
        np.testing.assert_allclose(everything[inner], expected[inner], atol=0.001)
        for start in (7 * size + 5, 50 * size, 150 * size):
            part = decoder.read(start, 20 * size)[400:-400]
            np.testing.assert_allclose(part, everything[start:][: 20 * size][400:-400], atol=0.001)


def test_frames_that_cannot_be_decoded_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adts_module.av, "CodecContext", SimpleNamespace(create=lambda *_: DoublingContext()))
    frame = b"\xff\xf1\x5c\x80\x02\x7f\xfc"
    path = tmp_path / "a.aac"
    path.write_bytes(b"".join(frame + bytes([0, number]) + bytes(10) for number in range(200)))
    budget = Budget(Limits())
    with closing(open_decoder(path, budget)) as decoder:
        decoder.read(0, 40 * 2_048)
    assert budget.lost == 10 * 2_048


def test_parts_that_cannot_be_decoded_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.aac"
    broken = b"\xff\xf1\x50\x80\x01\x1f\xfc\x00" * 5
    data = adts(noise(2, 16_000)[None], 16_000, "mono")
    with closing(opened(path, broken + data)) as decoder:
        assert decoder.sample_rate == 16_000
    path.write_bytes(broken)
    with path.open("rb") as file:
        assert len(adts_from_file(file.fileno(), Budget(Limits()))) == 1
