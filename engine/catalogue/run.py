"""One run over a catalogue: every input gets one row, a label or an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from ..artifact import Artifact
from ..errors import MerError, UsageError
from ..labelling.contract import LabelBackend, StageSeconds
from ..labelling.file_windows import WindowOptions
from ..labelling.song_label import SongLabel, label_from_json
from .expand import Sources
from .input_store import InputStore
from .row_file import SUFFIXES, RowFile
from .rows import carried_columns, row_from_label
from .shards import ShardFolder, run_info
from .source import Source

_OTHER_TABLES = (".xlsx", ".xls", ".ods", ".tsv", ".txt", ".json", ".ndjson", ".feather", ".arrow", ".db")


class CatalogueRun:
    """One run over a catalogue; a context manager. Iterate ``labels`` to its end.

    Attributes:
        total: the number of inputs.
        skipped: files of folders, playlists and URLs that were left out.
        resumed: inputs that have a row from an earlier run.
        redone: rows of earlier runs that were removed, because their files have changed or, with
            ``retry_errors``, because they had failed.
        repeats: inputs that are equal to an earlier one.
        stages: the time that each stage has taken.

    Args:
        sources: the inputs.
        artifact: the model.
        backend: opened for the same artifact.
        options: which windows of a file are read.
        out: a .parquet, .csv or .jsonl file, a folder of shards, or None to write nothing.
        by_content: label files of equal bytes once, and not only equal paths.
        retry_errors: label the inputs that failed in an earlier run again.
        rows_a_shard: for a folder.

    Raises:
        UsageError: a suffix that cannot be written.
        MerError: there is nothing to label; and as ``ShardFolder`` and ``RowFile``.
    """

    def __init__(
        self,
        sources: Sources,
        artifact: Artifact,
        backend: LabelBackend,
        options: WindowOptions,
        out: str | None = None,
        by_content: bool = False,
        retry_errors: bool = False,
        rows_a_shard: int = 500,
    ) -> None:
        self._artifact, self._backend, self._options = artifact, backend, options
        self.stages = StageSeconds()
        self.resumed = self.redone = 0
        with ExitStack() as stack:
            carried = carried_columns(sources.columns, artifact.spec.labels)
            shards = None
            if out is not None and is_folder(out):  # before reading inputs: a second run must fail at once
                info = run_info(artifact, backend.name, options, carried)
                shards = stack.enter_context(ShardFolder(out, info, rows_a_shard=rows_a_shard))
            self._inputs = stack.enter_context(InputStore(sources))
            self.total, self.skipped = len(self._inputs), sources.skipped
            if not self.total:
                arguments = ", ".join(sources.arguments)
                raise MerError(f"no audio in {arguments} ({self.skipped} other files skipped)")
            if shards:
                self.redone = shards.resume(self._inputs, retry_errors)
                self.resumed = self._inputs.done()
            self.repeats = self._inputs.find_repeats(by_content)
            self._writer: ShardFolder | RowFile | None = shards
            if out is not None and not shards:
                self._writer = stack.enter_context(RowFile(out, artifact.spec.labels, carried))
            self._stack = stack.pop_all()

    def labels(self, stop: threading.Event | None = None) -> Iterator[SongLabel]:
        """Labels the inputs that have no row yet, writes their rows and yields the labels, in their order.

        Args:
            stop: once set, no more files are begun; those under way are finished.

        Raises:
            MerError: a device, a process or a cluster fails, or a row cannot be written.
        """
        firsts = (item.source.path for item in self._inputs.pending() if item.same_as is None)
        labels = self._backend.label_files(firsts, self._artifact, self._options, stop, self.stages)
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
        """Each pending input with its label. Equal inputs share the label of the first one."""
        for item in self._inputs.pending():
            if item.same_as is not None:
                label = label_from_json(self._inputs.kept(item.same_as), item.source.path)
            else:
                label = next(labels, None)
                if label is None:  # stopped
                    return
                if item.repeated:
                    self._inputs.keep(item.position, label.to_json())
            yield item.source, label


def is_folder(out: str) -> bool:
    """Whether rows written to ``out`` go into a folder of shards, and not into one file.

    Raises:
        UsageError: the suffix of a kind of table that cannot be written.
    """
    suffix = Path(out).suffix.lower()
    if suffix in _OTHER_TABLES and not Path(out).is_dir():
        raise UsageError(f"{out}: the name of a file of rows must end in {', '.join(SUFFIXES)}")
    return suffix not in SUFFIXES
