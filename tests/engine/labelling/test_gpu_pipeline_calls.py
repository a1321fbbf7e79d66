"""What the GPU pipeline asks of DALI and of the network, on a GPU that is not the first one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_on_cpu import SPEC, packed
from merkit.engine.errors import DaliMissingError, DeviceError, DeviceMemoryError, UsageError
from merkit.engine.labelling import gpu_pipeline
from merkit.engine.labelling.gpu_pipeline import GpuPipeline, open_gpu_pipeline, open_on_its_gpu
from merkit.engine.spectrogram import dali
from merkit.engine.spectrogram.dali import DaliLogMel
from recording_dali import RecordingDali, RecordingPipeline

STREAM = 4_711


class Network:
    """A ``DeviceRuntime`` that writes down what it gets, among DALI's calls."""

    name, batch, stream = "tensorrt", 4, STREAM

    def __init__(self, calls: list[tuple[Any, ...]]) -> None:
        self._calls = calls
        self.given: list[tuple[Any, Any]] = []

    def submit(self, log_mels: Any) -> Any:
        self._calls.append(("submit", log_mels.windows))
        logits = np.zeros((log_mels.windows, 4), np.float32)
        return type("Pending", (), {"result": lambda _: logits})()

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        self.given.append((shape, dtype))
        return np.zeros(shape, dtype)

    def close(self) -> None:
        self._calls.append(("network closed",))


@pytest.fixture
def networks() -> list[Network]:
    """Those that were opened."""
    return []


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch, networks: list[Network]) -> RecordingDali:
    recording = RecordingDali()

    def open_runtime(artifact: Any, threads: int, gpu: int) -> Any:
        recording.calls.append(("open_runtime", gpu))
        networks.append(Network(recording.calls))
        return networks[-1]

    monkeypatch.setattr(dali, "dali_module", lambda: recording)
    monkeypatch.setattr(gpu_pipeline, "dali_module", lambda: recording)
    monkeypatch.setattr(gpu_pipeline, "open_runtime", open_runtime)
    return recording


@pytest.fixture
def artifact() -> Any:
    return with_profile(Network.batch, Network.batch, Network.batch)


def with_profile(least: int, tuned: int, most: int) -> Any:
    """What the pipeline asks of an engine's artifact."""
    profile = {"min": [least], "opt": [tuned], "max": [most]}
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


def test_the_size_of_a_batch_reaches_the_pipeline(
    recording: RecordingDali, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default what the engine is tuned for, and not the most that it takes."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6,7")
    built = with_profile(1, 2, 4)
    for open_one, batch in (
        (lambda: open_gpu_pipeline(built, 0), 2),
        (lambda: open_gpu_pipeline(built, 0, 1), 1),
        (lambda: open_on_its_gpu(built, 2), 2),
        (lambda: open_on_its_gpu(built, 2, 3), 3),
    ):
        with open_one() as network:
            assert network.batch == recording.options["batch_size"] == batch


def test_windows_are_filled_into_memory_that_the_gpu_reads(
    recording: RecordingDali, artifact: Any, networks: list[Network]
) -> None:
    open_gpu_pipeline(artifact, 0).close()
    window = SPEC.audio.window_samples
    assert networks[0].given == [((4, window), np.int16), ((4,), np.float32)] * 4


def test_packed_samples_are_read_where_they_are(recording: RecordingDali) -> None:
    """The caller keeps them as they are; those that are not packed may be changed at once."""
    for is_packed in (True, False):
        DaliLogMel(SPEC.audio, 4, "gpu", packed=is_packed)
        assert recording.sources["samples"]["no_copy"] is is_packed
    assert recording.sources["scales"]["no_copy"] is True


def fails(*_: Any) -> None:
    raise DeviceMemoryError("no memory can be pinned")


def fails_to_start(*_: Any) -> None:
    raise RuntimeError("CUDA driver: 35")


def test_what_fails_when_it_opens_closes_the_network(
    recording: RecordingDali, artifact: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Network, "pinned", fails)
        with pytest.raises(DeviceMemoryError, match="pinned"):
            open_gpu_pipeline(artifact, 0)
        assert recording.calls[-1] == ("network closed",)
    recording.calls.clear()
    monkeypatch.setattr(RecordingPipeline, "schedule_run", fails_to_start)
    with pytest.raises(DaliMissingError, match="CUDA driver: 35"):
        open_gpu_pipeline(artifact, 0)
    assert ("network closed",) in recording.calls


def test_a_dali_that_cannot_be_built_is_an_error_of_the_device(
    recording: RecordingDali, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else mer-label would end with a traceback, and not go on without DALI."""
    monkeypatch.setattr(RecordingPipeline, "build", fails_to_start)
    with pytest.raises(DeviceError, match="DALI cannot work on the GPU: CUDA driver: 35"):
        DaliLogMel(SPEC.audio, 4, "gpu")


def test_without_memory_for_one_window_the_network_is_closed(
    recording: RecordingDali, artifact: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: RecordingPipeline) -> None:
        raise MemoryError("CUDA allocation failed")

    monkeypatch.setattr(RecordingPipeline, "schedule_run", full)
    with pytest.raises(DeviceMemoryError, match="CUDA allocation failed"):
        open_gpu_pipeline(artifact, 0)
    assert ("network closed",) in recording.calls


def test_a_dali_that_cannot_start_is_ended_at_once(
    recording: RecordingDali, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only when the pipeline is closed: another attempt would have no room beside it."""
    monkeypatch.setattr(RecordingPipeline, "schedule_run", fails_to_start)
    network: Any = Network(recording.calls)
    pipeline = GpuPipeline(network, SPEC.audio, lambda size: DaliLogMel(SPEC.audio, size, packed=True))
    with pytest.raises(DaliMissingError):
        pipeline.start_dali()
    assert pipeline._dali is None


def test_no_batch_is_larger_than_the_runtime_has_memory_for(recording: RecordingDali) -> None:
    network: Any = Network(recording.calls)
    for asked, size in ((0, 4), (3, 3), (9, 4)):
        pipeline = GpuPipeline(network, SPEC.audio, lambda size: DaliLogMel(SPEC.audio, size), asked)
        assert pipeline.batch == size


def test_no_batch_is_smaller_than_the_engine_takes() -> None:
    built = with_profile(4, 8, 16)
    built.path = Path("tiny.engine")
    assert [gpu_pipeline.tuned_batch(built, batch) for batch in (0, 4, 16)] == [8, 4, 16]
    for batch in (3, 17):
        with pytest.raises(UsageError, match=f"takes 4 to 16 windows at once, not {batch}"):
            gpu_pipeline.tuned_batch(built, batch)


def test_what_is_closed_keeps_nothing(recording: RecordingDali, artifact: Any) -> None:
    """Log-mels and pinned memory would be freed after the GPU's context, at any time."""
    network = open_gpu_pipeline(artifact, 1)
    list(network.add("a", packed(np.ones((14, SPEC.audio.window_samples), np.float32))))
    assert network._in_network
    assert network._in_dali
    network.close()
    assert not network._in_network
    assert not network._in_dali
    assert not network._free
    assert network._filling is None


def test_after_an_interrupt_it_is_opened_as_it_was(
    recording: RecordingDali, networks: list[Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same GPU, with batches of the same size, and only when the memory of the first one is free."""
    network = open_gpu_pipeline(with_profile(1, 4, 4), 1, 2)
    file = packed(np.ones((8, SPEC.audio.window_samples), np.float32))
    with monkeypatch.context() as patch:
        patch.setattr(Network, "submit", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(network.add("a", file))
    recording.calls.clear()
    with network.mended() as mended:
        assert recording.calls[:3] == [("closed",), ("network closed",), ("open_runtime", 1)]
        assert mended.batch == recording.options["batch_size"] == 2
        assert networks[1].given == networks[0].given


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt
