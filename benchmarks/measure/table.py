"""The table: every case measured in turn, scored, and compared with the machine's limits."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import merkit
import onnx

from ...engine.artifact import Artifact, is_engine, open_artifact
from ...engine.cpu import usable_cores
from ...engine.errors import MerError
from ...export.graph_costs import Workload, workload_from_onnx
from ..results.ranking import finish
from ..row import BASELINES, Results, Row
from .cases import Case, fp32_of
from .loadgen import Length
from .machine import describe_machine, raise_limits
from .roofline import share_of_roofline
from .row_measurement import RowOptions, measure_in_child
from .scoring import HeldOutSongs, Scoring, cross_validated, score_row


@dataclass(frozen=True)
class TableOptions:
    """How the table is measured.

    ``data`` is labelled audio to score on, in ``layout`` (see ``labelled_audio``); ``songs`` are files to
    label; LoadGen's logs go to ``logs``; ``threads`` are the networks', 0 is one a core.
    """

    length: Length
    logs: Path
    threads: int = 0
    scenarios: tuple[str, ...] = ("SingleStream", "Offline")
    data: Path | None = None
    layout: str = "auto"
    songs: tuple[str, ...] = ()


def measure_table(cases: Sequence[Case], options: TableOptions, say: Callable[[str], None]) -> Results:
    """Measures every case. Ctrl-C keeps the rows that are done; the results are ``partial`` then.

    A row that fails has the reason, and the others go on.
    """
    table = _Table(options, say)
    try:
        say("measuring the machine")
        table.measure_limits()
        with tempfile.TemporaryDirectory(prefix="mer-bench-") as folder:
            scoring = Scoring(options.data, options.layout, Path(folder), say)
            for number, case in enumerate(cases, 1):
                say(f"{number} of {len(cases)}: {case.model} {case.runtime} {case.precision}")
                table.add(case, scoring)
        table.results.partial = False
    except KeyboardInterrupt:
        say("stopped: what is done is kept")
    table.fill_rooflines()
    finish(table.results, options.length.valid)
    return table.results


class _Table:
    """Results that grow row by row."""

    def __init__(self, options: TableOptions, say: Callable[[str], None]) -> None:
        self._options, self._say = options, say
        self._threads = options.threads or usable_cores()
        self._workloads: list[tuple[Row, Workload]] = []
        self.results = Results(
            mer=merkit.__version__,
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            command=["mer-bench", *sys.argv[1:]],
            length=options.length.name,
            partial=True,
            threads=self._threads,
            machine=describe_machine(),
        )

    def measure_limits(self) -> None:
        """Before the first row and again before each: see ``raise_limits``."""
        seconds = 0.5 if self._options.length.valid else 0.2
        raise_limits(self.results.machine, self._options.threads, seconds)

    def add(self, case: Case, scoring: Scoring) -> None:
        """Measures one row; a reason why that is not possible goes into the row."""
        row = Row(case.model, case.source, str(case.path), case.runtime, case.precision)
        try:
            if case.precision == "-":  # not even opened
                raise MerError(case.reason or "cannot be opened")
            artifact = open_artifact(str(case.path))
            self._describe(row, artifact)
            if case.reason:
                row.status, row.reason = "skipped", case.reason
            else:
                self._measure(row, case, artifact, scoring)
        except MerError as error:
            row.status, row.reason = "error", str(error)
        if row.reason:
            self._say(f"  {row.status}: {row.reason}")
        self.results.rows.append(row)

    def fill_rooflines(self) -> None:
        """After the last row, when the machine's limits are as high as they will get."""
        for row, workload in self._workloads:
            known = row.precision != "bf16" or self.results.machine.gemm_bf16_gflops
            if known and row.throughput and row.best_batch:
                row.roofline, row.bound = share_of_roofline(
                    workload, self.results.machine, row.precision, row.best_batch, row.throughput
                )

    def _describe(self, row: Row, artifact: Artifact) -> None:
        """What the file says without running it."""
        row.backbone = artifact.spec.backbone
        row.bytes = len(artifact.content)
        row.labels = list(artifact.spec.labels)
        row.sha256 = artifact.sha256
        if row.runtime not in BASELINES and row.source != "untrained":  # their weights are random
            cross_validated(row, artifact.spec)
        if not is_engine(artifact.path):
            row.fp32_sha256 = fp32_of(artifact.content)
            workload = workload_from_onnx(onnx.load_from_string(artifact.content))
            row.params, row.macs = workload.params, workload.macs
            self._workloads.append((row, workload))

    def _measure(self, row: Row, case: Case, artifact: Artifact, scoring: Scoring) -> None:
        held_out = self._held_out(row, artifact, scoring)
        logs = f"{case.path.stem}-{case.runtime}-{case.precision}-{artifact.sha256[:8]}"
        self.measure_limits()
        options = RowOptions(
            self._options.length,
            self._threads,
            self._options.scenarios,
            self._options.logs / logs,
            held_out.log_mels if held_out else None,
            self._options.songs,
        )
        logits = measure_in_child(case, options, row)
        if held_out is not None and logits is not None:
            # Evidence may stand behind the logits.
            score_row(row, logits[:, : len(artifact.spec.labels)], held_out, artifact.spec.temperature)

    def _held_out(self, row: Row, artifact: Artifact, scoring: Scoring) -> HeldOutSongs | None:
        """What the row is scored on; None, and why in its note, where it is not scored."""
        if self._options.data is not None and (row.runtime in BASELINES or row.source == "untrained"):
            row.accuracy_note = "random weights"
            return None
        try:
            held_out = scoring.held_out(artifact.spec)
        except MerError as error:
            row.accuracy_note = str(error)
            return None
        described = scoring.described(held_out)
        if self.results.data is None:
            self.results.data = described
        else:  # another model, from which other clips were held out
            skipped = [*self.results.data.skipped, *described.skipped]
            self.results.data.skipped = list(dict.fromkeys(skipped))
        return held_out
