"""A against B: two models in turns, or two results files; the ratio with its interval."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.artifact import open_artifact, path_from_model
from ...engine.errors import MerError, UsageError
from ..measure.cases import RUNTIMES, Case, precision_of

_ROUNDS = 2_000
_CALLS_S = 0.05  # of work before the other has its turn


@dataclass(frozen=True)
class Ratio:
    """How many times as fast B is as A in ``what``; ``low`` to ``high`` is the 95 % interval."""

    what: str
    ratio: float
    low: float
    high: float

    def under(self, limit: float) -> bool:
        """Slower than ``limit`` allows, and not by chance: the interval does not reach 1."""
        return self.ratio < limit and self.high < 1


def compare_models(
    first: str, second: str, batch: int = 1, pairs: int = 40, threads: int = 0
) -> tuple[Ratio, list[tuple[float, float]]]:
    """Times two models in turns, each in a process of its own; the seconds of each pair too.

    Args:
        first: a name or file, with ``@RUNTIME`` behind it unless its suffix says enough.

    Raises:
        UsageError: an unknown model or runtime.
        MerError: one cannot be run.
    """
    sides = [_Side(_case(name), batch, threads) for name in (first, second)]
    try:
        calls = [max(1, round(_CALLS_S / side.seconds(3))) for side in sides]
        times: list[tuple[float, float]] = []
        for pair in range(pairs):
            order = (0, 1) if pair % 2 == 0 else (1, 0)  # neither always comes first
            taken = {at: sides[at].seconds(calls[at]) for at in order}
            times.append((taken[0], taken[1]))
    finally:
        for side in sides:
            side.close()
    return ratio_of_pairs(f"{second} against {first}", times), times


def ratio_of_pairs(what: str, times: Sequence[tuple[float, float]], seed: int = 0) -> Ratio:
    """The median of A's time over B's, pair by pair; pairs are drawn anew for the interval."""
    ratios = np.asarray([a / b for a, b in times])
    draws = np.random.default_rng(seed).integers(len(ratios), size=(_ROUNDS, len(ratios)))
    low, high = np.quantile(np.median(ratios[draws], axis=1), [0.025, 0.975])
    return Ratio(what, float(np.median(ratios)), float(low), float(high))


def ratio_of_samples(what: str, first: Sequence[float], second: Sequence[float], seed: int = 0) -> Ratio:
    """The ratio of B's median over A's, of samples that are not paired."""
    rng = np.random.default_rng(seed)
    a, b = np.asarray(first), np.asarray(second)
    medians = [np.median(each[rng.integers(len(each), size=(_ROUNDS, len(each)))], axis=1) for each in (a, b)]
    low, high = np.quantile(medians[1] / medians[0], [0.025, 0.975])
    return Ratio(what, float(np.median(b) / np.median(a)), float(low), float(high))


def compare_results(first: Path, second: Path) -> tuple[list[Ratio], list[str]]:
    """Rows of two results files by model, runtime and precision: images/s, and what to beware of.

    Raises:
        MerError: no results file, or no row that both have.
    """
    a, b = results_from_file(first), results_from_file(second)
    warnings = [
        f"the machines differ in {name}: {a['machine'].get(name)} and {b['machine'].get(name)}"
        for name in ("cpu", "cores", "gpu")
        if a["machine"].get(name) != b["machine"].get(name)
    ]
    warnings += [
        f"{path} is no valid measurement" for path, each in ((first, a), (second, b)) if not each.get("valid")
    ]
    mine, theirs = _measured(a), _measured(b)
    both = [key for key in mine if key in theirs]
    if not both:
        raise MerError(f"{first} and {second} have no measured row in common")
    for key in [*mine, *theirs]:
        if key not in both:
            warnings.append(f"{' '.join(key)} is measured in one of them only")
    ratios = [ratio_of_samples(" ".join(key), mine[key], theirs[key]) for key in both]
    return ratios, warnings


def is_results(name: str) -> bool:
    """Whether an argument is a results file and no model."""
    return name.endswith(".json")


def _measured(results: dict[str, Any]) -> dict[tuple[str, str, str], list[float]]:
    return {
        (row["model"], row["runtime"], row["precision"]): row["throughput_samples"]
        for row in results["rows"]
        if row["status"] == "ok" and row["throughput_samples"]
    }


def results_from_file(path: Path) -> dict[str, Any]:
    """What ``mer-bench --json`` wrote.

    Raises:
        MerError: something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found["rows"], list) and isinstance(found["machine"], dict):
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise MerError(f"{path} is no results file of mer-bench --json")


def _case(name: str) -> Case:
    model, _, runtime = name.rpartition("@") if "@" in name else (name, "", "")
    path = path_from_model(model)
    runtime = runtime or ("tensorrt" if path.suffix == ".engine" else "onnxruntime")
    runtime, _, precision = runtime.partition("-")  # openvino-bf16
    if runtime not in RUNTIMES:
        raise UsageError(f"unknown runtime {runtime!r}; there are: {', '.join(RUNTIMES)}")
    artifact = open_artifact(str(path))
    known = precision or (precision_of(artifact.content) if path.suffix == ".onnx" else "-")
    return Case(path.stem, path, "compare", runtime, known)


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
        """The median seconds of so many calls."""
        try:
            self._pipe.send(calls)
            found = self._pipe.recv()
        except (EOFError, OSError):
            raise MerError(f"{self._name}: its process died") from None
        if isinstance(found, str):
            raise MerError(f"{self._name}: {found}")
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _time_calls(pipe: Connection, case: Case, batch: int, threads: int) -> None:
    import time

    from ...engine.cpu import usable_cores
    from ..measure.row_measurement import open_case

    infer: Callable[[Any], Any] | None = None
    try:
        artifact = open_artifact(str(case.path))
        audio = artifact.spec.audio
        images = np.random.default_rng(0).standard_normal((batch, 1, audio.n_mels, audio.frames))
        sound = images.astype(np.float32)
        infer = open_case(case, artifact, threads or usable_cores()).infer
        for _ in range(3):
            infer(sound)
        while True:
            times = []
            for _ in range(pipe.recv()):
                began = time.perf_counter()
                infer(sound)
                times.append(time.perf_counter() - began)
            pipe.send(statistics.median(times))
    except EOFError:
        return
    except Exception as error:  # whatever the runtime raises: the parent says it
        pipe.send(f"{type(error).__name__}: {error}" if not isinstance(error, MerError) else str(error))
