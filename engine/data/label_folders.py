"""A folder for each label, perhaps with a table of the clips beside, or the parts of a split above."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import MerError, UsageError
from ..spec import MER500_LABELS, QUADRANTS
from .cleaning import check_labels, cleaned, comparison_key, part_from_name
from .clip import Clip, Part
from .clip_table import ClipTable, read_clip_table
from .folders import audio_below, folders_in, name_below
from .notes import Notes

FOLDERS: Mapping[str, Mapping[str, str]] = {
    "emotion4q": dict(zip(("q1", "q2", "q3", "q4"), QUADRANTS, strict=True)),
    "mer500": {label: label for label in MER500_LABELS},
    "jumusemodb": {"happy": "happy", "sad": "sad"},
}
"""The layouts with known folders: the label of each, in the order of a model's outputs."""

TABLE = "clips.csv"


class _Place(NamedTuple):
    """A label's folder, in one part of a split, and the table of its clips."""

    folder: Path
    part: Part
    table: ClipTable | None


class Reading(NamedTuple):
    """Clips, the layout that was recognised, its labels in order, and the column that groups the clips."""

    clips: list[Clip]
    layout: str
    labels: tuple[str, ...]
    grouped_by: str | None


def clips_from_folders(root: Path, layout: str, group_by: str | None, notes: Notes) -> Reading:
    """Clips in the order of their folders; a clip that a table lists several times comes as often.

    Raises:
        UsageError: no column ``group_by``.
        MerError: no label folders, folders that can be read in two ways, or that cannot be read.
    """
    places = _places(root, layout, group_by, notes)
    check_labels([place.folder.name for place in places], root, notes)
    tables = {place.table.file: place.table for place in places if place.table}
    if group_by is not None and not tables:
        raise UsageError(f"{root} has no {TABLE}, whose column {group_by!r} could group the clips")
    keys = {comparison_key(place.folder.name) for place in places}
    if layout == "auto":  # recognised whole, or not at all: a folder must not vanish
        known = (name for name, folders in FOLDERS.items() if keys == {*folders})
        layout = next((name for name in known if tables or name != "emotion4q"), "folder")
    if layout in FOLDERS:
        places = _of_layout(places, layout, root, notes)
    clips: list[Clip] = []
    by_table: dict[Path, list[tuple[Clip, str]]] = defaultdict(list)
    for place in places:
        key = comparison_key(place.folder.name)
        label = FOLDERS[layout][key] if layout in FOLDERS else cleaned(place.folder.name)
        read = [
            Clip(path, label, "", name=name_below(path, root), part=place.part)
            for path in audio_below(place.folder, root, notes)
        ]
        if place.table:
            by_table[place.table.file] += [(clip, key) for clip in read]
        else:
            clips += read
    for file, listed in by_table.items():
        clips += _with_rows(listed, tables[file], notes)
    grouped_by = next((table.grouped_by[0] for table in tables.values() if table.grouped_by), None)
    named = FOLDERS.get(layout)
    labels = named.values() if named else sorted({cleaned(place.folder.name) for place in places})
    return Reading(_with_inner_parts(clips, places), layout, tuple(labels), grouped_by)


def _of_layout(places: Sequence[_Place], layout: str, root: Path, notes: Notes) -> list[_Place]:
    """The places that are labels of a layout, in its order."""
    order = {folder: position for position, folder in enumerate(FOLDERS[layout])}
    keys = [comparison_key(place.folder.name) for place in places]
    for place, key in zip(places, keys, strict=True):
        if key not in order:
            notes.add(f"left out, a folder that is no label of {layout}", name_below(place.folder, root))
    mine = [(order[key], place) for place, key in zip(places, keys, strict=True) if key in order]
    return [place for _, place in sorted(mine, key=lambda pair: pair[0])]


def _places(root: Path, layout: str, group_by: str | None, notes: Notes) -> list[_Place]:
    folders = folders_in(root, root, notes, TABLE)
    table = _table_in(root, group_by)
    are_parts = all(part_from_name(folder.name) for folder in folders)
    if are_parts and any(folders_in(folder, root, Notes(), TABLE) for folder in folders):
        return [
            _Place(label, part_from_name(part.name), own)
            for part in folders
            for inside in [folders_in(part, root, notes, TABLE)]
            if inside  # else a part without labels, whose audio is noted
            for own in [_table_in(part, group_by) or table]
            for label in _that_are_labels(inside, own, part, notes)
        ]
    labels = _that_are_labels(folders, table, root, notes)
    named_by_table = table is not None and table.label_column is not None
    parts = [folder.name for folder in labels if part_from_name(folder.name)]
    if parts and layout == "auto" and not named_by_table:
        raise MerError(
            f"{root}: is the folder {parts[0]!r} a part of a split, or a label? For a split put all folders "
            "of labels into train, val and test; otherwise rename it, or read the data as layout 'folder'"
        )
    _note_labels_below(labels, root, notes)
    return [_Place(folder, "", table) for folder in labels]


def _note_labels_below(folders: Sequence[Path], root: Path, notes: Notes) -> None:
    """Folds and collections each hold all labels, and would be taken for labels themselves."""
    inside = [{path.name for path in folders_in(folder, root, Notes(), TABLE)} for folder in folders]
    same = len(folders) > 1 and len(inside[0]) > 1 and all(names == inside[0] for names in inside)
    if same and not all(map(part_from_name, inside[0])):
        for folder in folders:
            notes.add(
                f"read as labels, though each holds the folders {', '.join(sorted(inside[0]))}",
                name_below(folder, root),
            )


def _table_in(folder: Path, group_by: str | None) -> ClipTable | None:
    file = folder / TABLE
    return read_clip_table(file, [("clip", "path")], group_by) if os.path.lexists(file) else None


def _that_are_labels(
    folders: Sequence[Path], table: ClipTable | None, root: Path, notes: Notes
) -> Sequence[Path]:
    """The folders that the table names as labels; all of them where it has no column of labels."""
    if not folders:
        raise MerError(
            f"{root} holds no folders; a folder for each label is needed, or a CSV file of the clips"
        )
    column = table and table.label_column
    if not table or not column:
        return folders
    keys = {comparison_key(row[column]) for row in table.rows}
    labels = [folder for folder in folders if comparison_key(folder.name) in keys]
    if not labels:
        raise MerError(
            f"the column {column} of {table.file} names none of the folders in {root}, for example "
            f"{folders[0].name!r}: rename the column if it is about something else, or give a CSV file with "
            "the columns path and label in place of the folder"
        )
    for folder in folders:
        if folder not in labels:
            notes.add(f"left out, a folder that {TABLE} does not name", name_below(folder, root))
    return labels


def _with_rows(listed: Sequence[tuple[Clip, str]], table: ClipTable, notes: Notes) -> Iterator[Clip]:
    """Clips with what their rows say: see ``ClipTable.rows_of``.

    Raises:
        MerError: a clip lies elsewhere than its row says, or no row that names a group has a file.
    """
    name_column, label_column = table.first_of(("clip", "path")) or "", table.label_column
    parts, used = table.parts(notes), set[int]()
    table.note_groups(notes)
    elsewhere: list[tuple[Clip, int]] = []  # clips whose only rows have other labels
    rows = table.rows_of([clip.path for clip, _ in listed])
    for (clip, folder), numbers in zip(listed, rows, strict=True):
        fitting = [number for number in numbers if table.is_under(table.rows[number], [folder])]
        used.update(fitting)
        if not fitting:
            notes.add(f"not in {TABLE}", clip.name)
            elsewhere += [(clip, number) for number in numbers]
            yield clip
        for number in fitting:
            row = table.rows[number]
            yield dataclasses.replace(
                clip,
                group=table.group(row),
                artists=table.artists(row),
                by_artist=table.by_artist,
                tags=table.tags(row),
                part=clip.part or parts[number],
            )
    for clip, number in elsewhere:
        if number not in used:  # else another file of that name has the row
            label = table.rows[number][label_column or ""]
            raise MerError(
                f"{table.file} puts {clip.name} under {label!r}, where it does not lie; correct one of them"
            )
    if table.grouped_by and table.rows and listed and not used:
        raise MerError(
            f"{table.file} has the column {table.grouped_by[0]}, and no row names a file: the first names "
            f"{table.rows[0][name_column]!r}, the first file is {listed[0][0].name!r}; write them alike"
        )
    for number, row in enumerate(table.rows):
        if number not in used:
            notes.add(f"in {TABLE} without a file", row[name_column])


def _with_inner_parts(clips: list[Clip], places: Sequence[_Place]) -> list[Clip]:
    """Parts of a split in the labels' folders (happy/train, happy/test), if every clip lies in one."""
    roots = [place.folder for place in places]
    if any(clip.part for clip in clips):
        return clips
    inner = []
    for clip in clips:
        folder = next(root for root in roots if clip.path.is_relative_to(root))
        below = clip.path.relative_to(folder).parts
        inner.append(dataclasses.replace(clip, part=part_from_name(below[0]) if len(below) > 1 else ""))
    return inner if all(clip.part for clip in inner) else clips
