"""The table: every contender measured in turn, scored, and held against the machine's limits."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from ...engine.arrays import Float32
from ...engine.artifact import Artifact, open_artifact
from ...engine.cpu import usable_cores
from ...engine.data.labelled_audio import labelled_audio
from ...engine.data.metrics import Integers, accuracy_and_macro_f1, bootstrap_interval, confusion_matrix
from ...engine.errors import MerError
from ...export.calibration_set import SongLogMels, log_mels_from_songs, split_clips
from ...export.checks import song_labels
from ...export.graph_costs import workload_from_onnx
from ..results.ranking import finish
from .cases import BASELINES, Case, fp32_of
from .loadgen import Length
from .machine import describe_machine, limits
from .roofline import share_of_roofline
from .row_measurement import RowOptions, measure_in_child

_WINDOWS_A_SONG = 3
_FEWEST_GROUPS = 10  # a bootstrap over fewer says nothing


@dataclass(frozen=True)
class TableOptions:
    """``data`` is labelled audio to score on, ``songs`` files to label, ``logs`` where LoadGen's go."""

    length: Length
    logs: Path
    threads: int = 0
    scenarios: tuple[str, ...] = ("SingleStream", "Offline")
    data: Path | None = None
    layout: str = "auto"
    songs: tuple[str, ...] = ()


@dataclass
class _Exam:
    """Held-out clips as windows in an .npy; ``truth`` are positions of ``labels``."""

    songs: SongLogMels
    images: Path
    truth: np.ndarray[Any, Any]
    groups: list[str]
    labels: tuple[str, ...]
    note: str


@dataclass
class _Scoring:
    """Exams by what they depend on, made when the first row asks for them."""

    options: TableOptions
    folder: Path
    exams: dict[Any, _Exam | str] = field(default_factory=dict)

    def exam(self, artifact: Artifact) -> _Exam | str:
        """The model's exam, or why there is none."""
        spec = artifact.spec
        key = (spec.audio, spec.labels, str(spec.provenance.get("test_clips")))
        if key not in self.exams:
            try:
                self.exams[key] = self._make(artifact)
            except MerError as error:
                self.exams[key] = str(error)
        return self.exams[key]

    def _make(self, artifact: Artifact) -> _Exam:
        assert self.options.data is not None
        spec = artifact.spec
        split = split_clips(labelled_audio(self.options.data, self.options.layout), spec)
        clips = {clip.path: clip for clip in split.test}
        songs = log_mels_from_songs(list(clips), spec.audio, _WINDOWS_A_SONG)
        path = self.folder / f"exam{len(self.exams)}.npy"
        np.save(path, songs.images)
        truth = np.asarray([spec.labels.index(clips[each].label) for each in songs.paths])
        groups = [clips[each].group for each in songs.paths]
        return _Exam(songs, path, truth, groups, spec.labels, split.origin)


def measure_table(cases: Sequence[Case], options: TableOptions, say: Callable[[str], None]) -> dict[str, Any]:
    """Measures every row; ready for JSON. Ctrl-C keeps the rows that are done (``partial``).

    A row that fails has the reason and stops nothing.
    """
    results: dict[str, Any] = {
        "mer": _version(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": ["mer-bench", *sys.argv[1:]],
        "length": options.length.name,
        "valid": False,
        "partial": True,
        "threads": options.threads or usable_cores(),
        "machine": describe_machine(),
        "data": None,
        "rows": [],
        "recommendation": "",
    }
    try:
        say("measuring the machine")
        _measure_limits(results, options)
        _measure_rows(cases, options, results, say)
        results["partial"] = False
    except KeyboardInterrupt:
        say("stopped: what is done is kept")
    for row in results["rows"]:
        workload = row.pop("workload", None)
        if workload is not None and row["throughput"]:
            row["roofline"], row["bound"] = share_of_roofline(
                workload, results["machine"], row["precision"], row["best_batch"], row["throughput"]
            )
    finish(results, options.length.valid)
    return results


def _measure_limits(results: dict[str, Any], options: TableOptions) -> None:
    """A limit is the most that was ever seen: whatever else runs on the machine only lowers it."""
    found = limits(options.threads, 0.5 if options.length.valid else 0.2)
    for name, value in found.items():
        results["machine"][name] = max(value, results["machine"].get(name, 0.0))


def _measure_rows(
    cases: Sequence[Case],
    options: TableOptions,
    results: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mer-bench-")))
        scoring = _Scoring(options, folder)
        for number, case in enumerate(cases, 1):
            say(f"{number} of {len(cases)}: {case.model} {case.runtime} {case.precision}")
            row = _empty_row(case)
            try:
                _fill(row, case, options, results, scoring)
            except MerError as error:
                row |= {"status": "error", "reason": str(error)}
            if row["reason"]:
                say(f"  {row['status']}: {row['reason']}")
            results["rows"].append(row)


def _empty_row(case: Case) -> dict[str, Any]:
    names = (
        "backbone", "params", "macs", "bytes", "throughput", "best_batch", "p50", "p90", "p99", "songs_per_s",
        "peak_mib", "accuracy", "accuracy_interval", "macro_f1", "macro_f1_interval", "drop", "confusion",
        "roofline", "bound", "stages", "throughput_interval", "p50_interval", "accuracy_note",
    )  # fmt: skip
    return {
        "model": case.model,
        "source": case.source,
        "file": str(case.path),
        "runtime": case.runtime,
        "precision": case.precision,
        "status": "ok",
        "reason": None,
        "throughput_samples": [],
        "latency_ms": [],
        "labels": [],
        "scenarios": {},
        "pareto": False,
        **dict.fromkeys(names),
    }


def _fill(
    row: dict[str, Any],
    case: Case,
    options: TableOptions,
    results: dict[str, Any],
    scoring: _Scoring,
) -> None:
    if case.precision == "-":  # it could not even be opened
        raise MerError(case.reason or "cannot be opened")
    artifact = open_artifact(str(case.path))
    row |= {
        "backbone": artifact.spec.backbone,
        "bytes": len(artifact.content),
        "labels": list(artifact.spec.labels),
        "sha256": artifact.sha256,
    }
    if case.path.suffix == ".onnx":
        row["fp32_sha256"] = fp32_of(artifact.content)
        workload = workload_from_onnx(onnx.load_from_string(artifact.content))
        row |= {"params": workload.params, "macs": workload.macs, "traffic_bytes": workload.bytes_per_input()}
        row["workload"] = workload
    if case.reason:
        row |= {"status": "skipped", "reason": case.reason}
        return
    exam = None
    if options.data is None:
        row["accuracy_note"] = "no labelled data"
    elif case.runtime in BASELINES or case.source == "untrained":
        row["accuracy_note"] = "random weights"
    else:
        exam = scoring.exam(artifact)
        if isinstance(exam, str):
            row["accuracy_note"], exam = exam, None
    if exam is not None and results["data"] is None:
        assert options.data is not None
        results["data"] = {
            "name": options.data.name,
            "clips": len(exam.truth),
            "labels": list(exam.labels),
            "note": exam.note,
        }
    name = f"{case.path.stem}-{case.runtime}-{case.precision}"
    _measure_limits(results, options)
    found = measure_in_child(
        case,
        RowOptions(
            options.length,
            options.threads or usable_cores(),
            options.scenarios,
            options.logs / f"{name}-{artifact.sha256[:8]}",
            exam.images if exam else None,
            options.songs,
        ),
    )
    logits = found.pop("logits", None)
    row |= found
    if exam is not None:
        row |= {"accuracy_note": exam.note, **score(logits, exam, artifact.spec.temperature)}


def score(logits: Float32, exam: _Exam, temperature: float) -> dict[str, Any]:
    """Accuracy and macro-F1 of whole songs with their 95 % intervals, and the confusion matrix."""
    said = song_labels(logits, exam.songs, temperature)
    accuracy, macro_f1 = accuracy_and_macro_f1(exam.truth, said)
    return {
        "accuracy": accuracy,
        "accuracy_interval": _interval(exam, said, "accuracy"),
        "macro_f1": macro_f1,
        "macro_f1_interval": _interval(exam, said, "macro_f1"),
        "confusion": confusion_matrix(exam.truth, said, len(exam.labels)).tolist(),
    }


def _interval(exam: _Exam, said: Integers, of: Literal["macro_f1", "accuracy"]) -> list[float] | None:
    """None where so few groups were drawn from that the interval would be a pretence (five right: 1 to 1)."""
    if len(set(exam.groups)) < _FEWEST_GROUPS:
        return None
    return list(bootstrap_interval(exam.truth, said, groups=exam.groups, of=of))


def _version() -> str:
    try:
        return metadata.version("merkit")
    except metadata.PackageNotFoundError:  # a checkout that was not installed
        return "unknown"
