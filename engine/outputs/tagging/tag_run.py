"""Goes over the songs of a folder of labels and writes their moods into their files, or only says so."""

from __future__ import annotations

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO

from ...audio.tags.written import tags_from_file
from ...catalogue.reconcile import RealPaths
from ...catalogue.shard_facts import store_facts
from ...errors import MerError
from ...files import Disk
from ...text.escape import text_from_path
from ..songs import Found, Song, find, is_sure, songs_in
from .differences import bytes_from_pieces, pieces_from_files
from .kinds import NoPlaceError
from .moods import MOOD, is_mood_ours, read_moods, require_mutagen, values_of, write_moods
from .older import hidden_names, shown_texts
from .others import other_blocks, other_entries
from .replacement import check_writable, replacement
from .rest import check_rest
from .sound import sound_digest
from .undo_file import Facts, Record, UndoFile
from .writing import writing

_CHUNK = 1 << 20


class Outcome(Enum):
    """What became of a song; the value is what a number of them is called by."""

    WRITTEN = "tagged"
    SAME = "tagged already"
    REMOVED = "with an earlier mood that these labels do not say"
    OTHERS = "with a mood that mer-label did not write"
    UNSURE = "not sure enough"
    NO_LABEL = "without a label"
    NO_PLACE = "in a format without a place for a mood"
    REMOTE = "on another machine"
    MISSING = "not there now"
    CHANGED = "changed after labelling"
    EARLIER = "with an earlier change still"
    FAILED = "failed"


@dataclass(frozen=True)
class Tagged:
    """A song's file, what became of it, its mood before and after, and why it failed."""

    path: str
    outcome: Outcome
    before: str | None = None
    after: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class TagOptions:
    """``write``: change files. ``unsure``, ``min_confidence``: as ``is_sure``. ``replace``: moods of others
    too. ``touch``: files get the time of now, for players that read what has a new time only. ``model``: as
    ``songs_in``.
    """

    write: bool = False
    unsure: bool = False
    min_confidence: float = 0.0
    replace: bool = False
    touch: bool = False
    model: str | None = None


def tag_songs(
    folder: Path,
    options: TagOptions,
    is_stopped: Callable[[], bool] = lambda: False,
    disk: Disk | None = None,
) -> Generator[Tagged, None, None]:
    """What becomes of each song of a folder of labels, in order, as soon as it has.

    The rows get the new sizes and times of their files, so that a later run does not label these again.

    Raises:
        MerError: mutagen is missing; ``folder`` is no folder of labels, is in use, or cannot be written.
    """
    require_mutagen()
    labels, songs = songs_in(folder, options.model)
    disk = disk or Disk()
    if not options.write:
        tagger = _Tagger(labels, options, _sizes_known(UndoFile(folder)), None, disk)
        for song in songs:
            if is_stopped():
                return
            yield tagger.tagged(song)[0]
        return
    with writing(folder, disk) as undo:
        tagger = _Tagger(labels, options, _sizes_known(undo), undo, disk)
        facts: dict[int, os.stat_result] = {}
        shard: Path | None = None
        try:
            for song in songs:
                if is_stopped():
                    return
                if shard is not None and song.shard != shard:
                    store_facts(shard, facts, disk)
                    facts.clear()
                shard = song.shard
                tagged, status = tagger.tagged(song)
                if status is not None:
                    facts[song.number] = status
                yield tagged
        finally:
            if shard is not None:
                store_facts(shard, facts, disk)


def digest_of(file: IO[bytes], out: IO[bytes] | None = None) -> str:
    """The SHA-256 of a file from its beginning, which is copied to ``out``."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        if out is not None:
            out.write(chunk)
    return digest.hexdigest()


def _sizes_known(undo: UndoFile) -> dict[str, set[tuple[int, int]]]:
    """The sizes and times that files had or got: a kill may have left their rows behind. By real path."""
    sizes: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for _, record in undo.records():
        sizes[record.path] |= {(facts.size, facts.mtime_ns) for facts in (record.before, record.after)}
    return sizes


class _Tagger:
    """Tags one song after the other; without ``undo`` it writes nothing."""

    def __init__(
        self,
        labels: tuple[str, ...],
        options: TagOptions,
        known: dict[str, set[tuple[int, int]]],
        undo: UndoFile | None,
        disk: Disk,
    ) -> None:
        self._labels, self._options, self._known = labels, options, known
        self._undo, self._disk, self._real_paths = undo, disk, RealPaths()

    def tagged(self, song: Song) -> tuple[Tagged, os.stat_result | None]:
        """What became of a song, and what its row is to say of its file, where that is not what it says."""
        if song.emotion is None or not song.shares:
            return self._without(song, Outcome.NO_LABEL)
        if not is_sure(song, self._options.min_confidence, self._options.unsure):
            return self._without(song, Outcome.UNSURE)
        found, path, real, left_behind = self._found(song)
        if found is not Found.SAME and not left_behind:
            return Tagged(path, _LOST[found]), None
        values = values_of(song.emotion, self._labels, song.shares)
        before = None
        try:
            moods = read_moods(real)
            before = moods.get(MOOD)
            if moods == values:
                return Tagged(path, Outcome.SAME, before, before), os.stat(real) if left_behind else None
            if before and not is_mood_ours(moods) and not self._options.replace:
                return Tagged(path, Outcome.OTHERS, before, before), None
            self._write(Path(real), values)
            return Tagged(path, Outcome.WRITTEN, before, song.emotion), self._undo and os.stat(real)
        except NoPlaceError:
            return Tagged(path, Outcome.NO_PLACE), None
        except (MerError, OSError) as error:
            return _failed(path, before, error), None

    def _without(self, song: Song, why: Outcome) -> tuple[Tagged, os.stat_result | None]:
        """A song that gets no mood: one that was written here goes, unless these labels say the same."""
        alone = Tagged(song.path, why), None
        if song.verdict is None and song.emotion is None:  # an error says nothing of the song
            return alone
        found, path, real, left_behind = self._found(song)
        if found is not Found.SAME and not left_behind:
            return alone
        try:
            moods = read_moods(real)
            told = os.stat(real) if left_behind else None
        except (MerError, OSError):
            return alone
        says = values_of(song.emotion, self._labels, song.shares) if song.emotion and song.shares else {}
        if not is_mood_ours(moods) or moods == says:
            return Tagged(song.path, why), told
        before = moods.get(MOOD)
        try:
            self._write(Path(real), {})
            return Tagged(path, Outcome.REMOVED, before), self._undo and os.stat(real)
        except (MerError, OSError) as error:
            return _failed(path, before, error), told

    def _found(self, song: Song) -> tuple[Found, str, str, bool]:
        """As ``find``, the real path, and whether a kill kept the row from being told of its file."""
        found, path = find(song)
        real = self._real_paths.of(path)
        left_behind = False
        if found is Found.CHANGED:
            try:
                now = os.stat(real)
            except OSError:  # it went just now
                return Found.MISSING, path, real, False
            left_behind = (now.st_size, now.st_mtime_ns) in self._known.get(text_from_path(real), ())
        return found, path, real, left_behind

    def _write(self, path: Path, values: dict[str, str]) -> None:
        """Gives a file its mood, or, without an undo file, only sees that it may be written.

        Raises:
            MerError, OSError: it stays as it was.
        """
        undo = self._undo
        check_rest(path, values)
        if undo is None:
            check_writable(path)
            return
        touched = time.time_ns() if self._options.touch else None
        with replacement(path, touched, self._disk) as (file, before), path.open("rb") as old:
            mtime_ns = before.st_mtime_ns if touched is None else touched
            digest = digest_of(old, file)
            file.flush()
            copy = Path(file.name)
            sound, tags, others = sound_digest(copy), tags_from_file(copy), other_entries(copy)
            shown, blocks = shown_texts(copy), other_blocks(copy)
            added = write_moods(copy, values)
            if sound_digest(copy) != sound:
                raise MerError("its sound would not stay as it is")
            if tags.items() - tags_from_file(copy).items():
                raise MerError("its artist, title or album would not stay as they are")
            is_other = others and other_entries(copy) != [[*entries, *added] for entries in others]
            if is_other or other_blocks(copy) != blocks:
                raise MerError(
                    "its other tags would not stay as they are: save them anew with a tag editor first"
                )
            # Of WMA nothing else compares tags. Those that are taken over may be shown otherwise.
            if hidden := ", ".join(hidden_names(shown, shown_texts(copy), is_exact=not added)):
                raise MerError(f"players would no longer show its {hidden}: save its tags anew first")
            if read_moods(copy) != values:
                raise MerError("its mood cannot be read back")
            with copy.open("rb") as new:
                pieces = pieces_from_files(old, new)
                again = hashlib.sha256()
                for part in bytes_from_pieces(pieces, new):
                    again.update(part)
                if again.hexdigest() != digest:
                    raise MerError("it could not be restored")
                after = Facts(os.fstat(new.fileno()).st_size, mtime_ns, digest_of(new))
            text = text_from_path(str(path))
            undo.append(Record(text, Facts(before.st_size, before.st_mtime_ns, digest), after, pieces))


def _failed(path: str, before: str | None, error: MerError | OSError) -> Tagged:
    return Tagged(path, Outcome.FAILED, before, before, reason_of(error))


def reason_of(error: MerError | OSError) -> str:
    """Why a file failed, in a line without its name."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


_LOST = {Found.CHANGED: Outcome.CHANGED, Found.MISSING: Outcome.MISSING, Found.REMOTE: Outcome.REMOTE}
