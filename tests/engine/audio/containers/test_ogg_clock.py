"""Ogg files whose pages count otherwise than their packets are heard to their end, and at their places."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from audio_files import chirp, noise, write_audio
from ffmpeg_files import copied, place_of
from merkit.engine.audio.containers.ogg_clock import counts_wrongly, opus_samples
from merkit.engine.audio.containers.ogg_pages import LONGEST_PAGE
from merkit.engine.audio.containers.ogg_stream import OGG_HEADS, OggStream
from merkit.engine.audio.decoder import Limits
from merkit.engine.audio.libsndfile import SoundFileDecoder
from merkit.engine.audio.open import open_decoder
from ogg_files import granule_of, numbered, pages_of, with_empty_page, with_granules

RATES = {"opus": 48_000, "vorbis": 44_100}
SECONDS = 12

CLOCKS: dict[str, Callable[[int, int], int]] = {
    "stuck": lambda _, granule: min(granule, 96_000),
    "zero": lambda _, granule: 0,
    "half": lambda _, granule: granule // 2,
    "third": lambda _, granule: granule // 3,
    "times three": lambda _, granule: granule * 3,
    "of 44.1 kHz": lambda _, granule: granule * 441 // 480,
    "of packets": lambda _, granule: granule // 960,
    "restarts": lambda _, granule: granule % 288_000,
}


def song(tmp_path: Path, codec: str, seconds: float = SECONDS) -> bytes:
    """Of blocks of both sizes."""
    rate = RATES[codec]
    samples = noise(seconds, rate) * np.where(np.arange(round(seconds * rate)) * 4 // rate % 2, 0.5, 0.01)
    path = tmp_path / ("a.opus" if codec == "opus" else "a.ogg")
    return write_audio(path, samples.astype(np.float32), rate).read_bytes()


def is_wrong(tmp_path: Path, data: bytes, codec: str) -> bool:
    path = tmp_path / "b.ogg"
    path.write_bytes(data)
    with path.open("rb") as file:
        descriptor = file.fileno()
        return counts_wrongly(descriptor, OggStream(descriptor, OGG_HEADS[codec]), RATES[codec])


def assert_heard(tmp_path: Path, data: bytes, good: bytes) -> None:
    """All of it, and each second where it stands."""
    whole, wrong = tmp_path / "whole.ogg", tmp_path / "wrong.ogg"
    whole.write_bytes(good)
    wrong.write_bytes(data)
    with closing(open_decoder(whole, Limits())) as before, closing(open_decoder(wrong, Limits())) as decoder:
        rate = before.sample_rate
        assert decoder.sample_rate == rate
        # Opus whose first page counts too little libsndfile does not open, and FFmpeg trims its last page.
        lost_s = 0.1 if isinstance(decoder, SoundFileDecoder) else 0.9
        assert abs(decoder.length - before.length) <= lost_s * rate
        expected = before.read(0, before.length)
        for start in (7 * rate + 11, rate, 10 * rate):
            part = decoder.read(start, rate)
            assert len(part) == rate
            assert place_of(part, expected) == start
        assert decoder.measure() == decoder.length


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("codec", RATES)
def test_a_wrong_clock_hides_no_sound(tmp_path: Path, codec: str, clock: str) -> None:
    good = song(tmp_path, codec)
    data = with_granules(good, CLOCKS[clock])
    assert is_wrong(tmp_path, data, codec)
    assert_heard(tmp_path, data, good)


@pytest.mark.parametrize("codec", RATES)
def test_a_slow_clock_on_pages_as_long_as_they_may_be(tmp_path: Path, codec: str) -> None:
    """As FFmpeg writes them where frames have no times: two of them end the file, and tell nothing."""
    path = tmp_path / "loud.ogg"
    path.write_bytes(song(tmp_path, codec, 26))
    good = copied(path, tmp_path / "long.ogg", "ogg", options={"page_duration": "60000000"}).read_bytes()
    pages = pages_of(good)
    assert sum(map(len, pages[-3:])) > LONGEST_PAGE
    data = with_granules(good, CLOCKS["half"])
    assert is_wrong(tmp_path, data, codec)
    assert not is_wrong(tmp_path, good, codec)
    assert_heard(tmp_path, data, good)


@pytest.mark.parametrize("codec", RATES)
def test_an_empty_last_page_at_zero_hides_no_sound(tmp_path: Path, codec: str) -> None:
    good = song(tmp_path, codec)
    data = with_empty_page(good, 0)
    assert is_wrong(tmp_path, data, codec)
    assert_heard(tmp_path, data, good)


def test_many_channels_with_sound_before_their_beginning_have_one_clock(tmp_path: Path) -> None:
    """As ``ffmpeg -ss 20 -c copy`` writes it. libvorbis counts from there, and after a seek from 0."""
    rate, sound = 44_100, noise(12, 44_100)
    good = write_audio(tmp_path / "a.ogg", np.repeat(sound[:, None], 3, axis=1), rate).read_bytes()
    first = next(granule for page in pages_of(good) if (granule := granule_of(page)) > 0)
    data = with_granules(good, lambda _, granule: granule - first + 500)
    assert is_wrong(tmp_path, data, "vorbis")
    assert not is_wrong(tmp_path, good, "vorbis")
    with closing(open_decoder(tmp_path / "b.ogg", Limits())) as whole:
        assert not whole.name.startswith("ffmpeg")
    (tmp_path / "b.ogg").write_bytes(data)
    with closing(open_decoder(tmp_path / "b.ogg", Limits())) as decoder:
        for start in (7 * rate, 0, rate, 9 * rate + 5):
            assert place_of(decoder.read(start, rate), sound) == start


@pytest.mark.parametrize("codec", RATES)
def test_good_clocks_are_left_alone(tmp_path: Path, codec: str) -> None:
    """Also one that begins elsewhere, has a gap, is rounded to milliseconds, or is not on every page."""
    good = song(tmp_path, codec)
    pages, rate = pages_of(good), RATES[codec]
    end = max(int.from_bytes(page[6:14], "little") for page in pages)
    for data in (
        good,
        with_granules(good, lambda _, granule: granule + 5 * rate),
        with_granules(good, lambda number, granule: granule if number % 3 or number > 10 else -1),
        with_granules(good, lambda _, granule: granule * 1_000 // rate * rate // 1_000),
        with_empty_page(good, end),
        numbered([*pages[:6], *pages[8:]]),
        numbered([*pages[:3], *pages[6:]]),
        numbered(pages[:3]),
        good[: len(good) // 2] + good[len(good) // 2 + 300 :],
    ):
        assert not is_wrong(tmp_path, data, codec)


@pytest.mark.parametrize("codec", RATES)
def test_little_is_read_of_a_good_file(tmp_path: Path, codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rate = RATES[codec]
    path = write_audio(tmp_path / ("a.opus" if codec == "opus" else "a.ogg"), chirp(120, rate), rate)
    sizes, pread = [], os.pread
    with path.open("rb") as file:
        descriptor = file.fileno()
        stream = OggStream(descriptor, OGG_HEADS[codec])
        monkeypatch.setattr(os, "pread", lambda *place: sizes.append(place) or pread(*place))
        assert not counts_wrongly(descriptor, stream, rate)
    assert len(sizes) < 60


def test_the_length_of_a_packet_of_opus() -> None:
    assert opus_samples(bytes((0,))) == 480  # SILK, 10 ms
    assert opus_samples(bytes((31 << 3,))) == 960  # CELT, 20 ms
    assert opus_samples(bytes((28 << 3 | 1,))) == 240  # two of 2.5 ms
    assert opus_samples(bytes((13 << 3 | 3, 3))) == 2_880  # three of both, 20 ms
