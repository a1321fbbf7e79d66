"""What a test part shares with the clips that a network was trained on or chosen by: counted, not claimed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...engine.data.labelled_audio import Clip
from .examples import Examples
from .splits import Split


@dataclass(frozen=True)
class Shared:
    """How many songs of a test part stand on the other side too.

    A song is counted once, by the first of these that applies.

    Attributes:
        songs: of the test part.
        files: by equal bytes, or by other pieces of themselves.
        near_copies: by the same recording in another file.
        groups: by their artist, or whatever a group is; 0 where groups are unknown.
        first: a near copy and the clip that it is a copy of, by name.
    """

    songs: int
    files: int = 0
    near_copies: int = 0
    groups: int = 0
    first: tuple[str, str] | None = None

    @property
    def nothing(self) -> bool:
        """Whether the two sides have nothing in common that is known."""
        return not (self.files or self.near_copies or self.groups)

    def sentence(self, grouped_by: str) -> str:
        """It in words, for a model card and the terminal."""
        if self.nothing:
            known = "" if grouped_by in ("clip", "recording") else f" and no {grouped_by}"
            return f"no recording{known} stands on both sides"
        said = []
        if self.files:
            said.append(f"{_many(self.files, 'stands', 'stand')} in training as well")
        if self.near_copies and self.first:
            copy, original = self.first
            copies = _many(
                self.near_copies, "is a near copy of a training clip", "are near copies of training clips"
            )
            said.append(f"{copies}, the first {copy} (of {original})")
        if self.groups:
            said.append(f"{_many(self.groups, 'has its', 'have their')} {grouped_by} in training")
        return f"of {self.songs} test songs {', '.join(said)}"


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def shared_sound(examples: Examples, split: Split) -> Shared:
    """Compares a split's test part with its training and validation parts: bytes, recordings, groups."""
    recordings, clips = examples.recordings, examples.clips
    heard = [int(i) for part in (split.training, split.validation) for i in part]
    ids = {clips[i].id for i in heard}
    groups = set() if examples.grouped_by == "clip" else {clips[i].group for i in heard}
    originals = {recordings[i]: clips[i].name or clips[i].path.name for i in reversed(heard)}
    counts = {"files": 0, "near_copies": 0, "groups": 0}
    first = None
    tested = {int(examples.songs[i]): int(i) for i in split.test}
    for i in tested.values():
        clip = clips[i]
        if clip.id in ids:
            counts["files"] += 1
        elif recordings[i] in originals:
            counts["near_copies"] += 1
            first = first or (clip.name or clip.path.name, originals[recordings[i]])
        elif clip.group in groups:
            counts["groups"] += 1
    return Shared(len(tested), **counts, first=first)


def groups_together(examples: Examples, split: Split) -> list[str]:
    """Which clips of a split are of one group, whatever it is called: their ids, a line for each group."""
    members: dict[str, set[str]] = {}
    for i in (i for part in (split.training, split.validation, split.test) for i in part):
        members.setdefault(examples.clips[i].group, set()).add(examples.clips[i].id)
    return sorted(" ".join(sorted(ids)) for ids in members.values() if len(ids) > 1)


def copies_in_words(clips: Sequence[Clip], copies: Sequence[Sequence[int]]) -> str:
    """How many near copies there are among clips, with the first; "" without any."""
    count = sum(len(songs) - 1 for songs in copies)
    if not count:
        return ""
    first, second = (clips[song].name for song in copies[0][:2])
    said = "1 near copy of another clip" if count == 1 else f"{count} near copies of other clips"
    return f"{said}, the first {second} (of {first})"


def two_labels(examples: Examples) -> list[tuple[str, ...]]:
    """Sets of near copies under more than one label, each clip as ``name (label)``."""
    sets: Sequence[list] = [[examples.readable[song] for song in songs] for songs in examples.copies]
    return [
        tuple(f"{clip.name or clip.path.name} ({clip.label})" for clip in clips)
        for clips in sets
        if len({clip.label for clip in clips}) > 1
    ]
