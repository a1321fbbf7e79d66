"""Latency and throughput measured by MLPerf's LoadGen (Reddi et al., 2020: MLPerf Inference Benchmark)."""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.arrays import Float32
from ...engine.errors import MerError
from ..row import SCENARIOS, Scenario

Infer = Callable[[Float32], Float32]
"""Log-mels, float32 ``[n, 1, mels, frames]``, to logits, float32 ``[n, labels]``."""

_CONFIDENCE = 0.99
_STREAMS = 8  # samples of a MultiStream query in MLPerf's rules
_BLOCKS = 8


@dataclass(frozen=True)
class Length:
    """The least a scenario runs: seconds, and queries by scenario (samples in Offline)."""

    name: str
    seconds: float
    queries: Mapping[str, int]

    @property
    def valid(self) -> bool:
        """Whether it is long enough to be called a measurement."""
        return self.name != "quick"


QUICK = Length("quick", 0.5, dict.fromkeys(SCENARIOS, 10) | {"Offline": 1})
NORMAL = Length("normal", 5.0, dict.fromkeys(SCENARIOS, 100) | {"Offline": 1})
# mlcommons/inference, loadgen/mlperf.conf; SingleStream's queries are those of early stopping.
RULES = Length("rules", 600.0, {"SingleStream": 64, "MultiStream": 662, "Offline": 24_576, "Server": 459})


@dataclass(frozen=True)
class ScenarioResult:
    """What one scenario measured.

    ``samples_ms`` are the raw latencies of its queries in ms, one for each batch in Offline. ``blocks`` are
    values of equal parts of the run: median latencies in ms, in Offline images/s. Percentiles, images/s and
    errors are LoadGen's own.
    """

    figures: Scenario
    samples_ms: list[float]
    blocks: list[float]


def fewest_samples(percentile: float) -> int:
    """How many samples a percentile needs: with 99 % confidence one lies beyond it (459 for the 99th)."""
    return math.ceil(math.log(1 - _CONFIDENCE) / math.log(percentile / 100))


def block_values(samples: Sequence[float]) -> list[float]:
    """Medians of consecutive parts of a run. Their range shows what noise does to the whole run's median."""
    parts = np.array_split(np.asarray(samples, float), min(_BLOCKS, len(samples)))
    return [float(np.median(part)) for part in parts if len(part)]


def block_rates(sizes: Sequence[int], ended_s: Sequence[float], first_s: float) -> list[float]:
    """Images/s of consecutive parts of a run.

    The time between batches counts too, so that the parts together have the whole run's rate.

    Args:
        sizes: images of each batch.
        ended_s: when each batch was done, in seconds of any clock.
        first_s: the seconds that the first batch took.
    """
    starts = np.concatenate([[ended_s[0] - first_s], ended_s[:-1]])
    parts = np.array_split(np.arange(len(sizes)), min(_BLOCKS, len(sizes)))
    return [sum(sizes[i] for i in part) / float(ended_s[part[-1]] - starts[part[0]]) for part in parts]


def run_loadgen(
    infer: Infer,
    log_mels: Float32,
    scenario: str,
    length: Length,
    folder: Path,
    batch: int = 1,
    images_per_s: float = 100.0,
    target_ms: float = 100.0,
) -> ScenarioResult:
    """Runs one scenario; LoadGen's logs stay in ``folder``.

    Args:
        infer: called with parts of ``log_mels``, float32 ``[n, 1, mels, frames]``.
        scenario: one of ``SCENARIOS``.
        batch: log-mels of a call in Offline.
        images_per_s: about what the network reaches with calls of one log-mel (in Offline, of ``batch``);
            Server sends queries at half this rate.
        target_ms: Server's limit for the 99th percentile of latency.

    Raises:
        MerError: LoadGen is not installed.
        Exception: what ``infer`` raised.
    """
    try:
        import mlperf_loadgen as loadgen
    except ModuleNotFoundError:
        raise MerError('LoadGen is not installed: pip install "merkit[bench]"') from None
    folder.mkdir(parents=True, exist_ok=True)
    system = _System(loadgen, infer, log_mels, batch if scenario == "Offline" else _STREAMS)
    settings = _settings(loadgen, scenario, length, images_per_s, target_ms)
    logs = loadgen.LogSettings()
    logs.enable_trace = False
    logs.log_output.outdir = str(folder)
    logs.log_output.copy_summary_to_stdout = False
    # Server sends queries while others wait, so a thread of ours must work on them. In the other scenarios
    # one query is in flight at a time, and LoadGen's own thread can compute it.
    issue = system.queue if scenario == "Server" else system.answer
    sut = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(len(log_mels), len(log_mels), lambda _: None, lambda _: None)
    began = time.perf_counter()
    try:
        with system.answering() if scenario == "Server" else contextlib.nullcontext():
            loadgen.StartTestWithLogSettings(sut, library, settings, logs, os.devnull)
    finally:
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(sut)
    if system.failure:
        raise system.failure
    return _scenario_result(scenario, length, system, folder, time.perf_counter() - began)


class _System:
    """MLPerf's "system under test": computes queries and notes how long each took."""

    def __init__(self, loadgen: Any, infer: Infer, log_mels: Float32, batch: int) -> None:
        self._loadgen, self._infer, self._log_mels, self._batch = loadgen, infer, log_mels, batch
        self._waiting: queue.SimpleQueue[tuple[Any, float] | None] = queue.SimpleQueue()
        self.samples_ms: list[float] = []
        self.sizes: list[int] = []
        self.ended_s: list[float] = []
        self.failure: Exception | None = None

    def answer(self, queries: Any, issued: float | None = None) -> None:
        for start in range(0, len(queries), self._batch):
            part = queries[start : start + self._batch]
            began = issued or time.perf_counter()
            self._run([query.index for query in part])
            self.samples_ms.append(1e3 * (time.perf_counter() - began))
            self.sizes.append(len(part))
            self._loadgen.QuerySamplesComplete(
                [self._loadgen.QuerySampleResponse(query.id, 0, 0) for query in part]
            )
            self.ended_s.append(time.perf_counter())

    def queue(self, queries: Any) -> None:
        self._waiting.put((queries, time.perf_counter()))

    @contextlib.contextmanager
    def answering(self) -> Any:
        def work() -> None:
            while (item := self._waiting.get()) is not None:
                self.answer(*item)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._waiting.put(None)
            thread.join()

    def _run(self, indices: list[int]) -> None:
        if self.failure:  # LoadGen waits for ever for a query that is not completed: the others do nothing
            return
        try:
            first, last = indices[0], indices[-1]
            consecutive = last - first == len(indices) - 1 and indices == sorted(indices)
            # A slice, where it can be one, is no copy.
            self._infer(self._log_mels[first : last + 1] if consecutive else self._log_mels[indices])
        except Exception as error:
            self.failure = error


def _settings(loadgen: Any, scenario: str, length: Length, images_per_s: float, target_ms: float) -> Any:
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(1e3 * length.seconds)
    settings.min_query_count = length.queries[scenario]
    settings.multi_stream_samples_per_query = _STREAMS
    # LoadGen prepares its queries from these rates and complains when a faster network runs out of them.
    settings.single_stream_expected_latency_ns = round(1e9 / (4 * images_per_s))
    settings.multi_stream_expected_latency_ns = round(1e9 / images_per_s)
    settings.offline_expected_qps = 1.3 * images_per_s
    settings.server_target_qps = images_per_s / 2
    settings.server_target_latency_ns = round(1e6 * target_ms)
    settings.server_target_latency_percentile = 0.99
    return settings


def _scenario_result(
    scenario: str, length: Length, system: _System, folder: Path, seconds: float
) -> ScenarioResult:
    values, errors = _values_from_log(folder / "mlperf_log_detail.txt")
    samples = system.samples_ms
    offline = scenario == "Offline"
    percentiles_ms = {
        f"p{percentile}": values[f"result_{percentile}.00_percentile_latency_ns"] / 1e6
        for percentile in (50, 90, 99)
        if not offline and len(samples) >= fewest_samples(percentile)
    }
    figures = Scenario(
        valid=values.get("result_validity") == "VALID" and length.valid,
        queries=len(samples),
        seconds=seconds,
        images_per_s=values.get("result_samples_per_second", values.get("result_completed_samples_per_sec")),
        **percentiles_ms,
        log=str(folder),
        errors=errors,
    )
    blocks = block_rates(system.sizes, system.ended_s, samples[0] / 1e3) if offline else block_values(samples)
    return ScenarioResult(figures, samples, blocks)


def _values_from_log(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The detail log's last value of each key, and its errors: lines of JSON after ``:::MLLOG``."""
    values, errors = {}, []
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line.removeprefix(":::MLLOG "))
        values[entry["key"]] = entry["value"]
        if entry["metadata"]["is_error"]:
            errors.append(f"{entry['key']}: {entry['value']}")
    return values, errors
