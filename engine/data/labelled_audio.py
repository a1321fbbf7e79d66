"""Labelled audio as clips: the papers' data sets, a folder for each label, or a CSV file."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..audio.formats import AUDIO_SUFFIXES
from ..errors import MerError, UsageError
from ..spec import MER500_LABELS, QUADRANTS


Part = Literal["", "training", "validation", "test"]
"""Where the data itself puts a clip; "" where it says nothing."""


@dataclass(frozen=True)
class Clip:
    """One labelled file.

    Clips of one ``group`` (artist, song, recording) must stay on one side of a split. ``name`` is the path
    below the data folder, with slashes. ``tags`` (genres, for instance) can be learnt beside the label.
    ``part`` is that of the split that the data comes with.
    """

    path: Path
    label: str
    group: str
    tags: tuple[str, ...] = ()
    name: str = ""
    part: Part = ""

    @cached_property
    def id(self) -> str:
        """SHA-256 of the file's bytes: the clip's identity, whatever its path is.

        Raises:
            MerError: the file cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise MerError(f"{self.path} cannot be read: {error.strerror}") from None


@dataclass(frozen=True)
class LabelledAudio:
    """Clips in a fixed order; ``labels`` in the order of a model's outputs.

    ``grouped_by`` says what a group is; "clip" means that groups are unknown and each clip is its own.
    ``notes`` has a line for each thing that was read otherwise than it stands.
    """

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    grouped_by: str
    notes: tuple[str, ...] = ()


def labelled_audio(root: Path, layout: str = "auto", labels: Sequence[str] | None = None) -> LabelledAudio:
    """Reads the clips of a folder, or of a CSV file.

    Args:
        layout: "emotion4q" (Q1..Q4 and clips.csv), "mer500" (the Kaggle archive as it unpacks),
            "jumusemodb" (happy and sad), "folder" (a folder a label), "csv" (path,label[,group][,tags],
            paths relative to the file, tags between semicolons), or "auto", which looks.
        labels: a model's labels, in the order of its outputs; the data must have these and no others.

    Raises:
        UsageError: an unknown layout.
        MerError: nothing there, only one label, a label without audio, or one not in ``labels``.
    """
    if layout == "auto":
        layout = _layout_of(root)
    if layout not in LAYOUTS:
        raise UsageError(f"unknown layout {layout!r}; known: auto, {', '.join(LAYOUTS)}")
    if not root.exists():
        raise MerError(f"{root} does not exist")
    data = LAYOUTS[layout](root)
    if labels is not None:
        data = _relabelled(data, root, tuple(labels))
    counts = Counter(clip.label for clip in data.clips)
    empty = [label for label in data.labels if not counts[label]]
    if empty:
        raise MerError(f"{root} has no audio for {', '.join(empty)} (read as {layout})")
    if len(data.labels) == 1:
        raise MerError(f"{root} has only one label, {data.labels[0]}: nothing to tell apart")
    return data


def clip_names(clips: Iterable[Clip]) -> list[dict[str, str]]:
    """Clips as provenance lists them, for ``held_out_clips``: id and path, sorted by path."""
    return [
        {"id": clip.id, "path": clip.name} for clip in sorted(clips, key=lambda clip: (clip.name, clip.id))
    ]


def held_out_clips(clips: Sequence[Clip], names: Any) -> list[int]:
    """Positions of the clips that ``names`` (provenance's ``test_clips``) lists.

    A clip is matched by its id or, if no file has that id (a tagger changed its bytes), by its path below
    the data folder. Older models list file stems, or ``folder/stem``.

    Raises:
        MerError: such a stem belongs to several clips whose bytes differ.
    """
    if not isinstance(names, list | tuple):
        return []
    listed = [name for name in names if isinstance(name, Mapping)]
    stems = [name for name in names if isinstance(name, str)]
    positions = set(_positions_of_stems(clips, stems)) if stems else set()
    if listed:
        ids = {name.get("id") for name in listed}
        by_id = {position for position, clip in enumerate(clips) if _id_or_none(clip) in ids}
        known = {clips[position].id for position in by_id}
        paths = {name.get("path") for name in listed if name.get("id") not in known}
        positions |= by_id | {position for position, clip in enumerate(clips) if clip.name in paths}
    return sorted(positions)


def _positions_of_stems(clips: Sequence[Clip], stems: Iterable[str]) -> Iterator[int]:
    by_stem: dict[str, list[int]] = {}
    for position, clip in enumerate(clips):
        for stem in (clip.path.stem, f"{clip.path.parent.name}/{clip.path.stem}"):
            by_stem.setdefault(stem, []).append(position)
    for stem in stems:
        positions = by_stem.get(stem, [])
        if len(positions) > 1 and len({_id_or_none(clips[position]) for position in positions}) > 1:
            paths = ", ".join(str(clips[position].path) for position in positions[:2])
            raise MerError(
                f"the model's provenance names the clip {stem!r}, and several have that name ({paths}): "
                "which of them the model has not heard is not known; train it again with this version"
            )
        yield from positions


def _id_or_none(clip: Clip) -> str | None:
    """None for a file that cannot be read: its error is reported when it is decoded."""
    try:
        return clip.id
    except MerError:
        return None


def _relabelled(data: LabelledAudio, root: Path, labels: tuple[str, ...]) -> LabelledAudio:
    unknown = Counter(clip.label for clip in data.clips if clip.label not in labels)
    if unknown:
        first = next(clip.path for clip in data.clips if clip.label in unknown)
        named = ", ".join(f"{label} ({count})" for label, count in unknown.most_common())
        raise MerError(
            f"{root} has labels that are none of {', '.join(labels)}: {named}; the first is {first}"
        )
    return LabelledAudio(data.clips, labels, data.grouped_by)


def _layout_of(root: Path) -> str:
    if root.is_file():
        return "csv"
    names = {child.name.lower() for child in root.iterdir()} if root.is_dir() else set()
    if {"q1", "q2", "q3", "q4", "clips.csv"} <= names:
        return "emotion4q"
    if set(MER500_LABELS) <= names:
        return "mer500"
    return "jumusemodb" if {"happy", "sad"} == {n for n in names if not n.startswith(".")} else "folder"


def _emotion4q(root: Path) -> LabelledAudio:
    by_stem = {row["clip"]: row for row in _rows(root / "clips.csv", ("clip", "artist"))}
    clips = [
        # A clip without an artist is a group of its own; no artist's name contains "clip:".
        Clip(
            path, label, row.get("artist") or f"clip:{path.stem}", _tags(row.get("genres")), _name(path, root)
        )
        for quadrant, label in zip(("Q1", "Q2", "Q3", "Q4"), QUADRANTS, strict=True)
        for path in _audio_below(root / quadrant)
        for row in [by_stem.get(path.stem, {})]
    ]
    return LabelledAudio(tuple(clips), QUADRANTS, "artist")


def _mer500(root: Path) -> LabelledAudio:
    folders = {child.name.lower(): child for child in root.iterdir() if child.is_dir()}
    clips = [
        _alone(path, label, root)
        for label in MER500_LABELS
        for path in _audio_below(folders.get(label, root / label))
    ]
    return LabelledAudio(tuple(clips), MER500_LABELS, "clip")


def _jumusemodb(root: Path) -> LabelledAudio:
    folders = {child.name.lower(): child for child in root.iterdir() if child.is_dir()}
    labels = ("happy", "sad")
    clips = [
        _alone(path, label, root)
        for label in labels
        for path in _audio_below(folders.get(label, root / label))
    ]
    return LabelledAudio(tuple(clips), labels, "recording")


def _folder(root: Path) -> LabelledAudio:
    folders = sorted(child for child in root.iterdir() if child.is_dir() and child.name[0] != ".")
    if not folders:
        raise MerError(f"{root} holds no folders; a folder for each label is needed")
    clips = [_alone(path, folder.name, root) for folder in folders for path in _audio_below(folder)]
    return LabelledAudio(tuple(clips), tuple(folder.name for folder in folders), "clip")


def _csv(file: Path) -> LabelledAudio:
    rows = _rows(file, ("path", "label"))
    unlabelled = [row["path"] for row in rows if not row["label"]]
    if unlabelled:
        raise MerError(f"{file} has {len(unlabelled)} rows without a label; the first is {unlabelled[0]}")
    clips = tuple(
        Clip(
            file.parent / row["path"],
            row["label"],
            row.get("group") or f"clip:{row['path']}",
            _tags(row.get("tags")),
            _name(file.parent / row["path"], file.parent),
        )
        for row in rows
    )
    if not clips:
        raise MerError(f"{file} has no rows")
    labels = tuple(sorted({clip.label for clip in clips}))
    return LabelledAudio(clips, labels, "group" if "group" in rows[0] else "clip")


LAYOUTS: Mapping[str, Callable[[Path], LabelledAudio]] = {
    "emotion4q": _emotion4q,
    "mer500": _mer500,
    "jumusemodb": _jumusemodb,
    "folder": _folder,
    "csv": _csv,
}


def _alone(path: Path, label: str, root: Path) -> Clip:
    """A clip without a known group: it is a group of its own."""
    return Clip(path, label, _name(path, root), name=_name(path, root))


def _name(path: Path, root: Path) -> str:
    """The path below the data folder; outside it the file's name alone, to keep a user's folders private."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _rows(file: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text)
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise MerError(f"{file} has no column {', '.join(missing)}")
            return [row for row in reader if row[needed[0]]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MerError(f"{file} cannot be read as CSV: {error}") from None


def _tags(text: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag.strip() for tag in (text or "").split(";") if tag.strip()))


def _audio_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
