"""Music without labels: a folder, or a CSV file of paths, perhaps with artists."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...engine.arrays import Float32
from ...engine.data.artists import ARTIST_COLUMNS
from ...engine.data.cleaning import comparison_key
from ...engine.data.clip import id_or_none
from ...engine.data.clip_table import ClipTable, Row, read_clip_table
from ...engine.data.distinct import OWN_GROUP, distinct_clips
from ...engine.data.folders import audio_below, name_below
from ...engine.data.label_folders import TABLE
from ...engine.data.labelled_audio import Clip, path_from_cell
from ...engine.data.notes import Notes
from ...engine.errors import MerError
from ...engine.spec import AudioSpec
from ..data.examples import Examples
from ..data.near_copies import near_copies
from ..data.on_demand import OnDemand, joined
from ..data.spectrogram_cache import ClipSound
from ..data.splits import Split
from ..data.touched import Touched, touched_groups


@dataclass(frozen=True)
class Unlabelled:
    """Clips without a label that are none of the labelled ones.

    Attributes:
        decibels: their spectrograms ``[mels, frames]``.
        touched: see ``touched_groups``.
    """

    clips: tuple[Clip, ...] = ()
    decibels: Sequence[Float32] = ()
    touched: Touched = ()

    def usable(self, examples: Examples, split: Split) -> list[int]:
        """Positions of the clips that share no group, artist or recording with what the split holds out."""
        return self._apart([examples.clips[i] for part in (split.validation, split.test) for i in part])

    def strangers(self, examples: Examples) -> list[int]:
        """Positions of the clips that share none of these with any labelled clip."""
        return self._apart(examples.clips)

    def _apart(self, clips: Sequence[Clip]) -> list[int]:
        groups = {clip.group for clip in clips}
        return [i for i, touched in enumerate(self.touched) if touched.isdisjoint(groups)]


def unlabelled_clips(
    sources: Sequence[Path], group_by: str | None = None
) -> tuple[tuple[Clip, ...], tuple[str, ...]]:
    """The distinct clips of folders, with all below them, and of CSV files, and notes on how they were read.

    Artists are those of a CSV file's column ``artist`` or ``group``, and of tables that lie with a folder:
    ``clips.csv`` in it or in a folder in it, and ``NAME.csv`` beside the folder NAME. Labels are not read.

    Args:
        group_by: the column that groups the labelled clips, and these where their tables have it; None for
            artists.

    Raises:
        MerError: a source that cannot be read, or holds no audio.
    """
    notes = Notes()
    clips: list[Clip] = []
    for source in sources:
        if not os.path.exists(source):
            raise MerError(f"{source} does not exist")
        read = _from_folder if source.is_dir() else _from_csv
        found = list(read(source, group_by and comparison_key(group_by)))
        if not found:
            raise MerError(f"{source} holds no audio")
        clips += found
    kept = distinct_clips(clips, notes)
    alone = sum(clip.group.startswith(OWN_GROUP) for clip in kept)
    if alone:
        notes.add(f"no {group_by or 'artist'} is known of clips without a label", f"{alone} of {len(kept)}")
    return kept, notes.lines()


def apart_from(
    examples: Examples,
    labelled: Sequence[Clip],
    clips: Sequence[Clip],
    sounds: Sequence[ClipSound | MerError],
    spec: AudioSpec,
) -> tuple[Unlabelled, str]:
    """The clips that are none of the labelled ones, what they have in common with those, and what to say.

    Args:
        labelled: the clips of ``examples`` as the data has them, before copies joined their groups.
        sounds: those of ``clips``; those that labelling refuses are left out.

    Raises:
        MerError: it refuses all of them.
    """
    known = {clip.id for clip in labelled if id_or_none(clip)}
    heard = [(clip, sound) for clip, sound in zip(clips, sounds, strict=True) if isinstance(sound, ClipSound)]
    refused = [
        f"{clip.name}: {sound}"
        for clip, sound in zip(clips, sounds, strict=True)
        if isinstance(sound, MerError)
    ]
    if refused and not heard:
        raise MerError(f"none of {len(clips)} clips without a label can be used; the first: {refused[0]}")
    new = [(clip, sound) for clip, sound in heard if clip.id not in known]
    note = f"; {len(new)} clips without a label" if clips else ""
    for count, why in (
        (len(refused), f"labelling refuses (the first: {refused[0]})" if refused else ""),
        (len(heard) - len(new), "are labelled clips"),
    ):
        note += f", {count} left out that {why}" if count else ""
    music, decibels = tuple(clip for clip, _ in new), OnDemand(sound.decibels for _, sound in new)
    equal = [clip for clip, _ in heard if clip.id in known]  # not heard twice; they tell of their artists
    songs = {clip.id: song for song, clip in enumerate(examples.readable)}
    same = [(songs[clip.id], number) for number, clip in enumerate(equal, len(music)) if clip.id in songs]
    if music:
        count, together = len(examples.readable), joined(examples.sounds, decibels)
        pairs = near_copies(together, spec.hop_length / spec.sample_rate)
        same += [(first, second - count) for first, second in pairs if first < count <= second]
    paths = {clip.path for clip in examples.readable}
    before = [clip for clip in labelled if clip.path in paths]
    touched = touched_groups(before, examples.readable, (*music, *equal), same)
    return Unlabelled(music, decibels, touched[: len(music)]), note


def _from_csv(file: Path, group_by: str | None) -> Iterator[Clip]:
    table = _table(file, ["path"], group_by)
    for row in table.rows:
        if row["path"].strip():
            yield _clip(path_from_cell(row["path"], file), file.parent, table, row)


def _from_folder(root: Path, group_by: str | None) -> Iterator[Clip]:
    if root.name in ("", ".."):  # what lies beside it goes by its name
        root = root.resolve()
    paths = audio_below(root, root, Notes())
    below: dict[Path, list[Path]] = defaultdict(list, {root: paths})
    for path in paths:
        if path.parent != root:
            below[root / path.relative_to(root).parts[0]].append(path)
    said: dict[Path, list[Clip]] = {}
    taken: set[tuple[Path, int]] = set()  # the lines of tables that name files of the folder of their name
    for folder, table in _tables_of(root, sorted(below.keys() - {root}), group_by):
        free = {number for number in range(len(table.rows)) if (table.file, number) not in taken}
        inside = [path for path in below[folder] if path not in said] if free else []
        for path, numbers in zip(inside, table.rows_of(inside), strict=True):
            named = (table.rows[number] for number in numbers if number in free)
            rows = [row for row in named if table.group(row) or table.artists(row)]
            folders = {comparison_key(part) for part in path.relative_to(folder).parts}
            fitting = [row for row in rows if table.is_under(row, folders)]
            if rows:  # whose labels may be other words than the folders'
                said[path] = [_clip(path, root, table, row) for row in fitting or rows]
            if folder != root:
                taken.update((table.file, number) for number in numbers)
    for path in paths:
        yield from said.get(path) or [Clip(path, "", "", name=name_below(path, root))]


def _tables_of(root: Path, folders: Sequence[Path], group_by: str | None) -> list[tuple[Path, ClipTable]]:
    """Folders and the tables that speak of what lies in them.

    Those with the column ``group_by`` are first, of these the most particular. A table with the name of a
    folder comes twice: what it says of no file in there may be of others below ``root``.
    """
    named = [(folder, root / f"{folder.name}.csv") for folder in folders if f"{folder.name}.csv" != TABLE]
    places = [*((folder, folder / TABLE) for folder in folders), *named]
    places += [(root, root / TABLE), (root, root.parent / f"{root.name}.csv")]
    places += [(root, file) for _, file in named]
    files = {file for _, file in places if os.path.isfile(file)}
    tables = {file: _table(file, ["clip", "path"], group_by) for file in sorted(files)}
    found = [(folder, tables[file]) for folder, file in places if file in tables]
    return sorted(found, key=lambda place: group_by not in place[1].columns)


def _table(file: Path, needed: Sequence[str], group_by: str | None) -> ClipTable:
    """Grouped by the column where it has that; else by nothing, unless artists will do."""
    table = read_clip_table(file, [needed])
    if group_by in table.columns:
        return dataclasses.replace(table, grouped_by=(group_by,))
    return table if group_by in (None, *ARTIST_COLUMNS) else dataclasses.replace(table, grouped_by=())


def _clip(path: Path, base: Path, table: ClipTable, row: Row) -> Clip:
    """With its name below ``base``, and what a row says of it."""
    clip = Clip(path, "", table.group(row), name=name_below(path, base))
    return dataclasses.replace(clip, artists=table.artists(row), by_artist=table.by_artist)
