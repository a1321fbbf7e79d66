"""A labelled file, what identifies it, and how models name the clips that they did not hear."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..audio.readable import opened
from ..errors import MerError

Part = Literal["", "training", "validation", "test"]
"""Where the data itself puts a clip; "" where it says nothing."""

HELD_OUT_KEY = "test_clips"
"""The key of ModelSpec.provenance that lists the clips that the training held out: see ``held_out_clips``."""

HEARD_KEY = "heard_clips"
"""The key that lists the clips that it used: see ``heard_clips``. Older models have none."""

_HEARD_DIGITS = 16  # two of a million clips share them with a chance of 3 in 10^8

# A WAV can hold no more. A sparse file of terabytes would be read for hours.
_MOST_BYTES = 2**32


@dataclass(frozen=True)
class Clip:
    """One labelled file.

    Clips of one ``group`` (artist, song, recording) must stay on one side of a split. ``name`` is the path
    below the data folder, with slashes. ``tags`` (genres, for instance) can be learnt beside the label.
    ``part`` is that of the split that the data comes with. ``artists`` are the keys of the
    people that its row names. ``by_artist``: groups are artists, and those that share one are one.
    """

    path: Path
    label: str
    group: str
    tags: tuple[str, ...] = ()
    name: str = ""
    part: Part = ""
    artists: tuple[str, ...] = ()
    by_artist: bool = True

    @cached_property
    def id(self) -> str:
        """SHA-256 of the file's bytes: the clip's identity, whatever its path is.

        Raises:
            MerError: the file cannot be read, is empty, no regular file, or larger than 4 GiB.
        """
        with opened(self.path) as file:
            if os.fstat(file.fileno()).st_size > _MOST_BYTES:
                raise MerError(f"{self.path} is larger than 4 GiB: no clip is")
            return hashlib.file_digest(file, "sha256").hexdigest()

    def regrouped(self, group: str, artists: tuple[str, ...] | None = None) -> Clip:
        """The clip in another group; its ``id`` stays, so that no file is read twice."""
        changed = replace(self, group=group, artists=self.artists if artists is None else artists)
        if "id" in vars(self):
            vars(changed)["id"] = self.id
        return changed


@dataclass(frozen=True)
class LabelledAudio:
    """Distinct clips in a fixed order; ``labels`` in the order of a model's outputs.

    ``grouped_by`` says what a group is; "clip" means that groups are unknown and each clip is its own.
    ``notes`` has a line for each thing that was read otherwise than it stands.
    """

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    grouped_by: str
    notes: tuple[str, ...] = ()


def id_or_none(clip: Clip) -> str | None:
    """None for a file that cannot be read: its error is reported when it is decoded."""
    try:
        return clip.id
    except MerError:
        return None


def clip_names(clips: Iterable[Clip]) -> list[dict[str, str]]:
    """Clips as provenance lists them, for ``held_out_clips``: id and path, sorted by path."""
    return [
        {"id": clip.id, "path": clip.name} for clip in sorted(clips, key=lambda clip: (clip.name, clip.id))
    ]


def heard_text(clips: Iterable[Clip]) -> str:
    """Clips as provenance lists what a network was trained on, for ``heard_clips``.

    The first 16 hexadecimal digits of each id, sorted, a space between them: 17 bytes a clip.
    """
    return " ".join(sorted({clip.id[:_HEARD_DIGITS] for clip in clips}))


def heard_clips(clips: Sequence[Clip], provenance: Mapping[str, Any]) -> set[int] | None:
    """Positions of the clips that a network was trained on, validation included; None where it does not say.

    They are known by their bytes: a clip that a tagger has changed since counts as another one.
    """
    text = provenance.get(HEARD_KEY)
    if not isinstance(text, str):
        return None
    heard = set(text.split())
    return {i for i, clip in enumerate(clips) if (id_or_none(clip) or "")[:_HEARD_DIGITS] in heard}


def unheard_clips(clips: Sequence[Clip], provenance: Mapping[str, Any]) -> list[int]:
    """Positions of the clips that are known to be new to a network; empty where nothing is known.

    These share no group with what it was trained on. Where there are none (a split at random), or where
    that cannot be told, they are the clips that its training held out: older models do not list the others,
    and where some of the others are not found, a tagger may have changed them.
    """
    held_out, heard = held_out_clips(clips, provenance), heard_clips(clips, provenance)
    if heard is None:
        return held_out
    found = {clips[i].id for i in heard}
    if held_out and len(found) < len(set(provenance[HEARD_KEY].split())):
        return held_out
    groups = {clips[i].group for i in heard}
    return [i for i, clip in enumerate(clips) if clip.group not in groups] or held_out


def held_out_clips(clips: Sequence[Clip], provenance: Mapping[str, Any]) -> list[int]:
    """Positions of the clips that a network's training held out: those that ``test_clips`` lists.

    A clip is matched by its id or, if no file has that id (a tagger changed its bytes), by its path below
    the data folder. What the network was trained on is never among them: files may have been numbered anew.
    """
    names = provenance.get(HELD_OUT_KEY)
    if not isinstance(names, list | tuple):
        return []
    heard = heard_clips(clips, provenance) or set()
    pairs = [(str(name.get("id")), str(name.get("path"))) for name in names if isinstance(name, Mapping)]
    ids = [id_or_none(clip) for clip in clips] if pairs else []
    known = {identity for identity, _ in pairs} & set(ids)
    paths = {path for identity, path in pairs if identity not in known and path}
    positions = {i for i, identity in enumerate(ids) if identity in known}
    of_paths = {i for i, clip in enumerate(clips) if clip.name in paths}
    # Where one of these paths is now that of a clip of the training, none says what it said then. Where
    # the data has no known id at all they still count: a tagger may have changed every file.
    if not of_paths & heard:
        positions |= of_paths
    return sorted(positions - heard)
