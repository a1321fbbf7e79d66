"""A against B: two models in turns, or two results files; the ratio of their speeds with its interval."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from ...engine.artifact import is_engine, open_artifact, path_from_model
from ...engine.errors import MerError, UsageError
from ..measure.cases import Case, precision_of, why_not
from ..results_file import results_from_file
from ..row import BENCH_RUNTIMES, Results, Row

_DRAWS = 2_000  # of a bootstrap
_MOST_PARTS = 1_000
_LIMIT_S = 600.0  # for one turn, the first with the network's start: what takes longer hangs
_TURN_S = 0.05  # of work before it is the other's turn
_REST_S = 0.1  # before a turn: the other side's threads spin on for up to 0.05 s of waiting, on its cores


@dataclass(frozen=True)
class Ratio:
    """How many times as fast B is as A in ``what``; ``low`` to ``high`` is the 95 % interval."""

    what: str
    ratio: float
    low: float
    high: float

    def under(self, limit: float) -> bool:
        """Slower than ``limit`` allows, and not by chance.

        Up to 1 it says how much slower is allowed: the interval does not reach 1, where nothing is slower.
        Above 1 it says how much faster is asked: the interval does not reach that.
        """
        return self.ratio < limit and self.high < max(1.0, limit)


def compare_models(
    first: str, second: str, batch: int = 1, pairs: int = 40, threads: int = 0
) -> tuple[Ratio, list[tuple[float, float]]]:
    """Times two models in turns, each in a process of its own and after a rest.

    Args:
        first: a name or file, with ``@RUNTIME`` behind it unless its suffix says enough.
        batch: log-mels of a call.
        threads: of the networks; 0 is one a core.

    Returns:
        The ratio, and of each pair the median seconds of a call of the first and of the second.

    Raises:
        UsageError: an unknown model or runtime.
        MerError: one of them cannot be run.
    """
    sides = [_Side(_case(name), batch, threads) for name in (first, second)]
    try:
        calls = [max(1, round(_TURN_S / side.seconds(3))) for side in sides]
        times: list[tuple[float, float]] = []
        for pair in range(pairs):
            order = (0, 1) if pair % 2 == 0 else (1, 0)  # neither always comes first
            seconds: dict[int, float] = {}
            for side in order:
                time.sleep(_REST_S)
                seconds[side] = sides[side].seconds(calls[side])
            times.append((seconds[0], seconds[1]))
    finally:
        for side in sides:
            side.close()
    return ratio_of_pairs(f"{second} against {first}", times), times


def ratio_of_pairs(what: str, times: Sequence[tuple[float, float]]) -> Ratio:
    """The median of A's time over B's within the pairs; the interval is a bootstrap over the pairs."""
    ratios = np.asarray([a / b for a, b in times])
    draws = np.random.default_rng(0).integers(len(ratios), size=(_DRAWS, len(ratios)))
    low, high = np.quantile(np.median(ratios[draws], axis=1), [0.025, 0.975])
    return Ratio(what, float(np.median(ratios)), float(low), float(high))


def ratio_of_samples(what: str, first: Sequence[float], second: Sequence[float]) -> Ratio:
    """B's median rate over A's, of samples that are not paired; the interval is a bootstrap of both."""
    rng = np.random.default_rng(0)
    a, b = np.asarray(first), np.asarray(second)
    medians = [np.median(side[rng.integers(len(side), size=(_DRAWS, len(side)))], axis=1) for side in (a, b)]
    low, high = np.quantile(medians[1] / medians[0], [0.025, 0.975])
    return Ratio(what, float(np.median(b) / np.median(a)), float(low), float(high))


def compare_results(first: Path, second: Path) -> tuple[list[Ratio], list[str]]:
    """Images/s of two results files, row by row, and warnings about what makes them hard to compare.

    Rows belong together by model, as the table names it, runtime and precision. The intervals are of
    one run's parts: what moves from run to run is in those of ``compare_models`` alone.

    Raises:
        MerError: no results file, two rows of one name in it, or no row that both have.
    """
    a, b = results_from_file(first), results_from_file(second)
    rows_a, rows_b = _measured(a, first), _measured(b, second)
    both = [key for key in rows_a if key in rows_b]
    if not both:
        raise MerError(f"{first} and {second} have no measured row in common")
    warnings = [
        f"the {what} differ in {name}: {of_a} and {of_b}"
        for what, name, of_a, of_b in (
            ("machines", "cpu", a.machine.cpu, b.machine.cpu),
            ("machines", "cores", a.machine.cores, b.machine.cores),
            ("machines", "gpu", a.machine.gpu, b.machine.gpu),
            ("runs", "threads", a.threads, b.threads),
            ("runs", "length", a.length, b.length),
        )
        if of_a != of_b
    ]
    warnings += [
        f"{path} is no valid measurement" for path, side in ((first, a), (second, b)) if not side.valid
    ]
    warnings += [
        f"{' '.join(key)} is measured in one of them only" for key in [*rows_a, *rows_b] if key not in both
    ]
    ratios = []
    for key in both:
        row_a, row_b = rows_a[key], rows_b[key]
        if row_a.sha256 and row_b.sha256 and row_a.sha256 != row_b.sha256:
            warnings.append(f"{' '.join(key)} is of two files: {row_a.sha256[:8]} and {row_b.sha256[:8]}")
        ratios.append(ratio_of_samples(" ".join(key), row_a.throughput_samples, row_b.throughput_samples))
    return ratios, warnings


def _measured(results: Results, file: Path) -> dict[tuple[str, str, str], Row]:
    """The rows with images/s of each part of their run; a part without any measured nothing.

    No run of ours has so many parts that their bootstrap would take gigabytes.

    Raises:
        MerError: two rows have one name: a gate would pass over one of them.
    """
    rows: dict[tuple[str, str, str], Row] = {}
    for row in results.rows:
        parts = row.throughput_samples
        if row.status == "ok" and 0 < len(parts) <= _MOST_PARTS and min(parts) > 0:
            key = (row.shown_model, row.runtime, row.precision)
            if key in rows:
                raise MerError(f"{file} has two rows {' '.join(key)}: measure one of them (mer-bench -m)")
            rows[key] = row
    return rows


def _case(name: str) -> Case:
    model, _, runtime = (name, "", "") if os.path.exists(name) or "@" not in name else name.rpartition("@")
    path = path_from_model(model)
    runtime = runtime or ("tensorrt" if is_engine(path) else "onnxruntime")
    runtime, dash, precision = runtime.partition("-")  # openvino-bf16
    if runtime not in BENCH_RUNTIMES:
        raise UsageError(f"unknown runtime {runtime!r}; there are: {', '.join(BENCH_RUNTIMES)}")
    if dash and (runtime, precision) != ("openvino", "bf16"):
        raise UsageError(f"{name}: a file says its own precision; only openvino-bf16 is another")
    artifact = open_artifact(str(path))
    precision = precision or ("-" if is_engine(path) else precision_of(artifact.content))
    if reason := why_not(runtime, precision, artifact):
        raise MerError(f"{path.stem} on {runtime}: {reason}")
    return Case(path.stem, path, "compare", runtime, precision)


class _Side:
    """A child process that holds one network and times calls when it is asked to."""

    def __init__(self, case: Case, batch: int, threads: int) -> None:
        spawn = get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._name = f"{case.model} on {case.runtime}"
        self._process = spawn.Process(target=_time_calls, args=(theirs, case, batch, threads), daemon=True)
        self._process.start()
        theirs.close()

    def seconds(self, calls: int) -> float:
        """The median seconds of so many calls.

        Raises:
            MerError: the network cannot be run, its process died, or it hangs.
        """
        try:
            self._pipe.send(calls)
            if not self._pipe.poll(_LIMIT_S):
                raise MerError(f"{self._name}: took longer than {_LIMIT_S:.0f} s")
            reply = self._pipe.recv()
        except (EOFError, OSError):
            raise MerError(f"{self._name}: its process died") from None
        if isinstance(reply, str):
            raise MerError(f"{self._name}: {reply}")
        return reply

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _time_calls(pipe: Connection, case: Case, batch: int, threads: int) -> None:
    """The child: numbers of calls in, median seconds out; a text is the reason why it cannot."""
    from ...engine.cpu import usable_cores
    from ..measure.row_measurement import open_case

    try:
        artifact = open_artifact(str(case.path))
        audio = artifact.spec.audio
        noise = np.random.default_rng(0).standard_normal((batch, 1, audio.n_mels, audio.frames))
        log_mels = noise.astype(np.float32)
        infer = open_case(case, artifact, threads or usable_cores()).infer
        for _ in range(3):
            infer(log_mels)
        while True:
            times = []
            for _ in range(pipe.recv()):
                began = time.perf_counter()
                infer(log_mels)
                times.append(time.perf_counter() - began)
            pipe.send(statistics.median(times))
    except EOFError:
        return
    except MerError as error:
        pipe.send(str(error))
    except Exception as error:  # a runtime's own exceptions: the parent turns them into its error
        pipe.send(f"{type(error).__name__}: {error}")
