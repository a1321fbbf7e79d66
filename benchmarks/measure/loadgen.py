"""Latency and throughput by MLPerf's LoadGen, its logs kept (Reddi et al., 2020: MLPerf Inference)."""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.arrays import Float32
from ...engine.errors import MerError

Infer = Callable[[Float32], Float32]

SCENARIOS = ("SingleStream", "MultiStream", "Offline", "Server")
PERCENTILES = (50, 90, 99)

_CONFIDENCE = 0.99
_STREAMS = 8  # samples of a MultiStream query, as MLPerf's rules have it
_BLOCKS = 8


@dataclass(frozen=True)
class Length:
    """How long a scenario runs at least: seconds, and queries (Offline: samples)."""

    name: str
    seconds: float
    queries: Mapping[str, int]

    @property
    def valid(self) -> bool:
        """A quick look is no measurement."""
        return self.name != "quick"


QUICK = Length("quick", 0.5, dict.fromkeys(SCENARIOS, 10) | {"Offline": 1})
NORMAL = Length("normal", 5.0, dict.fromkeys(SCENARIOS, 100) | {"Offline": 1})
# mlcommons/inference, loadgen/mlperf.conf; SingleStream's queries are those of early stopping.
RULES = Length("rules", 600.0, {"SingleStream": 64, "MultiStream": 662, "Offline": 24_576, "Server": 459})


@dataclass(frozen=True)
class Found:
    """What one scenario gave. ``percentiles_ms`` are LoadGen's own; None where the samples are too few.

    ``samples_ms`` are the raw latencies of its queries (a batch each in Offline), ``images_per_s``
    is LoadGen's own in Offline and Server; ``blocks`` are the same over parts of the run.
    """

    scenario: str
    valid: bool
    queries: int
    seconds: float
    samples_ms: list[float]
    percentiles_ms: dict[str, float | None]
    images_per_s: float | None
    blocks: list[float]
    log: str
    errors: list[str] = field(default_factory=list)


def fewest_samples(percentile: float) -> int:
    """So many that, with 99 % confidence, one of them lies beyond the percentile: 459 for the 99th."""
    return math.ceil(math.log(1 - _CONFIDENCE) / math.log(percentile / 100))


def percentile_ms(samples_ms: Sequence[float], percentile: float) -> float | None:
    """None where the samples are too few to know it."""
    if len(samples_ms) < fewest_samples(percentile):
        return None
    return float(np.percentile(samples_ms, percentile))


def block_values(samples: Sequence[float], blocks: int = _BLOCKS) -> list[float]:
    """Medians of the run's parts in time: their range is what this machine's noise does to the median."""
    parts = np.array_split(np.asarray(samples, float), min(blocks, len(samples)))
    return [float(np.median(part)) for part in parts if len(part)]


def block_rates(
    sizes: Sequence[int], ended_s: Sequence[float], first_s: float, blocks: int = _BLOCKS
) -> list[float]:
    """Images a second of the run's parts, all time between batches in it, so that their mean is the run's."""
    starts = np.concatenate([[ended_s[0] - first_s], ended_s[:-1]])
    parts = np.array_split(np.arange(len(sizes)), min(blocks, len(sizes)))
    return [sum(sizes[i] for i in part) / float(ended_s[part[-1]] - starts[part[0]]) for part in parts]


def run_loadgen(
    infer: Infer,
    images: Float32,
    scenario: str,
    length: Length,
    folder: Path,
    batch: int = 1,
    images_per_s: float = 100.0,
    target_ms: float = 100.0,
) -> Found:
    """Runs one scenario over ``images``; LoadGen's logs go to ``folder``.

    Args:
        batch: of Offline.
        images_per_s: about what the network does one after the other (Offline: in batches); Server is
            offered half of it.
        target_ms: Server's bound of the 99th percentile.

    Raises:
        MerError: LoadGen is not installed.
    """
    try:
        import mlperf_loadgen as loadgen
    except ModuleNotFoundError:
        raise MerError('LoadGen is not installed: pip install "merkit[bench]"') from None
    folder.mkdir(parents=True, exist_ok=True)
    system = _System(loadgen, infer, images, batch if scenario == "Offline" else _STREAMS)
    settings = _settings(loadgen, scenario, length, images_per_s, target_ms)
    logs = loadgen.LogSettings()
    logs.enable_trace = False
    logs.log_output.outdir = str(folder)
    logs.log_output.copy_summary_to_stdout = False
    # One query in flight: what answers it may be the thread that asks. Server asks on while it waits.
    issue = system.queue if scenario == "Server" else system.answer
    sut = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(len(images), len(images), lambda _: None, lambda _: None)
    began = time.perf_counter()
    try:
        with system.answering() if scenario == "Server" else contextlib.nullcontext():
            loadgen.StartTestWithLogSettings(sut, library, settings, logs, os.devnull)
    finally:
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(sut)
    if system.failure:
        raise system.failure
    return _found(scenario, length, system, folder, time.perf_counter() - began)


class _System:
    """MLPerf's "system under test": answers queries, and notes how long each took."""

    def __init__(self, loadgen: Any, infer: Infer, images: Float32, batch: int) -> None:
        self._loadgen, self._infer, self._images, self._batch = loadgen, infer, images, batch
        self._waiting: queue.SimpleQueue[tuple[Any, float] | None] = queue.SimpleQueue()
        self.samples_ms: list[float] = []
        self.sizes: list[int] = []
        self.ended_s: list[float] = []
        self.failure: Exception | None = None

    def answer(self, queries: Any, asked: float | None = None) -> None:
        for at in range(0, len(queries), self._batch):
            part = queries[at : at + self._batch]
            began = asked or time.perf_counter()
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
        if self.failure:  # every query must be answered, or LoadGen waits for ever
            return
        try:
            at = indices[0]
            one_after_other = indices[-1] - at == len(indices) - 1 and indices == sorted(indices)
            images = self._images[at : indices[-1] + 1] if one_after_other else self._images[indices]
            self._infer(images)
        except Exception as error:
            self.failure = error


def _settings(loadgen: Any, scenario: str, length: Length, images_per_s: float, target_ms: float) -> Any:
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(1e3 * length.seconds)
    settings.min_query_count = length.queries[scenario]
    settings.multi_stream_samples_per_query = _STREAMS
    # LoadGen makes its queries beforehand and complains when a faster network runs out of them.
    settings.single_stream_expected_latency_ns = round(1e9 / (4 * images_per_s))
    settings.multi_stream_expected_latency_ns = round(1e9 / images_per_s)
    settings.offline_expected_qps = 1.3 * images_per_s
    settings.server_target_qps = images_per_s / 2
    settings.server_target_latency_ns = round(1e6 * target_ms)
    settings.server_target_latency_percentile = 0.99
    return settings


def _found(scenario: str, length: Length, system: _System, folder: Path, seconds: float) -> Found:
    results, errors = _results_from_log(folder / "mlperf_log_detail.txt")
    samples = system.samples_ms
    single = scenario != "Offline"
    known = {
        f"p{q}": results[f"result_{q}.00_percentile_latency_ns"] / 1e6
        if single and len(samples) >= fewest_samples(q)
        else None
        for q in PERCENTILES
    }
    rate = results.get("result_samples_per_second", results.get("result_completed_samples_per_sec"))
    return Found(
        scenario,
        results.get("result_validity") == "VALID" and length.valid,
        len(samples),
        seconds,
        samples,
        known,
        rate,
        block_values(samples) if single else block_rates(system.sizes, system.ended_s, samples[0] / 1e3),
        str(folder),
        errors,
    )


def _results_from_log(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The detail log's results and what it complains of: lines of JSON behind ``:::MLLOG``."""
    results, errors = {}, []
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line.removeprefix(":::MLLOG "))
        results[entry["key"]] = entry["value"]
        if entry["metadata"]["is_error"]:
            errors.append(f"{entry['key']}: {entry['value']}")
    return results, errors
