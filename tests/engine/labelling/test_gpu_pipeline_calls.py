"""What the GPU pipeline asks of DALI and of the network, on a GPU that is not the first one."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from gpu_on_cpu import SPEC, packed
from merkit.engine.labelling import gpu_pipeline
from merkit.engine.labelling.gpu_pipeline import open_gpu_pipeline, open_on_its_gpu
from merkit.engine.spectrogram import dali
from recording_dali import RecordingDali

STREAM = 4_711


class Network:
    """A ``DeviceRuntime`` that writes down what it gets, among DALI's calls."""

    name, batch, stream = "tensorrt", 4, STREAM

    def __init__(self, calls: list[tuple[Any, ...]]) -> None:
        self._calls = calls

    def submit(self, log_mels: Any) -> Any:
        self._calls.append(("submit", log_mels.windows))
        logits = np.zeros((log_mels.windows, 4), np.float32)
        return type("Pending", (), {"result": lambda _: logits})()

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.zeros(shape, dtype)

    def close(self) -> None:
        self._calls.append(("network closed",))


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> RecordingDali:
    recording = RecordingDali()

    def open_runtime(artifact: Any, threads: int, gpu: int) -> Any:
        recording.calls.append(("open_runtime", gpu))
        return Network(recording.calls)

    monkeypatch.setattr(dali, "dali_module", lambda: recording)
    monkeypatch.setattr(gpu_pipeline, "dali_module", lambda: recording)
    monkeypatch.setattr(gpu_pipeline, "open_runtime", open_runtime)
    return recording


@pytest.fixture
def artifact() -> Any:
    profile = {name: [Network.batch] for name in ("min", "opt", "max")}
    return type("Artifact", (), {"spec": SPEC, "facts": {"profiles": {"images": profile}}})()


def test_both_are_on_the_gpu_that_was_asked_for(recording: RecordingDali, artifact: Any) -> None:
    open_gpu_pipeline(artifact, 3).close()
    assert recording.calls[0] == ("open_runtime", 3)
    assert recording.options["device_id"] == 3
    assert recording.operators["external_source"] == "cpu"  # samples come from the host
    assert {recording.operators[name] for name in ("spectrogram", "mel_filter_bank", "output")} == {"gpu"}


def test_in_a_process_of_its_own_a_gpu_is_the_first(
    recording: RecordingDali, artifact: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6,7")
    open_on_its_gpu(artifact, 2).close()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"
    assert recording.calls[0] == ("open_runtime", 0)
    assert recording.options["device_id"] == 0


def test_log_mels_are_ready_for_the_networks_stream(recording: RecordingDali, artifact: Any) -> None:
    """DALI's own stream, or none, would have the network read them too early, or every batch waited for."""
    file = packed(np.ones((10, SPEC.audio.window_samples), np.float32))
    with open_gpu_pipeline(artifact, 1) as network:
        done = dict(network.add("a", file))
        done.update(network.flush())
    assert done["a"].shape == (10, 4)
    streams = [call[1] for call in recording.calls if call[0] == "outputs"]
    assert streams == [STREAM] * 4  # a first one before any song
    assert [call[1] for call in recording.calls if call[0] == "submit"] == [4, 4, 4]  # the last is filled up


def test_dali_ends_before_the_network_that_has_its_stream(recording: RecordingDali, artifact: Any) -> None:
    open_gpu_pipeline(artifact, 0).close()
    ends = [call for call in recording.calls if call in (("closed",), ("network closed",))]
    assert ends == [("closed",), ("network closed",)]
