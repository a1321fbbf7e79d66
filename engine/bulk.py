"""A catalogue in, one row for every input out, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from .artifact import Artifact
from .catalog import SUFFIXES, RowFile, carried_columns, row_from_label
from .cluster import RayCluster
from .device import DeviceNetwork
from .errors import MerError, UsageError
from .gpus import GpuProcesses
from .images import ImageOptions
from .labeler import SongLabel, StageSeconds, label_files, label_from_json
from .runtimes import Runtime
from .shards import ShardFolder, run_info
from .sources import Source, Sources
from .spool import Spool

_OTHER_TABLES = (".xlsx", ".xls", ".ods", ".tsv", ".txt", ".json", ".ndjson", ".feather", ".arrow", ".db")


class BulkRun:
    """One run over a catalogue; use as a context manager, then iterate ``labels`` to the end.

    ``total`` inputs were named; ``skipped`` files of folders were left out; ``resumed`` inputs have
    their row from an earlier run; ``redone`` rows were taken out, since their files have changed (or
    failed, if those are to be tried again); ``repeats`` inputs are equal to one before them.

    Args:
        runtime: of this machine, its GPUs, or a cluster.
        out: a .parquet, .csv or .jsonl file, a folder of shards, or None to write nothing.
        by_content: label files of equal bytes once, not only equal paths.
        retry_errors: label the inputs again that failed in an earlier run.

    Raises:
        UsageError: a suffix that cannot be written.
        MerError: nothing to label, or what ``ShardFolder`` and ``RowFile`` raise.
    """

    def __init__(
        self,
        sources: Sources,
        artifact: Artifact,
        runtime: Runtime | DeviceNetwork | RayCluster | GpuProcesses,
        options: ImageOptions,
        out: str | None = None,
        by_content: bool = False,
        retry_errors: bool = False,
        rows_a_shard: int = 500,
    ) -> None:
        self._artifact, self._runtime, self._options = artifact, runtime, options
        self.stages = StageSeconds()
        self.resumed = self.redone = 0
        with ExitStack() as stack:
            carried = carried_columns(sources.columns, artifact.spec.labels)
            shards = None
            if out is not None and is_folder(out):  # first: two runs at once should know at once
                info = run_info(artifact, runtime.name, options, carried)
                shards = stack.enter_context(ShardFolder(out, info, rows_a_shard=rows_a_shard))
            self._inputs = stack.enter_context(Spool(sources))
            self.total, self.skipped = len(self._inputs), sources.skipped
            if not self.total:
                named = ", ".join(sources.arguments)
                raise MerError(f"no audio in {named} ({self.skipped} other files skipped)")
            if shards:
                self.redone = shards.resume(self._inputs, retry_errors)
                self.resumed = self._inputs.done()
            self.repeats = self._inputs.find_repeats(by_content)
            self._writer: Any = shards
            if out is not None and not shards:
                self._writer = stack.enter_context(RowFile(out, artifact.spec.labels, carried))
            self._stack = stack.pop_all()

    def labels(self, workers: int = 0, stop: threading.Event | None = None) -> Iterator[SongLabel]:
        """Labels what has no row yet, writes it, and yields it, in the order of the inputs."""
        firsts = (item.source.path for item in self._inputs.pending() if item.same_as is None)
        artifact, runtime, options = self._artifact, self._runtime, self._options
        if isinstance(runtime, RayCluster | GpuProcesses):
            labels = runtime.label_files(firsts, artifact, options, stop, self.stages)
        else:
            labels = label_files(firsts, artifact, runtime, options, workers, stop, self.stages)
        for source, label in self._in_order(labels):
            if self._writer:
                began = time.process_time()
                self._writer.write(row_from_label(label, self._artifact, source))
                self.stages.write += time.process_time() - began
            yield label

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def _in_order(self, labels: Iterator[SongLabel]) -> Iterator[tuple[Source, SongLabel]]:
        """Each pending input with its label; a repeated one takes that of the first, which came before."""
        for item in self._inputs.pending():
            if item.same_as is not None:
                label = label_from_json(self._inputs.kept(item.same_as), item.source.path)
            else:
                label = next(labels, None)
                if label is None:  # stopped
                    return
                if item.repeated:
                    self._inputs.keep(item.position, json.dumps(dataclasses.asdict(label)))
            yield item.source, label


def is_folder(out: str) -> bool:
    """Whether ``--out`` names a folder of shards, and not one file.

    Raises:
        UsageError: the suffix of a table that is not written here.
    """
    suffix = Path(out).suffix.lower()
    if suffix in _OTHER_TABLES and not Path(out).is_dir():
        raise UsageError(f"--out {out}: a file's name must end in {', '.join(SUFFIXES)}")
    return suffix not in SUFFIXES
