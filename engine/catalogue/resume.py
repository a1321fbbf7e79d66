"""One pass over the rows of earlier runs: which stay, change or go, and which inputs have theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..audio.formats import is_remote
from ..text.escape import text_from_path
from .input_store import InputStore, Place, Stored
from .reconcile import (
    AUDIO,
    UNREADABLE,
    Looks,
    RealPaths,
    Row,
    Step,
    has_changed,
    is_absent,
    row_from_record,
    step,
)
from .rows import carried_columns
from .scope import Scope


class Resume:
    """Takes the rows of a folder one after the other, and marks their inputs in the store.

    Attributes:
        absent: good rows whose files cannot be seen now.
        errors: rows with errors that stay.
        pruned: rows that went, since their files are gone.
        dropped: other rows that went: a second row of a file, or the error of what is a folder or list now.
        updated: rows whose manifest has other columns now.

    Args:
        arguments: of the run, as they were typed.
        labels: the model's.
        retry_errors: try files again that were read and found bad.
        prune: let the rows of files go that are gone while their folder is there.
    """

    def __init__(
        self,
        inputs: InputStore,
        arguments: Iterable[str] = (),
        labels: tuple[str, ...] = (),
        retry_errors: bool = False,
        prune: bool = False,
    ) -> None:
        self.absent = self.errors = self.pruned = self.dropped = self.updated = 0
        self._inputs, self._labels = inputs, labels
        self._retry_errors, self._prune = retry_errors, prune
        self._real_paths, self._looks = RealPaths(), Looks()
        self._arguments = arguments
        self._known_scope: Scope | None = None
        self._unlisted: set[str] = set()  # folders, patterns and URLs: inputs that have rows below them

    def take(self, record: Mapping[str, Any], place: Place) -> dict[str, Any] | None:
        """The columns of a row that change, or None: the row goes.

        Args:
            record: the row as shards hold it; the label is not needed.
            place: where the row is when it stays.
        """
        row = row_from_record(record)
        changes: dict[str, Any] = {}
        if not row.ok and record.get("error_kind") is None:
            changes["error_kind"] = UNREADABLE if row.unreadable else AUDIO
        identity = text_from_path(self._real_paths.of(row.real_path or row.path))
        item = self._inputs.named(identity, row.size_bytes, row.mtime_ns)
        if item is None:
            item = self._spelt_alike(row, identity, changes)
        if item is None:
            if row.real_path or self._looks.is_file(identity):  # or else it was named from another folder
                changes["real_path"] = identity
            return _different(changes, record) if self._stays_unnamed(row, identity) else None
        if item.taken:
            return _different(changes, record) if self._stays_second(row, item) else None
        return self._named(row, item, place, record, changes)

    def _named(
        self, row: Row, item: Stored, place: Place, record: Mapping[str, Any], changes: dict[str, Any]
    ) -> dict[str, Any] | None:
        """A row whose file is an input that has no other row."""
        absent = is_absent(item.source)
        if self._prune and absent and self._looks.is_gone(item.source.real_path or ""):
            self.pruned += 1
            return None
        todo = step(row, item.source, self._retry_errors)
        self.absent += todo is Step.ABSENT
        self.errors += todo is Step.KEEP and not row.ok
        changes.update(self._facts(row, item, todo))
        columns = _different(carried_columns(item.source.columns, self._labels), record)
        self.updated += bool(columns)
        self._inputs.take(item.position, place, row.ok, todo)
        return {**_different(changes, record), **columns}

    def _facts(self, row: Row, item: Stored, todo: Step) -> dict[str, Any]:
        """What the row is to say of its file, apart from its label."""
        if todo is Step.ABSENT or is_absent(item.source):  # links cannot be followed through what is absent
            return {"real_path": row.real_path or item.source.real_path}
        facts: dict[str, Any] = {"real_path": item.source.real_path}
        if todo is Step.KEEP and row.ctime_ns is None:
            facts["ctime_ns"] = item.source.ctime_ns
        if is_remote(item.source.path) and row.size_bytes is None:
            facts.update(size_bytes=item.source.size_bytes, mtime_ns=item.source.mtime_ns)
        return facts

    def _spelt_alike(self, row: Row, identity: str, changes: dict[str, Any]) -> Stored | None:
        """The input of the row's path, where that leads elsewhere than it did, if it is the row's file.

        It is where the path cannot be followed now, or where everything was moved: the same size and time
        at the same path, and nothing in the old place. If not, the row gives up that path.
        """
        item = self._inputs.spelt(row.path)
        if item is None:
            return None
        if not item.taken:
            if is_absent(item.source):
                return item
            if not has_changed(row, item.source) and not self._looks.is_file(identity):
                return item
        changes["path"] = identity
        return None

    def _stays_second(self, row: Row, item: Stored) -> bool:
        """Whether a second row of a file stays: only a good one beside one that is not."""
        if row.ok and not item.row_ok:
            return True
        self.dropped += 1
        return False

    def _stays_unnamed(self, row: Row, identity: str) -> bool:
        """Whether a row stays whose file is no input of this run."""
        if self._prune and self._looks.is_gone(identity):
            self.pruned += 1
            return False
        holder = self._scope.holding(identity)
        if not row.ok:
            named = self._scope.names(identity)
            if row.unreadable and (named or (holder is not None and self._looks.is_folder(identity))):
                self.dropped += 1  # a folder or a list that can be read now
                return False
            self.errors += 1
        elif holder is not None:
            unlisted = self._is_unlisted(holder)
            if unlisted and holder not in self._unlisted:
                self._unlisted.add(holder)
                self._inputs.leave_out(holder)  # the rows below it are its own
            self.absent += unlisted or is_remote(identity) or not self._looks.is_file(identity)
        return True

    @property
    def _scope(self) -> Scope:
        if self._known_scope is None:
            self._known_scope = Scope(self._arguments, self._real_paths, self._is_unlisted)
        return self._known_scope

    def _is_unlisted(self, identity: str) -> bool:
        return identity in self._unlisted or self._inputs.is_absent_input(identity)


def _different(values: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a row does not have yet."""
    return {name: value for name, value in values.items() if not _equal(value, record.get(name))}


def _equal(one: Any, other: Any) -> bool:
    return one == other or (one != one and other != other)  # NaN too
