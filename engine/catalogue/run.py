"""One run over a catalogue: every input gets one row, a label or an error."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Self

from ..artifact import Artifact
from ..audio.decoder import TAGS
from ..errors import MerError
from ..labelling.contract import LabelBackend, StageSeconds
from ..labelling.file_windows import WindowOptions
from ..labelling.further import further_columns
from ..labelling.song_label import SongLabel, label_from_json
from ..labelling.tags import read_tags
from ..labelling.worker_pool import Failure
from .expand import Sources, words_of_skipped
from .hints import hint_of
from .input_store import InputStore
from .output import Kind, output_from_text
from .parquet_rows import is_index
from .reconcile import Forgotten, Looks, Step, is_absent, song_from_tags
from .resume import Resume
from .row_file import RowFile
from .rows import carried_columns, names_of_columns, row_from_label
from .run_info import run_info
from .shards import ShardFolder, fields_of_folder, shards_in
from .source import NO_FOLDER, Item


class CatalogueRun:
    """One run over a catalogue; a context manager. Iterate ``labels`` to its end.

    Attributes:
        total: the number of files and URLs.
        skipped: files of folders, playlists and URLs that were left out; ``skipped_suffixes`` counts those
            that only their suffix left out.
        albums: files that a cue sheet beside them divides into tracks.
        resumed: inputs that have a row from an earlier run.
        replaced: rows of earlier runs that were labelled again: their files have changed, or had failed.
        unwritten: labels of this run that brought no row: an earlier one stays, or none is wanted.
        updated: rows of earlier runs that got new tags, or new columns from their manifest.
        dropped, pruned: rows of earlier runs that went; see ``Resume``.
        absent: good rows that stay although their files cannot be seen now.
        unlisted: inputs that they lie below, and that are not there or cannot be listed; of some also why.
        errors: rows of earlier runs with errors that stay.
        strays: those of them that are of no input, and not there; ``stray`` names the first for ``forget``.
        out: where the rows are: if a run stops or fails they may be beside an older file. None: nowhere.
        spares: an older file of rows stays, since this run stopped, failed or could read nothing.
        partial: what lies beside a whole file of rows, where such a run puts its own.
        repeats: inputs that name a file again or, with ``by_content``, have the content of another one.
        other_columns: inputs that name a file again with other columns, which are left out.
        stages: the time that each stage has taken.

    Args:
        sources: the inputs.
        artifact: the model.
        backend: opened for the same artifact.
        options: which windows of a file are read.
        out: what ``output_from_text`` reads: a file, a folder of shards, stdout, or None to write nothing.
        by_content: label files of equal bytes once, and not only equal paths.
        retry_errors: label files again that were read and found bad in an earlier run.
        prune: remove the rows of files that are gone while their folder is there.
        forget: paths and URLs at and below which the rows of files are removed that are not there.
        rows_a_shard: for a folder.

    Raises:
        UsageError: an output that cannot be one, that is an input, or that is there and holds no rows.
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
        prune: bool = False,
        forget: Iterable[str] = (),
        rows_a_shard: int = 500,
    ) -> None:
        self._artifact, self._backend, self._options = artifact, backend, options
        self._prune, self._reasons, self._looks = prune, sources.reasons, Looks()
        self._arguments = frozenset(sources.arguments)
        self.stages = StageSeconds()
        self.resumed = self.replaced = self.updated = self.dropped = self.pruned = 0
        self.absent = self.errors = self.strays = self.unwritten = 0
        self.stray: str | None = None
        self.unlisted: list[str] = []
        self.out, self.spares = out, False
        self.partial: Path | None = None
        self._stop: threading.Event | None = None
        self._done, self._has_seen = 0, False  # inputs; one that is there and can be read
        with ExitStack() as stack:
            own = names_of_columns(artifact)
            output = output_from_text(out)
            output.refuse_arguments(sources.arguments)
            before = _carried_before(Path(output.path)) if output.kind is Kind.FOLDER else {}
            self._kept = frozenset(before)
            kinds = sources.columns
            names = carried_columns({name: name for name in kinds}, own, self._kept)
            # The folder's kinds hold: pandas gives a column another one with its first gap.
            sources.columns = {column: before.get(name, kinds[column]) for name, column in names.items()}
            carried = carried_columns(sources.columns, own, self._kept)
            carried |= {name: kind for name, kind in before.items() if is_index(name)}  # of older versions
            for model in reversed(artifact.further):
                carried = {**further_columns(model), **carried}
            shards = self._file = None
            # Before reading inputs: a second run, or a disk that takes nothing, must fail at once.
            info = run_info(artifact, backend.name, options, carried)
            if output.kind is Kind.FOLDER:
                shards = stack.enter_context(ShardFolder(output.path, info, rows_a_shard=rows_a_shard))
            elif output.kind is not Kind.NOTHING:
                self._file = stack.enter_context(RowFile(output.path, info, keeps=True))
            self._forgotten = Forgotten(forget, sources.songs_below)
            self._inputs = stack.enter_context(InputStore(sources))
            self.skipped, self.albums = sources.skipped, sources.albums
            self.skipped_suffixes = sources.skipped_suffixes
            output.refuse_inputs(lambda identity: self._inputs.named(identity, None, None) is not None)
            output.refuse_foreign()
            if shards:
                resume = Resume(
                    self._inputs, sources.arguments, own, retry_errors, prune, self._forgotten, self._kept
                )
                self._resume(shards, resume, sources.check)
            self.total = len(self._inputs)  # without those that rows stand in for
            if shards and not shards_in(shards.folder) and self._is_nothing_there(sources.arguments):
                named = ", ".join(argument + hint_of(argument) for argument in sources.arguments)
                raise MerError(f"no such file: {named}; no row was written")
            if not self.total + self.absent + self.pruned:
                arguments = ", ".join(sources.arguments)
                urls = "; of playlists no URLs are taken: list them in a .csv" if sources.skipped_urls else ""
                skipped = words_of_skipped(self.skipped, self.skipped_suffixes)
                if not self.skipped and all(map(os.path.isfile, sources.arguments)):
                    skipped = "a list without entries"  # songs that are named are no list, and have rows
                raise MerError(f"no audio in {arguments}: {skipped}{urls}")
            self.other_columns = self._inputs.other_columns
            self.repeats = self._inputs.repeats + (self._inputs.find_copies() if by_content else 0)
            self._shards = shards
            self._stack = stack.pop_all()

    def labels(self, stop: threading.Event | None = None) -> Iterator[SongLabel]:
        """Labels the inputs that have no row yet, writes their rows and yields the labels, in their order.

        Args:
            stop: once set, no more files are begun; those under way are finished for some seconds.

        Raises:
            MerError: a device, a process or a cluster fails, or a row cannot be written.
        """
        self._stop = stop
        self._read_tags(stop)
        yield from self._labels_of(self._inputs.pending)
        if not (stop and stop.is_set()) and any(self._inputs.to_label_themselves()):
            yield from self._labels_of(self._inputs.to_label_themselves)

    def _labels_of(self, items: Callable[[], Iterator[Item]]) -> Iterator[SongLabel]:
        firsts = (item.source.path for item in items() if item.same_as is None)
        labels = self._backend.label_files(firsts, self._artifact, self._options, self._stop, self.stages)
        for item, label in self._in_order(items(), labels):
            label = self._explained(item, label)
            began = time.process_time()
            self._write(item, label)
            self.stages.write += time.process_time() - began
            yield label

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        is_stopped = self._stop is not None and self._stop.is_set() and self._done < self.total
        is_whole = not (is_stopped or isinstance(error[1], Exception)) and (self._has_seen or not self.total)
        if self._file and not is_whole:
            self.spares = self._file.spare_older(beside=self._has_seen)
            if self.spares:
                self.out = str(self._file.partial) if self._has_seen else None
        self._stack.__exit__(*error)
        # Only now, and not by Path.exists, which fails where that name is too long: the rows have theirs.
        if self._file and is_whole and os.path.exists(self._file.partial):
            self.partial = self._file.partial

    def _is_nothing_there(self, arguments: Iterable[str]) -> bool:
        """Whether nothing that was named can be seen. Such a run begins no folder.

        The rows of names that were mistyped would stand there for good: no later run names them.
        """
        return not (self.pruned or any(map(os.path.lexists, arguments))) and all(
            is_absent(item.source) for item in self._inputs.pending()
        )

    def _resume(self, shards: ShardFolder, resume: Resume, check: Callable[[], None]) -> None:
        with self._inputs.at_once():
            shards.resume(resume, check)
        self.resumed = self._inputs.done()
        self.absent, self.errors, self.updated = resume.absent, resume.errors, resume.updated
        self.dropped, self.pruned = resume.dropped, resume.pruned
        self.strays, self.stray = resume.strays, resume.stray
        self.unlisted = [
            f"{path}: {self._reasons[path]}" if path in self._reasons else path
            for path in sorted(resume.unlisted)
        ]

    def _read_tags(self, stop: threading.Event | None) -> None:
        """Reads the tags of files anew that were touched and have their size and time still.

        One that is another song by its tags is labelled: it was put in the place of the first.
        """
        all_tags = read_tags((item.source.path for item in self._inputs.to_tag()), self._options, stop)
        for item, tags in zip(self._inputs.to_tag(), all_tags, strict=False):  # they end where it is stopped
            if stop is not None and stop.is_set():
                return
            if isinstance(tags, Failure):  # the row stays as it is
                self.absent += tags.unreadable
            elif item.place and song_from_tags(tags) != self._inputs.kept(item.position):
                self._inputs.take(item.position, item.place, item.row_ok, Step.LABEL)
                self.resumed -= 1
            elif self._shards:
                row = {**dict.fromkeys(TAGS), **tags, "ctime_ns": item.source.ctime_ns}
                self._shards.write(row, item.place)
                self.updated += 1

    def _explained(self, item: Item, label: SongLabel) -> SongLabel:
        """With what was meant, or why a folder or URL cannot be listed: opening or fetching may say less."""
        is_asked = label.path in self._arguments and "(--timeout)" not in (label.error or "")
        if label.unreadable and is_asked and (hint := hint_of(label.path)):
            return replace(label, error=f"{label.error}{hint}")
        reason = self._reasons.get(item.source.real_path or "")
        if not label.unreadable or reason in (None, NO_FOLDER) or reason in (label.error or ""):
            return label
        return replace(label, error=f"cannot be listed: {reason}")

    def _goes(self, identity: str) -> bool:
        """Whether an input that cannot be read gets no row.

        Below a URL that cannot be listed it gets one: the run is under way, and an error here would end it.
        """
        if self._prune and self._looks.is_gone(identity):
            return True
        try:
            return self._forgotten.has(identity, ok=False)
        except MerError:
            return False

    def _write(self, item: Item, label: SongLabel) -> None:
        self._done += 1
        self._has_seen |= not label.unreadable
        if item.place and label.unreadable:  # the file went away since it was listed
            self.unwritten += 1
            self.absent += item.row_ok
            if self._shards and not item.row_ok:
                self._shards.write({"real_path": item.source.real_path}, item.place)
            return
        if label.unreadable and self._goes(item.source.real_path or ""):
            self.unwritten += 1
            return
        row = (
            row_from_label(label, self._artifact, item.source, self._backend.name, self._kept)
            if self._shards or self._file
            else {}
        )
        if self._shards:
            self._shards.write(row, item.place)
            self.replaced += item.place is not None
        elif self._file:
            self._file.write(row)

    def _in_order(
        self, items: Iterator[Item], labels: Iterator[SongLabel]
    ) -> Iterator[tuple[Item, SongLabel]]:
        """Each input with its label. Inputs of equal content share the label of the first one.

        If that one went away, which says nothing of them, they are to be labelled themselves.
        """
        for item in items:
            if item.same_as is not None:
                label = label_from_json(self._inputs.kept(item.same_as), item.source.path)
                if label.unreadable:
                    self._inputs.label_itself(item.position)
                    continue
            else:
                label = next(labels, None)
                if label is None:  # stopped
                    return
                if label.path != item.source.path:  # stopped before this input: what follows is there
                    yield from self._by_path(label, labels)
                    return
                if item.repeated:
                    self._inputs.keep(item.position, label.to_json())
            yield item, label

    def _by_path(self, first: SongLabel, others: Iterator[SongLabel]) -> Iterator[tuple[Item, SongLabel]]:
        for label in chain([first], others):
            # Of inputs without a path nothing tells which one this is: the next run gives them their rows.
            if label.path and (item := self._inputs.spelt(label.path)):
                yield item, label


def _carried_before(folder: Path) -> dict[str, str]:
    """The columns that the rows of a folder carry, by their names there, with their kinds."""
    return ((fields_of_folder(folder) if folder.is_dir() else None) or {}).get("carried") or {}
