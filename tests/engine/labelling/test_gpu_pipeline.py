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
from gpu_on_cpu import SPEC, OnCpu, assert_close, by_pipeline, by_reference, on_cpu, packed
from merkit.engine.artifact import Artifact
from merkit.engine.errors import DeviceError, DeviceMemoryError
from merkit.engine.labelling import gpu_pipeline, local
from merkit.engine.labelling.file_windows import WindowOptions, samples_from_file
from merkit.engine.labelling.gpu_pipeline import GpuPipeline
from merkit.engine.labelling.local import LocalBackend
from merkit.engine.runtimes import open_runtime
from merkit.engine.spectrogram.dali import DaliLogMel
from merkit.engine.spectrogram.log_mel import log_mel_from_audio
from reading import labels_of

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


@pytest.mark.parametrize("batch", [3, 32])
def test_calls_in_turns(mixed_songs: list[str], artifact: Artifact, batch: int) -> None:
    """Windows of both calls share batches; each call gets the logits of its own files."""
    options, expected = WindowOptions(SPEC.audio), by_reference(mixed_songs, artifact)
    with LocalBackend(on_cpu(artifact, batch=batch), 2) as backend:
        forwards = backend.label_files(mixed_songs * 4, artifact, options)
        backwards = backend.label_files(mixed_songs[::-1] * 4, artifact, options)
        pairs = list(zip(forwards, backwards, strict=True))
    assert_close([first for first, _ in pairs], expected * 4)
    assert_close([second for _, second in pairs], expected[::-1] * 4)


@pytest.mark.parametrize("batch", [3, 32])
def test_windows_of_a_call_that_was_left_are_nobody_elses(
    mixed_songs: list[str], artifact: Artifact, batch: int
) -> None:
    options, expected = WindowOptions(SPEC.audio), by_reference(mixed_songs, artifact)
    with LocalBackend(on_cpu(artifact, batch=batch), 2) as backend:
        for _ in range(3):
            left = backend.label_files(mixed_songs * 40, artifact, options)
            assert_close([next(left)], expected[:1])
            del left
            rows = list(backend.label_files(mixed_songs[::-1], artifact, options))
            assert_close(rows, expected[::-1])


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_call_after_one_that_was_interrupted(
    mixed_songs: list[str], artifact: Artifact, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Its next call is right, after Ctrl-C in a notebook; one taken from in turns says why it ends."""
    options, expected = WindowOptions(SPEC.audio), by_reference(mixed_songs, artifact)
    submits: list[int] = []
    right = OnCpu.submit

    def submit(runtime: OnCpu, log_mels: Any) -> Any:
        submits.append(len(log_mels))
        if len(submits) == number:
            raise KeyboardInterrupt
        return right(runtime, log_mels)

    with LocalBackend(on_cpu(artifact, batch=3), 2) as backend:
        for _ in range(2):
            submits.clear()
            turns = backend.label_files(mixed_songs * 40, artifact, options)
            assert_close([next(turns)], expected[:1])
            with monkeypatch.context() as patch:
                patch.setattr(OnCpu, "submit", submit)
                with pytest.raises(KeyboardInterrupt):
                    list(backend.label_files(mixed_songs[::-1] * 4, artifact, options))
            assert_close(list(backend.label_files(mixed_songs, artifact, options)), expected)
            with pytest.raises(DeviceError, match="another call ended in the middle while the GPU had songs"):
                list(turns)


def test_dali_out_of_memory_halves_the_batch(
    mixed_songs: list[str], artifact: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it fails when it begins or when it ends, no window is lost."""

    class Small(DaliLogMel):
        def put(self, audio: np.ndarray, scales: np.ndarray | None = None) -> None:
            if len(audio) > 4:
                raise DeviceMemoryError("no room to begin")
            super().put(audio, scales)

        def take(self, stream: int | None = None) -> Any:
            log_mels = super().take(stream)
            if len(log_mels) > 2:
                raise DeviceMemoryError("no room to end")
            return log_mels

    expected = by_reference(mixed_songs, artifact)
    runtime = OnCpu(open_runtime(artifact, "onnxruntime", 1))
    network = GpuPipeline(runtime, SPEC.audio, lambda size: Small(SPEC.audio, size, "cpu", packed=True))
    rows = labels_of(mixed_songs, artifact, WindowOptions(SPEC.audio), network=network)
    assert network.batch == 2
    assert_close(rows, expected)
    assert [record.getMessage() for record in caplog.records] == [
        "no room to begin: batches of 16 windows from here on",
        "no room to begin: batches of 8 windows from here on",
        "no room to begin: batches of 4 windows from here on",
        "no room to end: batches of 2 windows from here on",
    ]

    class NoRoom(DaliLogMel):
        def put(self, audio: np.ndarray, scales: np.ndarray | None = None) -> None:
            raise DeviceMemoryError("no room at all")

    runtime = OnCpu(open_runtime(artifact))
    network = GpuPipeline(runtime, SPEC.audio, lambda size: NoRoom(SPEC.audio, size, "cpu", packed=True))
    file = packed(np.zeros((64, SPEC.audio.window_samples), np.float32))
    with network, pytest.raises(DeviceMemoryError, match="at all"):
        list(network.add(0, file))


def test_dali_starts_before_the_first_song(mixed_songs: list[str], artifact: Artifact) -> None:
    batches: list[int] = []

    def open_dali(batch: int) -> DaliLogMel:
        batches.append(batch)
        if batch > 8:
            raise DeviceMemoryError("no room to start")
        return DaliLogMel(SPEC.audio, batch, "cpu", packed=True)

    network = GpuPipeline(OnCpu(open_runtime(artifact)), SPEC.audio, open_dali)
    network.start_dali()
    assert (batches, network.batch) == ([32, 16, 8], 8)
    rows = labels_of(mixed_songs, artifact, WindowOptions(SPEC.audio), network=network)
    assert_close(rows, by_reference(mixed_songs, artifact))
    assert batches == [32, 16, 8]


class Recorded(OnCpu):
    """Keeps the sizes of its batches."""

    def __init__(self, artifact: Artifact, batch: int) -> None:
        super().__init__(open_runtime(artifact), batch)
        self.sizes: list[int] = []

    def submit(self, log_mels: Any) -> Any:
        self.sizes.append(len(log_mels))
        return super().submit(log_mels)


def test_all_batches_have_one_size(artifact: Artifact) -> None:
    """A CUDA graph is of a size, and kernels of TensorRT-RTX are compiled for one."""
    rng = np.random.default_rng(0)
    files = [rng.standard_normal((count, SPEC.audio.window_samples)).astype(np.float32) / 9
             for count in (3, 1, 7, 2)]  # fmt: skip
    runtime = Recorded(artifact, 32)
    logits: dict[int, np.ndarray] = {}
    with GpuPipeline(
        runtime, SPEC.audio, lambda size: DaliLogMel(SPEC.audio, size, "cpu", packed=True), 5
    ) as network:
        for position, samples in enumerate(files):
            logits.update(network.add(position, packed(samples)))
        logits.update(network.flush())
        assert runtime.sizes == [5, 5, 5]
        logits.update(network.add(9, packed(files[1])))
        logits.update(network.flush())
    assert runtime.sizes == [5] * 4
    with open_runtime(artifact) as reference:
        for position, samples in enumerate(files):
            expected = reference.infer(log_mel_from_audio(samples.astype(np.float32), SPEC.audio))
            np.testing.assert_allclose(logits[position], expected, atol=1e-3)
    np.testing.assert_array_equal(logits[9], logits[1])


def test_samples_far_beyond_full_scale_are_an_error(tmp_path: Path, artifact: Artifact) -> None:
    loud = np.full(48_000, 1e25, np.float32)
    path = tmp_path / "loud.wav"
    soundfile.write(path, loud, 16_000, "FLOAT")
    (row,) = by_pipeline([str(path)], artifact)
    (expected,) = by_reference([str(path)], artifact)
    assert row.error == expected.error
    assert "far beyond full scale" in str(row.error)


def test_silent_windows_are_in_the_row_of_both_ways(tmp_path: Path, artifact: Artifact) -> None:
    music = noise(SPEC.audio.window_s, 16_000)
    path = str(write_audio(tmp_path / "a.flac", np.concatenate([music, 0 * music, music]), 16_000))
    rows = by_pipeline([path], artifact, windows="all")
    assert_close(rows, by_reference([path], artifact, windows="all"))
    assert [p is None for _, p in rows[0].windows] == [False, True, False]


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
    rows = by_pipeline(mixed_songs, artifact)
    assert [row.error for row in rows if "2.mp3" in row.path] == ["the decoder crashed (SIGSEGV)"]
    expected = by_reference(mixed_songs, artifact)
    for ours, theirs in zip(rows, expected, strict=True):
        if "2.mp3" not in ours.path:
            assert_close([ours], [theirs])
