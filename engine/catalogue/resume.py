"""One pass over the rows of earlier runs: which stay, change or go, and which inputs have theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..audio.formats import is_remote
from ..text.escape import path_from_text, text_from_path
from .capitals import folded
from .input_store import InputStore
from .reconcile import (
    AUDIO,
    UNREADABLE,
    Forgotten,
    Looks,
    RealPaths,
    Row,
    Step,
    has_changed,
    is_absent,
    paths_from_text,
    row_from_record,
    song_from_tags,
    step,
)
from .rows import carried_columns, stored
from .scope import Scope
from .source import Item, Place, Source, labels_came_along


class Resume:
    """Takes the rows of a folder one after the other, and marks their inputs in the store.

    Attributes:
        absent: good rows whose files cannot be seen now.
        unlisted: inputs that are not there or cannot be listed, while rows of what is below them are good.
        errors: rows with errors that stay.
        strays: those of them that are of no input, and not there; ``stray`` is the first, by its identity.
        pruned: rows that went, since their files are gone.
        dropped: other rows that went: a second row of a file, or the error of what is a folder or list now.
        updated: rows whose manifest has other columns now.
        superseded: errors of files of which a later row is good; they are to go at the end.
        waiting: rows that an input in another normal form gets, unless a later row is its own.

    Args:
        arguments: of the run, as they were typed.
        own: what ``names_of_columns`` gives.
        retry_errors: try files again that were read and found bad.
        prune: let the rows of files go that are gone while their folder is there.
        forgotten: files that are not there, and whose rows go.
        kept: as in ``carried_columns``.
    """

    def __init__(
        self,
        inputs: InputStore,
        arguments: Iterable[str] = (),
        own: frozenset[str] = frozenset(),
        retry_errors: bool = False,
        prune: bool = False,
        forgotten: Forgotten | None = None,
        kept: frozenset[str] = frozenset(),
    ) -> None:
        self.absent = self.errors = self.strays = self.pruned = self.dropped = self.updated = 0
        self.stray: str | None = None
        self._inputs, self._own, self._kept = inputs, own, kept
        self._retry_errors, self._prune = retry_errors, prune
        self._forgotten = forgotten or Forgotten()
        self.superseded: list[Place] = []
        self.waiting: list[Place] = []
        self._real_paths, self._looks = RealPaths(), Looks()
        self._arguments = arguments
        self._known_scope: Scope | None = None
        self.unlisted: set[str] = set()  # folders, patterns and URLs: inputs that have rows below them

    def take(
        self, record: Mapping[str, Any], place: Place, shard: Path, is_second: bool = False
    ) -> dict[str, Any] | None:
        """The columns of a row that change, or None: the row goes.

        Args:
            record: the row as shards hold it; the label is not needed.
            place: where the row is when it stays.
            shard: the file that holds it.
            is_second: all rows were taken, and this one was left ``waiting``.
        """
        row = row_from_record(record)
        identity = text_from_path(self._real_paths.of(path_from_text(row.real_path or row.path)))
        item, changes = self._inputs.named(identity, row.size_bytes, row.mtime_ns), {}
        if item is None:
            item, changes = self._spelt_alike(row, identity, shard)
        if item is None and not changes and (item := self._in_other_form(row, identity)):
            if not is_second:
                self.waiting.append(place)
                return {}
            changes = {"path": text_from_path(item.source.path)}
        if item is None and (item := self._read_as(row, identity)):
            changes = {}
        if item is None:
            if not self._stays_unnamed(row, identity):
                return None
            if row.real_path is None and self._looks.is_file(identity):  # if not, it was another folder's
                changes["real_path"] = identity
        else:
            if item.place:
                if not row.ok or item.row_ok:
                    self.dropped += 1
                    return None
                self.superseded.append(item.place)
                self.errors -= item.done
            if is_absent(item.source) and self._goes(row, identity):
                return None
            changes |= self._match(row, item, identity, place, record)
            own = text_from_path(item.source.path)
            if own != row.path and (other := self._spelt(row.path)) and other.position != item.position:
                changes["path"] = own  # that path is another input's now
        if not row.ok:
            changes["error_kind"] = UNREADABLE if row.unreadable else AUDIO
        return _different(changes, record)

    def _match(
        self, row: Row, item: Item, identity: str, place: Place, record: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Gives an input its row; returns what the row is to say, apart from its label."""
        todo = step(row, item.source, self._retry_errors)
        if todo is Step.TAGS and song_from_tags(record) == song_from_tags({}):
            todo = Step.LABEL  # its tags cannot tell whether another song was put in its place
        self._inputs.take(item.position, place, row.ok, todo)
        if todo is Step.TAGS:
            self._inputs.keep(item.position, song_from_tags(record))
        self.errors += todo is Step.KEEP and not row.ok
        if todo is Step.ABSENT:
            self.absent += 1
            if holder := self._holder(row, identity):
                self._speaks_for(holder)
        given = item.source.columns
        columns = stored(carried_columns(given, self._own, self._kept)) if given else {}
        self.updated += bool(_different(columns, record))
        return {**columns, **self._facts(row, item.source, identity, todo)}

    def _facts(self, row: Row, now: Source, identity: str, todo: Step) -> dict[str, Any]:
        if todo is Step.LABEL and not row.ok and row.real_path is not None:
            return {}  # its file may have a good row further on: a run that is killed must not leave it two
        if is_absent(now):
            return {"real_path": identity}
        facts: dict[str, Any] = {"real_path": now.real_path}
        if todo in (Step.KEEP, Step.TAGS) and not is_remote(now.path):
            facts["mtime_ns"] = now.mtime_ns  # the file's or the row's may be rounded
        if todo is Step.KEEP and row.ctime_ns is None:
            facts["ctime_ns"] = now.ctime_ns
        return facts

    def _spelt_alike(self, row: Row, identity: str, shard: Path) -> tuple[Item | None, dict[str, Any]]:
        """The input of the row's path, where that leads elsewhere than it did, if it is the row's file.

        It is where the path cannot be followed now, or where everything was moved: the same size and time
        at the same path, and nothing in the old place; or the labels were copied with the music, whatever
        the copy's sizes and times. If not, the row gives up that path.
        """
        item = self._spelt(row.path)
        if item is None:
            return None, {}
        if not item.place:
            has_moved = not has_changed(row, item.source) and not self._looks.is_file(identity)
            if is_absent(item.source) or has_moved or _is_copied(row.path, identity, shard):
                return item, {}
        return None, {"path": identity}

    def _in_other_form(self, row: Row, identity: str) -> Item | None:
        """The input that has the row's size, time and name but for the normal form of its letters.

        A Mac, or a copy that was made over one, has "é" as two characters. Of a share that is away it is
        another file.
        """
        if identity.isascii() or is_remote(identity):
            return None
        item = self._inputs.in_other_form(identity, row.size_bytes, row.mtime_ns)
        if item is None or not self._looks.is_gone_above(identity):
            return None
        holder = self._holder(row, identity)
        return None if holder is not None and self._is_unlisted(holder) else item

    def _spelt(self, text: str) -> Item | None:
        """The input that was named by a row's path."""
        return next(filter(None, map(self._inputs.spelt, paths_from_text(text))), None)

    def _read_as(self, row: Row, identity: str) -> Item | None:
        """The input of a list's line that was read in another way when the row was made, or is so now.

        Which way is right is seen only while the file is there.
        """
        item = self._inputs.read_as(identity)
        return item if item and (is_absent(item.source) if row.ok else row.unreadable) else None

    def _holder(self, row: Row, identity: str) -> str | None:
        """The argument that a row's file lies below.

        One that is away is known as it was typed, and rows may have the capitals that its disk listed.
        """
        holder = self._scope.holding(identity)
        if holder is None and row.path != identity and folded(row.path) == folded(identity):
            holder = self._scope.holding(row.path)
        return holder

    def _stays_unnamed(self, row: Row, identity: str) -> bool:
        """Whether a row stays whose file is no input of this run."""
        if self._goes(row, identity):
            return False
        holder = self._holder(row, identity)
        if not row.ok:
            if self._is_over(row, identity, holder):
                self.dropped += 1
                return False
            self.errors += 1
            is_url = is_remote(identity)
            if is_url or not (self._looks.is_file(identity) or self._looks.is_folder(identity)):
                self.strays += 1
                self.stray = self.stray or (row.path if is_url else identity)
        elif holder is not None:
            unseen = self._speaks_for(holder) or is_remote(identity) or not self._looks.is_file(identity)
            self.absent += unseen
        return True

    def _goes(self, row: Row, identity: str) -> bool:
        """Whether a row goes: its file is gone, or was one and a folder stands there now, or is forgotten."""
        was_file, looks = row.size_bytes is not None, self._looks
        pruned = self._prune and (
            looks.is_gone(identity)
            or (was_file and looks.is_folder(identity) and not looks.is_file(identity))
        )
        gone = pruned or self._forgotten.has(identity, row.ok)
        self.pruned += gone
        return gone

    def _is_over(self, row: Row, identity: str, holder: str | None) -> bool:
        """Whether an error is that of a list or folder that is read now, or of what a listing is without."""
        is_url, is_folder = is_remote(identity), self._looks.is_folder(identity)
        named = self._scope.names(identity) or identity in self.unlisted
        # What is named, is there and is no input is a list or a folder.
        if named and (row.unreadable or is_url or is_folder or self._looks.is_file(identity)):
            return True
        if holder is None or not is_url:
            return is_folder and holder is not None
        # A URL that cannot be listed is an input, and holds what lies below it: another one was listed. What
        # ends in a slash is a folder, which was no audio if its listing failed and its page could be fetched.
        return (row.unreadable or row.path.endswith("/")) and not self._is_unlisted(holder)

    @property
    def _scope(self) -> Scope:
        if self._known_scope is None:
            self._known_scope = Scope(self._arguments, self._real_paths, self._is_unlisted)
        return self._known_scope

    def _speaks_for(self, holder: str) -> bool:
        """Whether a good row stands in for the absent input that it lies below, which then gets no row."""
        unlisted = self._is_unlisted(holder)
        if unlisted and holder not in self.unlisted:
            self.unlisted.add(holder)
            item = self._inputs.named(holder, None, None)
            if item and item.place and not item.row_ok:  # the error of an earlier run goes too
                self.superseded.append(item.place)
                self.errors -= item.done
            self._inputs.leave_out(holder)
        return unlisted

    def _is_unlisted(self, identity: str) -> bool:
        return identity in self.unlisted or self._inputs.is_absent_input(identity)


def _is_copied(typed: str, identity: str, shard: Path) -> bool:
    """Whether labels are those of a copy of a row's file."""
    return any(labels_came_along(shard, typed, path) for path in paths_from_text(identity))


def _different(values: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a row does not have yet."""
    return {name: value for name, value in values.items() if not _equal(value, record.get(name))}


def _equal(one: Any, other: Any) -> bool:
    return one == other or (one != one and other != other)  # NaN too
