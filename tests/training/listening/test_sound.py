"""What a browser is given of a file: its own bytes, or a WAV; never what is no audio."""

from __future__ import annotations

import io
import os
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from audio_files import chirp, write_audio
from merkit.engine.errors import AudioError
from merkit.training.listening import sound
from merkit.training.listening.sound import NotItsTurnError, Sounds
from pool_here import pool_here


def _bytes(sounds: Sounds, number: int, decoded: bool = False) -> tuple[str, bytes]:
    sound = sounds.open(number, decoded)
    try:
        return sound.kind, os.pread(sound.descriptor, sound.size, 0)
    finally:
        os.close(sound.descriptor)


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".wav", "audio/wav"), (".mp3", "audio/mpeg"), (".flac", "audio/flac"), (".ogg", "audio/ogg"),
     (".opus", "audio/ogg"), (".m4a", "audio/mp4")],
)  # fmt: skip
def test_what_browsers_know_is_sent_as_it_is(tmp_path: Path, suffix: str, kind: str):
    path = write_audio(tmp_path / f"a{suffix}", chirp(0.5, 48_000), 48_000)
    with Sounds([str(path)]) as sounds:
        assert _bytes(sounds, 0) == (kind, path.read_bytes())


def test_other_formats_and_what_a_browser_fails_at_become_a_wav(tmp_path: Path):
    samples = chirp(0.5, 22_050)
    paths = [write_audio(tmp_path / name, samples, 22_050) for name in ("a.aiff", "b.flac")]
    with Sounds([str(path) for path in paths]) as sounds:
        for number, decoded in ((0, False), (1, True), (0, False)):
            kind, content = _bytes(sounds, number, decoded)
            heard, rate = soundfile.read(io.BytesIO(content), dtype="float32")
            assert (kind, rate) == ("audio/wav", 22_050)
            assert np.abs(heard - samples).max() < 1e-3


@pytest.mark.parametrize("room", [0, 20, 50_000])
def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int):
    path = write_audio(tmp_path / "a.aiff", chirp(3.0, 22_050), 22_050)
    monkeypatch.setattr(sound, "WorkerPool", pool_here())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Sounds([str(path)]) as sounds:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            with pytest.raises(AudioError, match=r"cannot be written to .*listen-.*: is the disk full"):
                sounds.open(0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert _bytes(sounds, 0)[0] == "audio/wav"


def test_what_cannot_be_decoded_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.wma").write_bytes(b"nonsense" * 1_000)
    tries: list[Any] = []

    def write_wav(job: Any, _: None) -> None:
        tries.append(job)
        raise AudioError("not an audio file")

    monkeypatch.setattr(sound, "WorkerPool", pool_here())
    monkeypatch.setattr(sound, "_write_wav", write_wav)
    with Sounds([str(tmp_path / "a.wma")]) as sounds:
        for decoded in (False, True, True):
            with pytest.raises(AudioError, match="not an audio file"):
                sounds.open(0, decoded)
    assert len(tries) == 1


def test_what_took_too_long_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_audio(tmp_path / "a.aiff", chirp(0.1, 22_050), 22_050)
    real = sound._write_wav

    def slow(*_: Any) -> None:
        late = time.monotonic() + 10_000
        monkeypatch.setattr(time, "monotonic", lambda: late)
        raise AudioError("decoding took longer than 300 s (--timeout)")

    monkeypatch.setattr(sound, "WorkerPool", pool_here())
    monkeypatch.setattr(sound, "_write_wav", lambda *job: (slow if not tries else real)(*job))
    tries: list[int] = []
    with Sounds([str(path)]) as sounds:
        with pytest.raises(AudioError, match="took longer"):
            sounds.open(0)
        monkeypatch.undo()
        tries.append(1)
        assert _bytes(sounds, 0)[0] == "audio/wav"


def test_what_was_skipped_before_its_turn_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    names = ("a.aiff", "b.aiff", "c.wav")  # of which the last one is sent as it is
    paths = [write_audio(tmp_path / name, chirp(0.1, 22_050), 22_050) for name in names]
    go, real = threading.Event(), sound._write_wav
    jobs: list[str] = []

    def write_wav(job: Any, options: None) -> None:
        jobs.append(job[0])
        go.wait(60)
        real(job, options)

    monkeypatch.setattr(sound, "WorkerPool", pool_here())
    monkeypatch.setattr(sound, "_write_wav", write_wav)
    with Sounds([str(path) for path in paths]) as sounds, ThreadPoolExecutor(3) as threads:
        asked = []
        for number in range(3):  # one after the other, while the first is decoded
            asked.append(threads.submit(sounds.open, number))
            while sounds._asked != number or not jobs:
                time.sleep(0.01)
        go.set()
        with pytest.raises(NotItsTurnError, match="another song"):
            asked[1].result()
        for each in (asked[0], asked[2]):
            os.close(each.result().descriptor)
    assert jobs == [str(paths[0])]


def test_what_is_no_audio_never_leaves(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0:\n" * 100)
    os.symlink(secret, tmp_path / "link.mp3")
    os.symlink("/dev/zero", tmp_path / "device.mp3")
    os.mkfifo(tmp_path / "pipe.mp3")
    (tmp_path / "list.mp3").write_text(f"ffconcat version 1.0\nfile {secret}\n")
    names = ("secret", "link.mp3", "device.mp3", "pipe.mp3", "list.mp3", "none.mp3")
    with Sounds([str(tmp_path / name) for name in names]) as sounds:
        for number in range(len(names)):
            for decoded in (False, True):
                with pytest.raises(AudioError):
                    sounds.open(number, decoded)
