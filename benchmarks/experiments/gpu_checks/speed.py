"""How fast: the machine's limits, copies to the GPU, log-mels, and networks on the real runtime."""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from ....engine.artifact import Artifact, open_artifact
from ....engine.errors import DeviceError
from ....engine.runtimes.tensorrt import TensorRtRuntime
from ....engine.spectrogram.log_mel import log_mel_from_audio
from ....engine.spectrogram.presets import PRESETS
from .bench import Bench, CheckFailed, OnGpu, Reference, driver, log_mels, require, stub_library
from .mel import TorchLogMel
from .onnx_in_torch import Precision
from .sound import check_near, generated

_BATCHES = (1, 8, 32, 128, 256)
_PRECISIONS: tuple[tuple[Precision, float], ...] = (("fp32", 2e-3), ("fp16", 0.05))
"""With each, how far logits may be from ONNX Runtime's, relative to the largest."""
_LEAST_RUNS = 3
_MIB = 1 << 20


def check_limits(bench: Bench) -> dict[str, Any]:
    """What the card gives at most: memory, arithmetic, and copies over the bus."""
    device, small = _torch_device()
    size, side = (1, 128) if small else (1_024, 8_192)  # MiB, of a matrix
    seconds = bench.seconds / 8
    block = torch.empty(size * _MIB, dtype=torch.uint8, device=device)
    other = torch.empty_like(block)
    rows = [_limit("copy on the GPU", 2 * block.nbytes / 1e9, "GB/s", lambda: other.copy_(block), seconds)]
    for dtype in (torch.float32, torch.float16):
        left = torch.randn(side, side, device=device).to(dtype)
        product = _limit(f"matrix product, {dtype}", 2e-12 * side**3, "TFLOP/s", lambda: left @ left, seconds)  # noqa: B023
        rows.append(product)
    summary = ", ".join(f"{row['what']} {row['rate']:,.1f} {row['unit']}" for row in rows)
    return {"summary": summary, "limits": rows}


def _limit(what: str, work: float, unit: str, call: Callable[[], Any], seconds: float) -> dict[str, Any]:
    return {"what": what, "rate": work / _seconds_a_call(call, seconds), "unit": unit}


def check_feeds(bench: Bench) -> dict[str, Any]:
    """Samples of a batch of 64 to the GPU: float32 and int16, from pinned and from pageable memory."""
    spec, count = bench.first.spec.audio, 64
    audio = generated(spec, count)
    rows = []
    with driver() as calls:
        stream, target = calls.stream(), calls.memory(audio.nbytes)
        for name, samples in (("float32", audio), ("int16", (32_767 * audio).astype(np.int16))):
            pinned = calls.pinned(samples)

            def from_pinned(samples: Any = samples, pinned: Any = pinned) -> None:
                np.copyto(pinned, samples)
                calls.copy(target, pinned, stream)
                calls.call("cuStreamSynchronize", ctypes.c_void_p(stream))

            def from_pageable(samples: Any = samples) -> None:
                source = ctypes.c_void_p(samples.ctypes.data)
                calls.call(
                    "cuMemcpyHtoD_v2", ctypes.c_uint64(target), source, ctypes.c_size_t(samples.nbytes)
                )

            def in_place(pinned: Any = pinned) -> None:
                calls.copy(target, pinned, stream)
                calls.call("cuStreamSynchronize", ctypes.c_void_p(stream))

            ways = {"pinned, written in place": in_place, "pinned, copied first": from_pinned}
            if stub_library() is None:  # which cannot tell such a copy from a mistake
                ways["pageable"] = from_pageable
            for way, call in ways.items():
                began = time.process_time()
                seconds, runs = _timed(call, bench.seconds / 8)
                cpu = (time.process_time() - began) / runs
                rows.append(
                    {
                        "samples": name,
                        "memory": way,
                        "windows_per_s": count / seconds,
                        "gb_per_s": samples.nbytes / seconds / 1e9,
                        "cpu_us_a_window": 1e6 * cpu / count,
                    }
                )
    best = max(rows, key=lambda row: row["windows_per_s"])
    return {
        "summary": f"{best['windows_per_s']:,.0f} windows/s at best ({best['samples']}, {best['memory']})",
        "feeds": rows,
    }


def check_mel(bench: Bench) -> dict[str, Any]:
    """torch's STFT on the GPU against the reference, for every preset, and how fast it is."""
    device, small = _torch_device()
    differences, rates = [], []
    for name, spec in PRESETS.items():
        audio = generated(spec, 8)
        audio[1] = 0
        audio[2] *= 1e-6
        made = TorchLogMel(spec, device)(torch.from_numpy(audio).to(device)).cpu().numpy()
        differences.append(check_near(name, made, log_mel_from_audio(audio, spec), spec))
    spec = bench.first.spec.audio
    transform = TorchLogMel(spec, device)
    for batch in (4,) if small else _BATCHES:
        samples = torch.from_numpy(generated(spec, batch)).to(device)
        seconds = _seconds_a_call(lambda: transform(samples), bench.seconds / 12)  # noqa: B023
        rates.append({"batch": batch, "images_per_s": batch / seconds})
    best = max(row["images_per_s"] for row in rates)
    worst = max(row["ordinary_db"] for row in differences)
    return {
        "summary": f"within {worst:.4f} dB of the reference, {best:,.0f} images/s at best",
        "differences": differences,
        "rates": rates,
    }


def check_networks(bench: Bench) -> dict[str, Any]:
    """Every network in FP32 and FP16, with and without CUDA graphs, against ONNX Runtime; and how fast."""
    most = _BATCHES[-1] if stub_library() is None else _BATCHES[1]
    rows, wrong = [], []
    share = bench.seconds / max(1, len(bench.models)) / (2 * len(_PRECISIONS))
    for name, path in bench.models.items():
        artifact = open_artifact(str(path))
        try:
            reference = Reference(artifact, 33, 1e-6)
        except CheckFailed as problem:  # random weights may answer to everything alike: they are timed only
            reference = None
            if artifact.is_bundled:
                wrong.append(f"{name}: {problem}")
        for precision, tolerance in _PRECISIONS:
            for graphs in (False, True):
                with bench.open(artifact, precision, graphs, most) as runtime:
                    row = figures_of_runtime(runtime, artifact, reference, share)
                rows.append({"network": name, "precision": precision, "graphs": graphs, **row})
                if row["error"] is not None and row["error"] > tolerance:
                    wrong.append(f"{name} {precision}: off by {row['error']:.2g} of the largest logit")
        if stub_library() is None:
            torch.cuda.empty_cache()
    require(not wrong, "; ".join(wrong))
    compared = sum(row["error"] is not None for row in rows)
    return {"summary": f"{compared} of {len(rows)} compared with ONNX Runtime, all agree", "networks": rows}


def figures_of_runtime(
    runtime: TensorRtRuntime, artifact: Artifact, reference: Reference | None, share: float
) -> dict[str, Any]:
    """Its error and agreement of labels, the milliseconds of its first calls, and images/s by batch.

    Args:
        reference: None says nothing of errors.
        share: seconds, about.
    """
    row: dict[str, Any] = {"error": None, "labels": None}
    with driver() as calls:
        if reference is not None:
            # Each size four times: the runtime's two slots capture a graph each, then replay it.
            parts = [reference.log_mels[: min(size, runtime.batch)] for size in (1, 33) for _ in range(4)]
            logits = [runtime.infer(part) for part in parts]
            row["error"] = max(map(reference.error, logits))
            labels = len(artifact.spec.labels)
            ours, theirs = (table[:, :labels].argmax(1) for table in (logits[-1], reference.logits))
            row["labels"] = float((ours == theirs[: len(ours)]).mean())
        batches = [batch for batch in _BATCHES if batch <= runtime.batch]
        for batch in batches:
            images = log_mels(artifact.spec.audio, batch, seed=batch)
            on_gpu = OnGpu(calls, images, runtime.stream)

            def compute(on_gpu: OnGpu = on_gpu) -> None:
                runtime.submit(on_gpu).result()

            first = [_once(compute) for _ in range(3)]
            row[f"batch_{batch}"] = batch / _seconds_a_call(compute, share / 8)
            if batch == 1:
                row["calls_ms"] = [round(1e3 * seconds, 3) for seconds in first]
            if batch == batches[-1]:
                row["copied"] = batch / _seconds_a_call(partial(runtime.infer, images), share / 8)
    return row


def _once(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _seconds_a_call(call: Callable[[], Any], seconds: float) -> float:
    return _timed(call, seconds)[0]


def _timed(call: Callable[[], Any], seconds: float) -> tuple[float, int]:
    """The median seconds of a call, waiting for the GPU after each, and how many calls there were."""
    wait = torch.cuda.synchronize if stub_library() is None else lambda: None
    times: list[float] = []
    end = time.perf_counter() + seconds
    for warm in (False, True):
        while len(times) < _LEAST_RUNS or (warm and time.perf_counter() < end):
            times.append(_once(lambda: (call(), wait())))
        if not warm:
            times.clear()
    return statistics.median(times), len(times) + _LEAST_RUNS


def _torch_device() -> tuple[str, bool]:
    """Where torch computes; and whether that is only a trial of the program, on a stub driver.

    Raises:
        DeviceError: the driver is there, and torch cannot use it.
    """
    if stub_library() is not None:
        return "cpu", True
    if not torch.cuda.is_available():
        raise DeviceError(f"torch {torch.__version__} cannot use this GPU: install its build for CUDA")
    return "cuda", False
