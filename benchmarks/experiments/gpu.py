"""What a GPU reaches: engine against ONNX, DALI against the reference, images/s by batch, copies, overlap."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...engine.arrays import Float32
from ...engine.artifact import Artifact, open_artifact
from ...engine.closing import ClosedByWith
from ...engine.files import write_whole
from ...engine.labelling.file_windows import FileFacts, FileSamples
from ...engine.labelling.gpu_pipeline import GpuPipeline, tuned_batch
from ...engine.labelling.packed_samples import packed_from_samples, samples_from_packed
from ...engine.runtimes import DeviceRuntime, GpuInfo, open_runtime, tensorrt
from ...engine.spec import AudioSpec
from ...engine.spectrogram.dali import DaliLogMel
from ...engine.spectrogram.log_mel import log_mel_from_audio
from .gpu_checks.sound import decibels_apart, generated

_LARGEST_BATCH = 256  # of the sweep

_COPIED = "engine, images from NumPy (copied)"
_ON_GPU = "engine, images on the GPU"
_DALI = "DALI alone, from samples"
BOTH = "DALI and engine, overlapping"

Device = Literal["cpu", "gpu"]


def measure(
    artifact: Artifact,
    seconds: float = 3.0,
    device: Device = "gpu",
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Runs an engine on this machine's first GPU; plain JSON values.

    Args:
        seconds: for each measurement, at least.
        device: where DALI makes log-mels; "cpu" only to try this without a GPU.

    Raises:
        ArtifactError: no engine.
        DeviceError: no GPU that fits.
    """
    with tensorrt.open_runtime(artifact, threads=0) as runtime:
        return measure_runtime(runtime, artifact, seconds, device, say)


def measure_runtime(
    runtime: DeviceRuntime,
    artifact: Artifact,
    seconds: float,
    device: Device = "gpu",
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The same for a runtime that is open already; it is closed afterwards."""
    spec, batch = artifact.spec.audio, min(tuned_batch(artifact), runtime.batch)
    file = _generated_file(spec, batch)
    audio = samples_from_packed(np.asarray(file.samples), file.scales)
    log_mels = log_mel_from_audio(audio, spec)
    against_onnx = _against_onnx(artifact, runtime, log_mels)
    say(f"engine against ONNX: {against_onnx}")
    with runtime:
        with DaliLogMel(spec, batch, device, packed=True) as dali:
            difference = _dali_difference(dali, file, log_mels)
            say(f"DALI against the reference: {difference:.4f} dB")
            rates = _rates(runtime, dali, file, log_mels, seconds)
        lent = _Lent(runtime)
        rates[BOTH] = _overlapping(lent, spec, device, file, seconds)
        for name, rate in rates.items():
            say(f"{name}: {rate['median']:,.0f} images/s")
        by_batch = _sweep(lent, spec, device, seconds, say)
    return {
        "model": artifact.name,
        "runtime": runtime.name,
        "builder_version": artifact.facts.get("builder_version"),
        "machine": _machine(runtime.gpu),
        "batch": batch,
        "engine_against_onnx": against_onnx,
        "dali_against_reference_db": difference,
        "images_per_s": rates,
        "images_per_s_by_batch": by_batch,
        **_overlap({name: rate["median"] for name, rate in rates.items()}, batch),
    }


def _generated_file(spec: AudioSpec, count: int) -> FileSamples:
    pairs = [packed_from_samples(window) for window in generated(spec, count)]
    scales = np.asarray([scale for _, scale in pairs], np.float32)
    facts = FileFacts((0.0,) * count, spec.window_s, "generated", {})
    return FileSamples(facts, np.stack([numbers for numbers, _ in pairs]), scales)


def write_report(engines: list[dict[str, Any]], path: Path) -> None:
    """One JSON file of what ``measure`` gave for each engine."""
    write_whole(path, json.dumps({"format": 1, "engines": engines}, indent=2) + "\n")


def _against_onnx(artifact: Artifact, runtime: DeviceRuntime, log_mels: Float32) -> dict[str, Any]:
    """How far the engine's logits are from those of the .onnx that it was built from."""
    name = str(artifact.facts.get("onnx", {}).get("file", ""))
    path = artifact.path.parent / Path(name).name  # beside the engine, whatever the sidecar says
    if not name or path.name != name or not path.is_file():
        return {"checked": False, "why": f"{name} is not beside the engine"}
    with open_runtime(open_artifact(str(path)), "onnxruntime") as reference:
        expected = reference.infer(log_mels)
    error = float(np.abs(runtime.infer(log_mels) - expected).max())
    largest = float(np.abs(expected).max())
    return {"checked": True, "max_error": error, "relative_error": error / max(largest, 1e-12)}


def _dali_difference(dali: DaliLogMel, file: FileSamples, log_mels: Float32) -> float:
    """The largest difference of DALI's log-mels from the reference's, in dB."""
    dali.put(np.asarray(file.samples), file.scales)
    on_device = dali.take()
    on_host = np.asarray(on_device.as_cpu() if dali.device == "gpu" else on_device)
    return decibels_apart(on_host, log_mels, dali.spec)[1]


def _rates(
    runtime: DeviceRuntime, dali: DaliLogMel, file: FileSamples, log_mels: Float32, seconds: float
) -> dict[str, dict[str, Any]]:
    """Images/s of each part alone. DALI's samples are in pinned memory, as in labelling."""
    samples = runtime.pinned((len(file.samples), dali.spec.window_samples), np.int16)
    samples[:] = file.samples
    dali.put(samples, file.scales)
    on_device = dali.take()

    def make_log_mels() -> None:
        dali.put(samples, file.scales)
        dali.take()

    calls: Mapping[str, Callable[[], Any]] = {
        _COPIED: lambda: runtime.infer(log_mels),
        _ON_GPU: lambda: runtime.submit(on_device).result(),
        _DALI: make_log_mels,
    }
    return {name: _rate(call, len(log_mels), seconds) for name, call in calls.items()}


def _sweep(
    runtime: _Lent, spec: AudioSpec, device: Device, seconds: float, say: Callable[[str], None]
) -> dict[int, dict[str, float]]:
    """Images/s at batches of 1, 2, 4 and so on, as far as the engine goes, at most 256."""
    rates: dict[int, dict[str, float]] = {}
    powers = range(min(_LARGEST_BATCH, runtime.batch).bit_length())
    for batch in [1 << power for power in reversed(powers)]:  # the largest first: its memory does for all
        file = _generated_file(spec, batch)
        with DaliLogMel(spec, batch, device, packed=True) as dali:
            dali.put(np.asarray(file.samples), file.scales)
            on_device = dali.take()
            alone = _rate(lambda log_mels=on_device: runtime.submit(log_mels).result(), batch, seconds)
        both = _overlapping(runtime, spec, device, file, seconds)
        rates[batch] = {_ON_GPU: alone["median"], BOTH: both["median"]}
        say(f"batch {batch}: {alone['median']:,.0f} images/s, {both['median']:,.0f} with DALI")
    return dict(sorted(rates.items()))


def _rate(call: Callable[[], Any], batch: int, seconds: float) -> dict[str, Any]:
    """Images/s: the median of the runs, and every run."""
    for _ in range(3):  # kernels are compiled, clocks rise
        call()
    rates, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(rates) < 5:
        began = time.perf_counter()
        call()
        rates.append(batch / (time.perf_counter() - began))
    return {"median": statistics.median(rates), "runs": rates}


def _overlapping(
    runtime: _Lent, spec: AudioSpec, device: Device, file: FileSamples, seconds: float
) -> dict[str, Any]:
    """Images/s of the way that mer-label goes: DALI makes the next log-mels while the engine computes."""

    def open_dali(batch: int) -> DaliLogMel:
        return DaliLogMel(spec, batch, device, packed=True)

    with GpuPipeline(runtime, spec, open_dali, len(file.samples)) as pipeline:
        list(pipeline.add(0, file))
        list(pipeline.flush())
        done = added = 0
        began = time.perf_counter()
        while time.perf_counter() < began + seconds or added < 5:
            added += 1
            done += sum(len(logits) for _, logits in pipeline.add(added, file))
        done += sum(len(logits) for _, logits in pipeline.flush())
        rate = done / (time.perf_counter() - began)
    return {"median": rate, "runs": [rate]}


class _Lent(ClosedByWith):
    """A runtime for one pipeline after the other: it stays open, and the next gets the same pinned memory."""

    def __init__(self, runtime: DeviceRuntime) -> None:
        self.name, self.gpu, self.batch = runtime.name, runtime.gpu, runtime.batch
        self.stream, self.submit, self.infer = runtime.stream, runtime.submit, runtime.infer
        self._new = runtime.pinned
        self._arrays: list[Any] = []
        self._given = 0

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Pipelines ask for the same kinds in the same order."""
        kept = self._arrays[self._given : self._given + 1]
        if not kept or len(kept[0]) < shape[0]:
            self._arrays[self._given : self._given + 1] = [self._new(shape, dtype)]
        self._given += 1
        return self._arrays[self._given - 1][: shape[0]]

    def close(self) -> None:
        self._given = 0


def _overlap(medians: Mapping[str, float], batch: int) -> dict[str, float]:
    """What overlapping and copying are worth.

    "overlap" is 1 where DALI and the engine ran one after the other, and 2 where they take equally long
    and one is completely hidden behind the other.
    """
    return {
        "overlap": medians[BOTH] * (1 / medians[_ON_GPU] + 1 / medians[_DALI]),
        "transfer_ms_a_batch": 1e3 * batch * (1 / medians[_COPIED] - 1 / medians[_ON_GPU]),
    }


def _machine(gpu: GpuInfo) -> dict[str, str]:
    return {
        "gpu": gpu.name,
        "capability": gpu.capability,
        "cuda_driver": gpu.driver,
        "host": platform.platform(),
    }
