"""Labelled audio as distinct clips: the papers' data sets, a folder for each label, or a CSV file."""

from __future__ import annotations

import dataclasses
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from ..audio.formats import is_remote, path_in_url
from ..errors import MerError, UsageError
from ..text.escape import text_from_csv
from .cleaning import as_spelt, check_labels, cleaned, comparison_key, quoted_label
from .clip import Clip, LabelledAudio, Part, clip_names, heard_text, held_out_clips, unheard_clips
from .clip_table import read_clip_table
from .distinct import OWN_GROUP, distinct_clips
from .folders import folder_within, name_below
from .label_folders import FOLDERS, Reading, clips_from_folders
from .notes import Notes

__all__ = [
    "LAYOUTS", "Clip", "LabelledAudio", "Part", "clip_names", "heard_text", "held_out_clips",
    "labelled_audio", "unheard_clips",
]  # fmt: skip

LAYOUTS = (*FOLDERS, "folder", "csv")


def labelled_audio(
    root: Path, layout: str = "auto", labels: Sequence[str] | None = None, group_by: str | None = None
) -> LabelledAudio:
    """Reads the clips of a folder, or of a CSV file, each content once.

    A file ``clips.csv`` beside the folders tells more of the clips. Label folders in
    ``train``, ``val`` and ``test``, or a column ``split``, are the split that the data comes with.

    Args:
        layout: "folder" (a folder a label), "emotion4q" (Q1..Q4 and clips.csv), "mer500" (the Kaggle archive
            as it unpacks), "jumusemodb" (happy and sad), "csv" (path,label[,artist][,group][,tags][,split],
            paths relative to the file, tags between semicolons), or "auto", which looks.
        labels: a model's labels, in the order of its outputs; the data must have these and no others.
        group_by: the column of the CSV file that says what a group is; None for ``artist``, else ``group``,
            else another of ``ARTIST_COLUMNS``.

    Raises:
        UsageError: an unknown layout or column, or ``labels`` that are empty or repeated.
        MerError: nothing there, only one label, a label without audio, or one not in ``labels``; labels of
            which only the spelling differs; a file with two labels; a split that leaves clips out.
    """
    if layout not in ("auto", *LAYOUTS):
        raise UsageError(f"unknown layout {layout!r}; known: auto, {', '.join(LAYOUTS)}")
    if labels is not None:
        _check_choice(labels)
    if not os.path.exists(root):
        raise MerError(f"{root} does not exist")
    notes = Notes()
    if layout == "csv" or (layout == "auto" and not root.is_dir()):
        read = _clips_from_csv(root, group_by, notes)
    else:
        read = clips_from_folders(root, layout, group_by, notes)
    clips, order = read.clips, read.labels
    if labels is not None:
        clips, order = _relabelled(clips, root, labels), tuple(labels)
    _check(clips, order, root, f"{root} (read as {read.layout})")
    alone = "recording" if read.layout == "jumusemodb" else "clip"
    grouped_by = (any(clip.group for clip in clips) and read.grouped_by) or alone
    clips = distinct_clips(clips, notes)
    for clip in clips:
        if grouped_by != alone and clip.group.startswith(OWN_GROUP):
            notes.add(f"a group of its own, for it has no {grouped_by}", clip.name)
    return LabelledAudio(clips, order, grouped_by, notes.lines())


def _clips_from_csv(file: Path, group_by: str | None, notes: Notes) -> Reading:
    table = read_clip_table(file, [("path",), ("label",)], group_by)
    if not table.rows:
        raise MerError(f"{file} has no rows")
    unlabelled = [row["path"] for row in table.rows if not cleaned(row["label"])]
    if unlabelled:
        raise MerError(f"{file} has {len(unlabelled)} rows without a label; the first is {unlabelled[0]}")
    clips = []
    for row, part in zip(table.rows, table.parts(notes), strict=True):
        if row["path"].strip():
            path = path_from_cell(row["path"], file)
            name = name_below(path, file.parent)
            clip = Clip(path, cleaned(row["label"]), table.group(row), table.tags(row), name, part)
            clips.append(dataclasses.replace(clip, artists=table.artists(row), by_artist=table.by_artist))
        else:
            notes.add("left out, a row without a path", f"{row['label']!r}")
    table.note_groups(notes)
    check_labels([row["label"] for row in table.rows], file, notes)
    labels = tuple(sorted({clip.label for clip in clips}))
    return Reading(clips, "csv", labels, next(iter(table.grouped_by), None))


def path_from_cell(cell: str, file: Path) -> Path:
    """What a cell of a table names: as it is written, or else in the ways that other systems write it.

    Raises:
        MerError: it is a URL, and not of this machine.
    """
    folder, stripped = file.parent, cell.strip()
    slashed = stripped.replace("\\", "/")
    forms = (unicodedata.normalize(form, slashed) for form in ("NFC", "NFD"))
    plain = text_from_csv(cell)  # a table of ours keeps names from being formulas
    ways = [cell, plain, stripped, slashed, *forms]
    if slashed.startswith("~/"):
        ways.append(os.path.expanduser(slashed))
    if (rest := path_in_url(stripped)) is not None:
        stripped = unquote(rest, errors="surrogateescape")
        ways += [stripped, rest]
    existing = next((path for path in ways if os.path.lexists(folder / path)), None)
    if existing is None and is_remote(stripped):
        raise MerError(f"{file} names {stripped}: copy the clips to this machine, and name the copies")
    return folder / (existing or stripped)


def _check_choice(labels: Sequence[str]) -> None:
    keys = Counter(map(comparison_key, labels))
    if not all(keys):
        raise UsageError(f"one of the labels {', '.join(map(repr, labels))} is blank")
    if not keys or max(keys.values()) > 1:
        repeated = [label for label in labels if keys[comparison_key(label)] > 1]
        raise UsageError(
            f"labels must differ: {', '.join(map(quoted_label, repeated))}"
            if repeated
            else "no labels are named"
        )


def _relabelled(clips: Sequence[Clip], root: Path, labels: Sequence[str]) -> list[Clip]:
    """The clips with the labels as the model writes them."""
    written = {label: as_spelt(label, labels) for label in {clip.label for clip in clips}}
    unknown = Counter(clip.label for clip in clips if written[clip.label] is None)
    if unknown:
        first = next(clip.path for clip in clips if clip.label in unknown)
        named = ", ".join(f"{quoted_label(label)} ({count})" for label, count in unknown.most_common())
        raise MerError(
            f"{root} has labels that are none of {', '.join(map(quoted_label, labels))}: {named}; the first "
            f"is {first}"
        )
    return [dataclasses.replace(clip, label=written[clip.label] or clip.label) for clip in clips]


def _check(clips: Sequence[Clip], labels: Sequence[str], root: Path, what: str) -> None:
    counts = Counter(clip.label for clip in clips)
    empty = [label for label in labels if not counts[label]]
    if empty:
        raise MerError(f"{what} has no audio for {', '.join(map(quoted_label, empty))}")
    if not labels:
        raise MerError(f"{what} names no clip")
    if len(labels) == 1:
        within = folder_within(root) if root.is_dir() else None
        hint = f"; if the labels are the folders in {within}, name that one" if within else ""
        raise MerError(f"{what} has only one label, {labels[0]}: nothing to tell apart{hint}")
    outside = [clip.name for clip in clips if not clip.part]
    if 0 < len(outside) < len(clips):
        raise MerError(
            f"{what} puts {len(outside)} of {len(clips)} clips into no part of its split, the first "
            f"{outside[0]}: put all of them into training, validation or test, or none"
        )
