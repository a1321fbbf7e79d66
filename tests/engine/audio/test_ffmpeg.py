"""Files that libsndfile cannot open."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from audio_files import noise, write_audio
from merkit.engine.spec import AudioSpec
from reading import refusal, windows_from_file

SPEC = AudioSpec()


def test_playlists_and_concat_scripts_open_nothing(tmp_path: Path) -> None:
    write_audio(tmp_path / "secret.wav", noise(12, 16_000), 16_000)
    (tmp_path / "song.mp3").write_text("ffconcat version 1.0\nfile secret.wav\n")
    (tmp_path / "song.m4a").write_text("#EXTM3U\n#EXTINF:10,\nsecret.wav\n#EXT-X-ENDLIST\n")
    for name in ("song.mp3", "song.m4a"):
        assert "a playlist" in refusal(tmp_path / name, SPEC)


def test_video_without_sound(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "mute.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert refusal(tmp_path / "mute.mp4", SPEC) == "holds no audio stream"


@pytest.mark.parametrize("channels", [1, 2])
def test_samples_of_64_bits(tmp_path: Path, channels: int) -> None:
    samples = noise(11, 16_000)
    wide = (samples[None].repeat(channels, 0).astype(np.float64) * 2.0**62).astype("<i8").T.tobytes()
    block, rate = 8 * channels, 16_000
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * block, block, 64)
    body = b"WAVE" + head + struct.pack("<4sI", b"data", len(wide)) + wide
    song = tmp_path / "a.wav"
    song.write_bytes(struct.pack("<4sI", b"RIFF", len(body)) + body)
    (window, *_) = windows_from_file(song, SPEC, 1)
    start = round(window.start_s * rate)
    np.testing.assert_allclose(window.samples, samples[start : start + len(window.samples)] / 2, atol=1e-6)
