"""Labelling by way of DALI and batches that cross files, on DALI's CPU backend and ONNX Runtime."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from audio_files import noise, write_audio
from gpu_on_cpu import SPEC, assert_close, by_pipeline, by_reference
from merkit.engine.artifact import Artifact
from merkit.engine.errors import DeviceMemoryError
from merkit.engine.labelling import gpu_pipeline, local
from merkit.engine.labelling.file_windows import FileFacts, FileSamples, WindowOptions, samples_from_file
from merkit.engine.labelling.gpu_pipeline import GpuPipeline
from merkit.engine.runtimes import open_runtime
from merkit.engine.spectrogram.dali import DaliLogMel
from reading import OnCpu, labels_of

pytest.importorskip("nvidia.dali", reason="DALI runs on Linux only")


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_rows_equal_the_cpus_whatever_their_company(
    mixed_songs: list[str], artifact: Artifact, batch: int
) -> None:
    assert_close(by_pipeline(mixed_songs * 2, artifact, batch), by_reference(mixed_songs * 2, artifact))


def test_many_windows_and_stopping(mixed_songs: list[str], artifact: Artifact) -> None:
    assert_close(
        by_pipeline(mixed_songs[:2], artifact, 4, windows="all", hop_s=0.2),
        by_reference(mixed_songs[:2], artifact, windows="all", hop_s=0.2),
    )
    stop = threading.Event()
    stop.set()
    assert by_pipeline(mixed_songs, artifact, stop=stop) == []


def test_a_file_that_waits_for_a_full_batch_is_not_waited_for(
    mixed_songs: list[str], artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One good file, then only bad ones: its windows never fill a batch, and all rows wait for its row."""
    monkeypatch.setattr(local, "_AHEAD", 6)
    bad = [path for path in mixed_songs if "bad" in path]
    rows = by_pipeline([mixed_songs[0], *bad * 40, mixed_songs[1]], artifact, 32)
    assert [row.error is None for row in rows] == [True, *[False] * 40, True]


def test_dali_out_of_memory_halves_the_batch(
    mixed_songs: list[str], artifact: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it fails when it begins or when it ends, no window is lost."""

    class Small(DaliLogMel):
        def put(self, audio: np.ndarray) -> None:
            if len(audio) > 4:
                raise DeviceMemoryError("no room to begin")
            super().put(audio)

        def take(self, stream: int | None = None) -> Any:
            images = super().take(stream)
            if len(images) > 2:
                raise DeviceMemoryError("no room to end")
            return images

    wanted = by_reference(mixed_songs, artifact)
    runtime = OnCpu(open_runtime(artifact, "onnxruntime", 1))
    network = GpuPipeline(runtime, lambda size: Small(SPEC.audio, size, "cpu"))
    found = labels_of(mixed_songs, artifact, WindowOptions(SPEC.audio), network=network)
    assert network.batch == 2
    assert_close(found, wanted)
    assert [record.getMessage() for record in caplog.records] == [
        "no room to begin: batches of 16 windows from here on",
        "no room to begin: batches of 8 windows from here on",
        "no room to begin: batches of 4 windows from here on",
        "no room to end: batches of 2 windows from here on",
    ]

    class None_(DaliLogMel):
        def put(self, audio: np.ndarray) -> None:
            raise DeviceMemoryError("no room at all")

    network = GpuPipeline(OnCpu(open_runtime(artifact)), lambda size: None_(SPEC.audio, size, "cpu"))
    file = FileSamples(FileFacts((), 0.0, "", {}), np.zeros((64, SPEC.audio.window_samples), np.float32))
    with network, pytest.raises(DeviceMemoryError, match="at all"):
        list(network.add(0, file))


def test_samples_too_loud_for_float32_are_an_error(tmp_path: Path, artifact: Artifact) -> None:
    loud = np.full(48_000, 1e25, np.float32)
    path = tmp_path / "loud.wav"
    soundfile.write(path, loud, 16_000, "FLOAT")
    (row,) = by_pipeline([str(path)], artifact)
    (wanted,) = by_reference([str(path)], artifact)
    assert row.error == wanted.error == "holds samples so large that their power overflows"


def test_dalis_decoder_in_the_pool(tmp_path: Path, mixed_songs: list[str], artifact: Artifact) -> None:
    whole = str(write_audio(tmp_path / "right.flac", noise(5, 16_000), 16_000))
    rows = by_pipeline([whole, *mixed_songs], artifact, windows="all", decoder="dali")
    assert_close(rows[:1], by_reference([whole], artifact, windows="all"))
    assert (rows[0].decoder or "").startswith("dali ")
    assert all(row.error for row in rows[1:])
    assert "DALI's resampler aliases" in str(rows[1].error)


def crash_on_right(path: str, options: WindowOptions) -> Any:
    if "2.mp3" in path:
        os.kill(os.getpid(), signal.SIGSEGV)
    return samples_from_file(path, options)


def test_a_decoder_that_dies_costs_its_file(
    mixed_songs: list[str], artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_pipeline, "samples_from_file", crash_on_right)
    found = by_pipeline(mixed_songs, artifact)
    assert [row.error for row in found if "2.mp3" in row.path] == ["the decoder crashed (SIGSEGV)"]
    wanted = by_reference(mixed_songs, artifact)
    for ours, theirs in zip(found, wanted, strict=True):
        if "2.mp3" not in ours.path:
            assert_close([ours], [theirs])
