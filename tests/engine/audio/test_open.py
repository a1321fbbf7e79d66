"""Which files are opened, and why the others are refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from audio_files import SUFFIXES, noise, write_audio
from merkit.engine.errors import AudioError
from merkit.engine.spec import AudioSpec
from reading import refusal, windows_from_file

SPEC = AudioSpec()


def test_not_audio(tmp_path: Path) -> None:
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "text.mp3").write_text("not a song\n" * 500)
    (tmp_path / "bytes.mp3").write_bytes(np.random.default_rng(0).bytes(50_000))
    (tmp_path / "folder.mp3").mkdir()
    os.mkfifo(tmp_path / "pipe.mp3")
    assert refusal(tmp_path / "empty.mp3", SPEC) == "the file is empty"
    assert refusal(tmp_path / "missing.mp3", SPEC) == "no such file"
    assert refusal(tmp_path / "folder.mp3", SPEC) == "not a regular file"
    assert refusal(tmp_path / "pipe.mp3", SPEC) == "not a regular file"
    assert "not an audio file" in refusal(tmp_path / "text.mp3", SPEC)
    refusal(tmp_path / "bytes.mp3", SPEC)
    refusal(Path("a\0b.mp3"), SPEC)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_file_gives_what_it_holds_or_a_reason(tmp_path: Path, suffix: str) -> None:
    rate = 48_000 if suffix in (".opus", ".webm") else 44_100
    whole = write_audio(tmp_path / f"whole{suffix}", noise(60, rate), rate).read_bytes()
    half = tmp_path / f"half{suffix}"
    half.write_bytes(whole[: len(whole) // 2])
    for windows in (3, "all"):
        try:
            read = windows_from_file(half, SPEC, windows)
        except AudioError:
            assert suffix in (".m4a", ".mp4")  # their index stands at the end
            continue
        assert 15 <= read[-1].start_s + 10 <= 31
        assert all(np.abs(window.samples).max() > 0.01 for window in read)
