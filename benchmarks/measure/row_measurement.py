"""Measures one row in a process of its own, so that a crash ends only this row and memory is only its own."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from ...engine.arrays import Float32
from ...engine.artifact import Artifact, open_artifact
from ...engine.cpu import usable_cores
from ...engine.errors import MerError
from ...engine.labelling.contract import StageSeconds
from ...engine.labelling.file_windows import WindowOptions
from ...engine.labelling.local import FileByFile, LocalBackend
from ...engine.runtimes import Runtime, open_runtime
from ...engine.runtimes.trial import check_by_trial
from ..row import BASELINES, Interval, Row
from .cases import Case
from .loadgen import Infer, Length, ScenarioResult, run_loadgen

_BATCHES = (1, 2, 4, 8, 16, 32)
_KEPT = 5_000  # raw samples in the results
_SCORED_AT_ONCE = 8
_WARM_SONGS, _LEAST_SONGS = 4, 3
_START_S = 600.0  # for a child to import, open and warm up, on a busy machine
_SONG_S = 60.0
_STAGES = ("start", "decode", "resample", "mel", "network")  # "write" and waiting are not a song's


@dataclass(frozen=True)
class RowOptions:
    """What is measured of a row.

    ``log_mels`` is an .npy of float32 ``[n, 1, mels, frames]`` to compute logits of, ``songs`` are files
    to label, ``logs`` is the row's own folder.
    """

    length: Length
    threads: int
    scenarios: tuple[str, ...]
    logs: Path
    log_mels: Path | None = None
    songs: tuple[str, ...] = ()


def measure_in_child(case: Case, options: RowOptions, row: Row) -> Float32 | None:
    """``measure`` in a new process, whose output goes to a file in ``options.logs``.

    Raises:
        MerError: the runtime refuses the model, the process died, or it hangs. The message is the row's
            reason.
    """
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe()
    options.logs.mkdir(parents=True, exist_ok=True)
    process = spawn.Process(target=_work, args=(theirs, case, options, row))
    process.start()
    theirs.close()
    limit_s = _limit_s(options)
    try:
        if not ours.poll(limit_s):
            raise MerError(f"took longer than {limit_s:.0f} s and was stopped")
        reply = ours.recv()
    except EOFError:
        process.join()
        output = _last_line(options.logs / "output.txt")
        raise MerError(f"its process died ({_death(process.exitcode)}) {output}".strip()) from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(reply, str):
        raise MerError(reply)
    filled, logits = reply
    vars(row).update(vars(filled))
    return logits


def open_case(case: Case, artifact: Artifact, threads: int, streams: str = "latency") -> Runtime:
    """A row's runtime with the machine to itself; ``streams`` is OpenVINO's performance mode.

    ONNX Runtime's threads spin while they wait here; in mer-label they do not, where decoders need the
    cores.
    """
    if case.runtime in BASELINES:
        from .torch_baselines import TorchBaseline

        return TorchBaseline(artifact, threads, compiled=case.runtime == "torch.compile")
    if case.runtime in ("onnxruntime", "openvino"):  # for the others open_runtime tries it
        check_by_trial(artifact, case.runtime)
    if case.runtime == "openvino":
        from ...engine.runtimes.openvino import OpenVino

        precision = "bf16" if case.precision == "bf16" else "fp32"
        return OpenVino(artifact, threads, precision, streams)  # pyright: ignore[reportArgumentType]
    if case.runtime == "onnxruntime":
        from ...engine.runtimes.onnxruntime import OnnxRuntime

        return OnnxRuntime(artifact, threads, spinning=True)
    return open_runtime(artifact, case.runtime, threads)


def measure(case: Case, options: RowOptions, row: Row) -> Float32 | None:
    """Fills in what is measured of a row; gives the logits ``[n, labels]`` of ``options.log_mels``.

    Latencies are of one log-mel a call; images/s are at the batch (and in OpenVINO the mode) that a short
    look finds fastest.

    Raises:
        MerError: the runtime refuses the model.
    """
    artifact = open_artifact(str(case.path))
    audio = artifact.spec.audio
    noise = np.random.default_rng(0).standard_normal((max(_BATCHES), 1, audio.n_mels, audio.frames))
    log_mels = noise.astype(np.float32)
    with open_case(case, artifact, options.threads) as runtime:
        for _ in range(3):
            runtime.infer(log_mels[:1])
        rates = _rates(runtime.infer, log_mels, options.length, "latency")
        results = {
            scenario: _latencies(scenario, runtime.infer, log_mels, options, rates["latency", 1])
            for scenario in options.scenarios
            if scenario != "Offline"
        }
    if case.runtime == "openvino":
        with open_case(case, artifact, options.threads, "throughput") as runtime:
            rates |= _rates(runtime.infer, log_mels, options.length, "throughput")
    streams, batch = max(rates, key=lambda key: rates[key])
    with open_case(case, artifact, options.threads, streams) as runtime:
        runtime.infer(log_mels[:batch])
        if "Offline" in options.scenarios:
            folder, rate = options.logs / "Offline", 1.3 * rates[streams, batch]
            results["Offline"] = run_loadgen(
                runtime.infer, log_mels, "Offline", options.length, folder, batch, rate
            )
        row.peak_mib = peak_mib()
        logits = _logits(runtime.infer, options.log_mels)
    if options.songs:
        _fill_songs(row, case, options, artifact)
    row.rates = {f"{mode} x{size}": rate for (mode, size), rate in rates.items()}
    row.streams, row.best_batch = streams, batch
    _fill_scenarios(row, results)
    return logits


def peak_mib() -> float | None:
    """This process's peak resident memory. VmHWM, since getrusage's value includes the parent's at fork."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmHWM")), None)


def _limit_s(options: RowOptions) -> float:
    """Far above what the slowest network here takes: what takes longer hangs."""
    scenarios_s = 20 * len(options.scenarios) * options.length.seconds
    return _START_S + scenarios_s + _SONG_S * len(_warm_songs(options.songs) + options.songs)


def _fill_scenarios(row: Row, results: Mapping[str, ScenarioResult]) -> None:
    row.scenarios = {name: result.figures for name, result in results.items()}
    if single := results.get("SingleStream"):
        row.p50, row.p90, row.p99 = single.figures.p50, single.figures.p90, single.figures.p99
        row.p50_interval = _range(single.blocks)
        row.latency_ms = _thinned(single.samples_ms)
    if offline := results.get("Offline"):
        row.throughput, row.throughput_samples = offline.figures.images_per_s, offline.blocks
        row.throughput_interval = _range(offline.blocks)


def _rates(infer: Infer, log_mels: Float32, length: Length, mode: str) -> dict[tuple[str, int], float]:
    """Images/s by (mode, batch): from the median of up to 200 calls, fewer where they are slow."""
    rates = {}
    limit_s = 0.15 if length.name == "quick" else 0.6
    for batch in _BATCHES if length.valid else _BATCHES[::2]:
        part = log_mels[:batch]
        infer(part)
        times: list[float] = []
        while len(times) < 3 or (sum(times) < limit_s and len(times) < 200):
            began = time.perf_counter()
            infer(part)
            times.append(time.perf_counter() - began)
            if sum(times) > 10 * limit_s:
                break
        rates[mode, batch] = batch / statistics.median(times)
    return rates


def _latencies(
    scenario: str, infer: Infer, log_mels: Float32, options: RowOptions, images_per_s: float
) -> ScenarioResult:
    """A scenario with one log-mel a call. Server's limit is ten times what one log-mel takes alone."""
    return run_loadgen(
        infer,
        log_mels,
        scenario,
        options.length,
        options.logs / scenario,
        images_per_s=images_per_s,
        target_ms=10 * 1e3 / images_per_s,
    )


def _logits(infer: Infer, path: Path | None) -> Float32 | None:
    """Logits ``[n, labels]`` of the log-mels in an .npy."""
    if path is None:
        return None
    log_mels = np.load(path, mmap_mode="r")
    starts = range(0, len(log_mels), _SCORED_AT_ONCE)
    parts = (np.ascontiguousarray(log_mels[start : start + _SCORED_AT_ONCE]) for start in starts)
    return np.concatenate([infer(part) for part in parts])


def _warm_songs(songs: tuple[str, ...]) -> tuple[str, ...]:
    """What is labelled before the clock starts: each process gets one before any gets two."""
    count = max(_WARM_SONGS, usable_cores())
    return (songs * count)[:count]


def _fill_songs(row: Row, case: Case, options: RowOptions, artifact: Artifact) -> None:
    """Songs/s as in mer-label once its child processes have started; the CPU seconds of each stage."""
    started, stages = StageSeconds(), StageSeconds()
    # Not ``open_case``, whose ONNX Runtime spins: beside decoders its threads must not.
    runtime = (
        open_runtime(artifact, "onnxruntime", options.threads)
        if case.runtime == "onnxruntime"
        else open_case(case, artifact, options.threads)
    )
    warm = _warm_songs(options.songs)
    windows = WindowOptions(artifact.spec.audio)
    with LocalBackend(FileByFile(runtime)) as backend:
        # A call of its own: processes read far ahead, and what they read before the clock starts is free.
        list(backend.label_files(warm, artifact, windows, stages=started))
        began = time.perf_counter()
        # A file that cannot be read takes no time, and is no song.
        failed = sum(
            label.error is not None
            for label in backend.label_files(options.songs, artifact, windows, stages=stages)
        )
        seconds = time.perf_counter() - began
    counted = len(options.songs) - failed
    row.songs_per_s = counted / seconds if counted >= max(_LEAST_SONGS, failed) else None
    row.songs_failed = failed
    stages.start += started.start
    row.stages = {name: vars(stages)[name] for name in _STAGES}


def _range(values: Sequence[float]) -> Interval | None:
    return (min(values), max(values)) if values else None


def _thinned(samples: list[float]) -> list[float]:
    step = -(-len(samples) // _KEPT)
    return [round(value, 4) for value in samples[:: step or 1]]


def _work(pipe: Connection, case: Case, options: RowOptions, row: Row) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which decides
    output = os.open(options.logs / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        reply: tuple[Row, Float32 | None] | str = (row, measure(case, options, row))
    except MerError as error:
        reply = str(error)
    except Exception as error:  # a runtime's own exceptions: this row's reason, while the others go on
        import traceback

        traceback.print_exc()
        reply = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    pipe.send(reply)


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
