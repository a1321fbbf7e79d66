"""One row's figures, in a process of its own: its crash and its memory are its own."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.arrays import Float32
from ...engine.artifact import Artifact, open_artifact
from ...engine.errors import MerError
from ...engine.labelling.contract import StageSeconds
from ...engine.labelling.file_windows import WindowOptions
from ...engine.labelling.local import FileByFile, LocalBackend
from ...engine.runtimes import Runtime, open_runtime
from .cases import Case
from .loadgen import Found, Infer, Length, run_loadgen

_BATCHES = (1, 2, 4, 8, 16, 32)
_KEPT = 5_000  # raw samples in the results
_SCORED_AT_ONCE = 8
_WARM_SONGS = 4


@dataclass(frozen=True)
class RowOptions:
    """What is measured of a row: ``images`` is an .npy of windows to score, ``songs`` are files to label."""

    length: Length
    threads: int
    scenarios: tuple[str, ...]
    logs: Path
    images: Path | None = None
    songs: tuple[str, ...] = ()


def measure_in_child(case: Case, options: RowOptions) -> dict[str, Any]:
    """The row's figures, and its ``logits`` of ``options.images``.

    Raises:
        MerError: the runtime refuses the model, or its process died; the message is the row's reason.
    """
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe()
    options.logs.mkdir(parents=True, exist_ok=True)
    process = spawn.Process(target=_work, args=(theirs, case, options))
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        process.join()
        said = _last_line(options.logs / "output.txt")
        raise MerError(f"its process died ({_death(process.exitcode)}) {said}".strip()) from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(found, str):
        raise MerError(found)
    return found


def open_case(case: Case, artifact: Artifact, threads: int, streams: str = "latency") -> Runtime:
    """A row's runtime with the machine to itself; ``streams`` is OpenVINO's way of running.

    ONNX Runtime's threads spin here; in mer-label they do not, since decoders want the cores.
    """
    if case.runtime in ("torch", "torch.compile"):
        from .torch_baselines import TorchBaseline

        return TorchBaseline(artifact, threads, compiled=case.runtime == "torch.compile")
    if case.runtime == "openvino":
        from ...engine.runtimes.openvino import OpenVino

        precision = "bf16" if case.precision == "bf16" else "fp32"
        return OpenVino(artifact, threads, precision, streams)  # pyright: ignore[reportArgumentType]
    if case.runtime == "onnxruntime":
        from ...engine.runtimes.onnxruntime import OnnxRuntime

        return OnnxRuntime(artifact, threads, spinning=True)
    return open_runtime(artifact, case.runtime, threads)


def measure(case: Case, options: RowOptions) -> dict[str, Any]:
    """The same in this process."""
    artifact = open_artifact(str(case.path))
    audio = artifact.spec.audio
    images = np.random.default_rng(0).standard_normal((max(_BATCHES), 1, audio.n_mels, audio.frames))
    sound = images.astype(np.float32)
    row: dict[str, Any] = {}
    with open_case(case, artifact, options.threads) as runtime:
        for _ in range(3):
            runtime.infer(sound[:1])
        rates = {("latency", batch): rate for batch, rate in _rates(runtime.infer, sound, options.length)}
        found = [
            _scenario(name, runtime.infer, sound, options, 1e3 / rates["latency", 1])
            for name in options.scenarios
            if name != "Offline"
        ]
    if case.runtime == "openvino":
        with open_case(case, artifact, options.threads, "throughput") as runtime:
            rates |= {
                ("throughput", batch): rate for batch, rate in _rates(runtime.infer, sound, options.length)
            }
    streams, batch = max(rates, key=lambda key: rates[key])
    with open_case(case, artifact, options.threads, streams) as runtime:
        runtime.infer(sound[:batch])
        if "Offline" in options.scenarios:
            folder = options.logs / "Offline"
            rate = 1.3 * rates[streams, batch]
            found.append(run_loadgen(runtime.infer, sound, "Offline", options.length, folder, batch, rate))
        row["peak_mib"] = peak_mib()
        if options.images is not None:
            row["logits"] = _logits(runtime.infer, np.load(options.images, mmap_mode="r"))
    if options.songs:
        row |= _songs(case, options, artifact)
    row["rates"] = {f"{name} x{size}": rate for (name, size), rate in rates.items()}
    return row | _figures({each.scenario: each for each in found}, streams, batch)


def peak_mib() -> float | None:
    """This process's peak resident memory. VmHWM, since getrusage's also counts what forked it."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmHWM")), None)


def _figures(found: dict[str, Found], streams: str, batch: int) -> dict[str, Any]:
    single, offline = found.get("SingleStream"), found.get("Offline")
    return {
        "throughput": offline.images_per_s if offline else None,
        "throughput_samples": offline.blocks if offline else [],
        "throughput_interval": _range(offline.blocks) if offline else None,
        "best_batch": batch,
        "streams": streams,
        **(single.percentiles_ms if single else {"p50": None, "p90": None, "p99": None}),
        "p50_interval": _range(single.blocks) if single else None,
        "latency_ms": _thinned(single.samples_ms) if single else [],
        "scenarios": {
            name: {
                "valid": each.valid,
                "queries": each.queries,
                "seconds": each.seconds,
                "images_per_s": each.images_per_s,
                **each.percentiles_ms,
                "log": each.log,
                "errors": each.errors,
            }
            for name, each in found.items()
        },
    }


def _rates(infer: Infer, images: Float32, length: Length) -> list[tuple[int, float]]:
    """Images a second by batch: the median of a few calls, fewer where they are slow."""
    found = []
    limit = 0.15 if length.name == "quick" else 0.6
    for batch in _BATCHES if length.valid else _BATCHES[::2]:
        part = images[:batch]
        infer(part)
        times: list[float] = []
        while len(times) < 3 or (sum(times) < limit and len(times) < 200):
            began = time.perf_counter()
            infer(part)
            times.append(time.perf_counter() - began)
            if sum(times) > 10 * limit:
                break
        found.append((batch, batch / statistics.median(times)))
    return found


def _scenario(name: str, infer: Infer, images: Float32, options: RowOptions, single_ms: float) -> Found:
    """Latencies; Server's answers may take ten times as long as an image alone."""
    return run_loadgen(
        infer,
        images,
        name,
        options.length,
        options.logs / name,
        images_per_s=1e3 / single_ms,
        target_ms=10 * single_ms,
    )


def _logits(infer: Infer, images: Float32) -> Float32:
    starts = range(0, len(images), _SCORED_AT_ONCE)
    return np.concatenate([infer(np.ascontiguousarray(images[at : at + _SCORED_AT_ONCE])) for at in starts])


def _songs(case: Case, options: RowOptions, artifact: Artifact) -> dict[str, Any]:
    """Songs a second as mer-label does them, the pool's start left out; the CPU seconds of each stage."""
    stages, times, failed = StageSeconds(), [], 0
    windows = WindowOptions(artifact.spec.audio)
    # Beside decoders ONNX Runtime's threads must not spin, as they do in ``open_case``.
    own = case.runtime == "onnxruntime"
    runtime = (
        open_runtime(artifact, "onnxruntime", options.threads)
        if own
        else open_case(case, artifact, options.threads)
    )
    with LocalBackend(FileByFile(runtime)) as backend:
        for label in backend.label_files(options.songs, artifact, windows, stages=stages):
            times.append(time.perf_counter())
            failed += label.error is not None
    known = vars(stages)
    warm = min(_WARM_SONGS, len(times) - 1)
    return {
        "songs_per_s": (len(times) - warm - 1) / (times[-1] - times[warm]) if len(times) > warm + 1 else None,
        "songs_failed": failed,
        "stages": {name: known[name] for name in ("start", "decode", "resample", "mel", "network")},
    }


def _range(values: Sequence[float]) -> list[float] | None:
    return [min(values), max(values)] if values else None


def _thinned(samples: list[float]) -> list[float]:
    step = -(-len(samples) // _KEPT)
    return [round(value, 4) for value in samples[:: step or 1]]


def _work(pipe: Connection, case: Case, options: RowOptions) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    output = os.open(options.logs / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        answer: Any = measure(case, options)
    except MerError as error:
        answer = str(error)
    except Exception as error:  # a runtime's own exceptions: this row's reason, and the others go on
        import traceback

        traceback.print_exc()
        answer = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    pipe.send(answer)


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1][:200] if lines else ""
