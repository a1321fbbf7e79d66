"""What a child process makes of a file: its windows as log-mels or as samples, and its facts."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import tag_bytes as made
from audio_files import chirp, noise, write_audio
from gpu_on_cpu import SPEC
from merkit.engine.audio.samples import SampleDecoder
from merkit.engine.audio.window_reader import Window
from merkit.engine.errors import AudioError
from merkit.engine.labelling import file_windows, rows_on_disk
from merkit.engine.labelling.file_windows import (
    WindowOptions,
    log_mels_from_decoder,
    log_mels_from_file,
    samples_from_file,
    tags_from_file,
)
from merkit.engine.labelling.packed_samples import samples_from_packed
from merkit.engine.spec import AudioSpec
from merkit.engine.spectrogram.log_mel import log_mel_from_audio
from reading import windows_from_file

AUDIO = SPEC.audio


@pytest.fixture
def song(tmp_path: Path) -> str:
    return str(write_audio(tmp_path / "song.flac", chirp(7, 22_050), 22_050))


def test_log_mels_and_samples_are_of_the_same_windows(song: str) -> None:
    options = WindowOptions(AUDIO, "all", 0.7)
    by_log_mel, by_samples = log_mels_from_file(song, options), samples_from_file(song, options)
    windows = windows_from_file(song, AUDIO, "all", 0.7)
    packed, log_mels = np.asarray(by_samples.samples), np.asarray(by_log_mel.log_mels)
    assert (packed.dtype, log_mels.dtype) == (np.int16, np.float32)
    expected = np.stack([window.samples for window in windows])
    peaks = np.abs(expected).max(axis=1, keepdims=True)
    assert (np.abs(samples_from_packed(packed, by_samples.scales) - expected) / peaks).max() < 1 / 65_000
    assert log_mels.shape == (len(windows), 1, AUDIO.n_mels, AUDIO.frames)
    for log_mel, window in zip(log_mels, windows, strict=True):
        np.testing.assert_array_equal(log_mel[None], log_mel_from_audio(window.samples[None], AUDIO))
    for facts in (by_log_mel.facts, by_samples.facts):
        assert facts.starts_s == tuple(window.start_s for window in windows)
        assert facts.duration_s == pytest.approx(7)
        assert facts.decoder.startswith("libsndfile")
        assert set(facts.seconds) == {"decode", "resample", "mel"}
        assert min(facts.seconds.values()) >= 0
        assert facts.seconds["resample"] > 0


def test_a_decoder_stays_open(song: str) -> None:
    class Counted(SampleDecoder):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    samples, rate = soundfile.read(song, dtype="float32")
    decoder = Counted(samples, rate)
    options = WindowOptions(AUDIO)
    first, second = (log_mels_from_decoder(decoder, options) for _ in range(2))
    assert decoder.closed == 0
    np.testing.assert_array_equal(first.log_mels, second.log_mels)
    np.testing.assert_array_equal(first.log_mels, log_mels_from_file(song, options).log_mels)


@pytest.mark.parametrize("read", [log_mels_from_file, samples_from_file])
def test_samples_far_beyond_full_scale_are_refused(tmp_path: Path, read) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.full(48_000, 1e25, np.float32), 16_000, "FLOAT")
    with pytest.raises(AudioError, match=r"far beyond full scale \(a peak of 1e\+25 where 1 is full scale\)"):
        read(str(path), WindowOptions(AUDIO))


@pytest.mark.parametrize("read", [log_mels_from_file, samples_from_file])
def test_silent_windows_are_facts_only(tmp_path: Path, read) -> None:
    window = AUDIO.window_samples
    music = noise(window / 16_000, 16_000)
    path = write_audio(tmp_path / "a.flac", np.concatenate([music, 0 * music, 0 * music, music]), 16_000)
    file = read(str(path), WindowOptions(AUDIO, "all"))
    length = AUDIO.window_s
    assert file.facts.starts_s == pytest.approx((0, 3 * length))
    assert file.facts.silent_s == pytest.approx((length, 2 * length))
    arrays = file.samples if read is samples_from_file else file.log_mels
    assert len(arrays) == 2
    np.testing.assert_allclose(arrays[0], arrays[1], atol=1 if read is samples_from_file else 1e-3)


@pytest.mark.parametrize("read", [log_mels_from_file, samples_from_file])
def test_a_window_that_is_heard_is_not_silent_too(tmp_path: Path, read) -> None:
    """The only window of the grid has too little sound to be one, and there is no other sound."""
    sound = np.concatenate([noise(0.5, 16_000), np.zeros(9 * 16_000, np.float32)])
    facts = read(
        str(write_audio(tmp_path / "a.flac", sound, 16_000)), WindowOptions(AudioSpec(), "all")
    ).facts
    assert (facts.starts_s, facts.silent_s) == ((0.0,), ())


def test_tags_are_text_of_a_titles_length() -> None:
    class Tagged(SampleDecoder):
        def tags(self) -> dict[str, str]:
            return {"title": " a\0b\udcff ", "artist": "x" * 10_000, "album": "\0"}

    facts = log_mels_from_decoder(Tagged(noise(3, 16_000), 16_000), WindowOptions(AUDIO)).facts
    assert facts.tags == {"title": "a b?", "artist": "x" * 500, "album": ""}


def tagged(path: Path) -> Path:
    """A file with sound, and with tags that its library does not write or read."""
    sound = noise(3, 44_100)
    if path.suffix == ".mkv":  # of which only FFmpeg knows the tags
        plain = write_audio(path.with_name("plain.mkv"), sound, 44_100)
        with av.open(str(plain)) as source, av.open(str(path), "w") as file:
            file.metadata.update(
                {"artist": made.EXPECTED["artist"], "title": made.TITLE, "album": made.ALBUM}
            )
            stream: Any = file.add_stream_from_template(source.streams.audio[0])
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = stream
                    file.mux(packet)
        return path
    data = write_audio(path, sound, 44_100).read_bytes()
    if path.suffix in (".wav", ".aiff"):
        order = "<" if path.suffix == ".wav" else ">"
        body = data[8:] + made.chunk(b"id3 ", made.whole_id3(), order)
        data = data[:4] + struct.pack(f"{order}I", len(body)) + body
    elif path.suffix == ".flac":  # its first block, then ours
        first_end = 8 + int.from_bytes(data[5:8], "big")
        block = made.whole_comments()
        assert data[4] == 0
        data = data[:first_end] + b"\4" + len(block).to_bytes(3, "big") + block + data[first_end:]
    else:
        data = made.whole_id3(3, 1, 0x80) + data
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", ["wav", "aiff", "flac", "mp3", "aac", "mkv"])
def test_tags_and_windows_of_every_format(tmp_path: Path, suffix: str) -> None:
    path = str(tagged(tmp_path / f"song.{suffix}"))
    facts = log_mels_from_file(path, WindowOptions(AUDIO)).facts
    assert facts.tags == made.EXPECTED
    assert facts.duration_s == pytest.approx(3, abs=0.1)
    assert tags_from_file(path, WindowOptions(AUDIO)) == made.EXPECTED


def test_tags_of_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file"):
        tags_from_file(str(tmp_path / "gone.mp3"), WindowOptions(AUDIO))


def test_a_damaged_tag_is_no_error(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "song.mp3", noise(3, 44_100), 44_100)
    path.write_bytes(path.read_bytes() + b"APETAGEX" + b"\xff" * 24)
    assert log_mels_from_file(str(path), WindowOptions(AUDIO)).facts.tags == {}


def test_windows_of_a_long_file_lie_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = SampleDecoder(noise(20, 16_000), 16_000)
    options = WindowOptions(AudioSpec(), "all", 0.1)
    in_memory = log_mels_from_decoder(decoder, options)
    assert in_memory.bytes_on_disk == 0
    monkeypatch.setattr(rows_on_disk, "_IN_MEMORY", 300_000)
    on_disk = log_mels_from_decoder(decoder, options)
    assert on_disk.bytes_on_disk == np.asarray(in_memory.log_mels).nbytes > 300_000
    assert on_disk.facts.starts_s == in_memory.facts.starts_s
    np.testing.assert_array_equal(np.asarray(on_disk.log_mels), in_memory.log_mels)


def test_silent_windows_are_told_apart_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0

    class Start(float):
        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return float.__eq__(self, other)  # pyright: ignore[reportArgumentType]

        __hash__ = float.__hash__

    samples = np.zeros(AUDIO.window_samples, np.float32)
    cut = [Window(samples, Start(n), False, n % 2 == 1) for n in range(200)]
    monkeypatch.setattr(file_windows, "windows_from_decoder", lambda *_: iter(cut))
    facts = log_mels_from_decoder(SampleDecoder(samples, 16_000), WindowOptions(AUDIO)).facts
    assert (len(facts.starts_s), len(facts.silent_s)) == (100, 100)
    assert compared < 1_000
