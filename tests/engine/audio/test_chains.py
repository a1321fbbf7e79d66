"""Ogg files joined by ``cat``: all of their sound, in order."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import noise, write_audio
from ffmpeg_files import place_of, with_skeleton, write
from merkit.engine.audio.decoder import Limits
from merkit.engine.audio.joined import JoinedDecoder
from merkit.engine.audio.open import open_decoder
from merkit.engine.errors import AudioError


def stereo(seconds: float, rate: int, seed: int) -> np.ndarray:
    return np.stack([noise(seconds, rate, seed), noise(seconds, rate, seed + 100)], axis=1)


@pytest.mark.parametrize("suffix", [".ogg", ".opus"])
@pytest.mark.parametrize("count", [2, 5])
def test_all_links_are_heard(tmp_path: Path, suffix: str, count: int) -> None:
    rate = 48_000
    links = [write_audio(tmp_path / f"{i}{suffix}", stereo(1 + i / 3, rate, i), rate) for i in range(count)]
    chain = tmp_path / f"chain{suffix}"
    chain.write_bytes(b"".join(link.read_bytes() for link in links))
    expected = np.concatenate([soundfile.read(link, dtype="float32")[0].mean(axis=1) for link in links])
    with closing(open_decoder(chain, Limits())) as decoder:
        assert abs(decoder.length - len(expected)) <= 960 * count  # Opus: libsndfile counts the end's padding
        if decoder.length == len(expected):
            np.testing.assert_allclose(decoder.read(0, decoder.length), expected, atol=1e-5)
            for start in (rate + 77, 9, rate - 1_000):
                part = expected[start : start + 2_000]
                np.testing.assert_allclose(decoder.read(start, 2_000), part, atol=1e-5)


def test_links_of_other_rates_and_channels(tmp_path: Path) -> None:
    one = write_audio(tmp_path / "1.ogg", noise(2, 22_050, 1), 22_050)
    two = write_audio(tmp_path / "2.ogg", stereo(3, 44_100, 2), 44_100)
    chain = tmp_path / "chain.ogg"
    chain.write_bytes(one.read_bytes() + b"junk" + two.read_bytes())
    with closing(open_decoder(chain, Limits())) as decoder:
        assert (decoder.sample_rate, decoder.length) == (44_100, 5 * 44_100)
        expected = soundfile.read(two, dtype="float32")[0].mean(axis=1)
        np.testing.assert_allclose(decoder.read(2 * 44_100, 44_100), expected[:44_100], atol=1e-5)
        first = soundfile.read(one, dtype="float32")[0]
        window = decoder.read(44_100, 20_000)[::2]
        assert np.mean((window - first[22_050:32_050]) ** 2) < 0.05 * np.mean(window**2)


def test_hundreds_of_links_cost_one_descriptor(tmp_path: Path) -> None:
    link = write_audio(tmp_path / "a.ogg", noise(0.1, 8_000), 8_000).read_bytes()
    chain = tmp_path / "chain.ogg"
    chain.write_bytes(link * 300)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    decoder = open_decoder(chain, Limits())
    assert isinstance(decoder, JoinedDecoder)
    assert decoder.length == 300 * 800
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 4
    assert len(decoder.read(150 * 800 - 100, 200)) == 200
    decoder.close()
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before


def test_a_chain_takes_no_longer_than_the_limits_allow(tmp_path: Path) -> None:
    chain = tmp_path / "chain.ogg"
    chain.write_bytes(write_audio(tmp_path / "a.ogg", noise(0.1, 8_000), 8_000).read_bytes() * 300)
    with pytest.raises(AudioError, match="took longer"):
        open_decoder(chain, Limits(seconds=0))
    with (
        pytest.raises(AudioError, match="decodes to more than"),
        closing(open_decoder(chain, Limits(decoded_samples=10_000))) as decoder,
    ):
        decoder.read(0, decoder.length)


def test_what_follows_that_is_no_ogg(tmp_path: Path) -> None:
    link = write_audio(tmp_path / "a.ogg", noise(2, 8_000), 8_000).read_bytes()
    chain = tmp_path / "chain.ogg"
    for rest in (b"OggS", b"OggS\0\2" + bytes(21), link[: len(link) // 2], bytes(100_000), b"OggS" * 1_000):
        chain.write_bytes(link + rest)
        with closing(open_decoder(chain, Limits())) as decoder:
            assert decoder.length >= 2 * 8_000
            assert len(decoder.read(0, 16_000)) == 16_000


@pytest.mark.parametrize("order", ["fv", "vf", "ff", "fo", "vfv", "ss", "sv", "vs", "tv", "vt", "fts"])
def test_links_of_all_kinds(tmp_path: Path, order: str) -> None:
    """FLAC, Vorbis and Opus; Vorbis beside a skeleton, and Opus beside a track that is silent."""
    rate = 48_000
    samples = [noise(2 + i, rate, i) for i in range(len(order))]
    links = []
    for i, (kind, sound) in enumerate(zip(order, samples, strict=True)):
        path = tmp_path / f"{i}{'.opus' if kind == 'o' else '.ogg'}"
        if kind == "f":
            write(path, "ogg", "flac", sound, rate=rate)
        elif kind == "t":
            write(path, "ogg", "libopus", np.zeros_like(sound), sound, rate=rate)
        else:
            write_audio(path, sound, rate)
        links.append(with_skeleton(path.read_bytes()) if kind == "s" else path.read_bytes())
    chain, whole = tmp_path / "chain.ogg", np.concatenate(samples)
    chain.write_bytes(b"".join(links))
    with closing(open_decoder(chain, Limits())) as decoder:
        assert decoder.length == pytest.approx(len(whole), abs=2_000)
        start = 0
        for sound in samples:
            assert place_of(decoder.read(start + 9_000, rate), whole) == pytest.approx(start + 9_000, abs=500)
            start += len(sound)


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9])
def test_a_link_that_was_cut_off_hides_no_other(tmp_path: Path, kept: float) -> None:
    rate = 44_100
    first, second = noise(20, rate, 1), noise(3, rate, 2)
    cut = write_audio(tmp_path / "1.ogg", first, rate).read_bytes()
    cut = cut[: round(kept * len(cut))]
    (tmp_path / "cut.ogg").write_bytes(cut)
    last = write_audio(tmp_path / "2.ogg", second, rate).read_bytes()
    (tmp_path / "chain.ogg").write_bytes(cut + last)
    with closing(open_decoder(tmp_path / "cut.ogg", Limits())) as alone:
        length = alone.length
    with closing(open_decoder(tmp_path / "chain.ogg", Limits())) as decoder:
        assert decoder.length == length + len(second)
        assert place_of(decoder.read(rate, rate), first) == rate
        assert place_of(decoder.read(length + rate, rate), second) == rate
