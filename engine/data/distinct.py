"""One clip for one content: copies under other names must not stand on both sides of a split."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..cpu import usable_cores
from ..errors import MerError
from .cleaning import cleaned, comparison_key
from .clip import Clip, id_or_none
from .notes import Notes
from .sounding import paths_that_sound

OWN_GROUP = "clip:"
"""How the name of a group begins that is one clip; no artist's name begins so."""

_NAMED = 3  # examples in an error

# A clip that stands in two parts is kept in the one that must stay unheard.
_PARTS = ("test", "validation", "training", "")


def distinct_clips(clips: Sequence[Clip], notes: Notes) -> tuple[Clip, ...]:
    """The clips with each content once, in their order; of copies the first by name stays.

    A clip's group becomes that of all its copies; groups that share a content are one, and so are those
    whose names a reader takes for the same, and those that are artists and name the same one; their clips
    have the artists of all. A clip whose ``group`` is empty becomes a group of its own.
    Files without a sound (silent, damaged, not readable) are kept, however often: who decodes them names
    them all, and they say nothing of labels and groups.

    Raises:
        MerError: one content has two labels.
    """
    identities = _identities(clips)
    copies: dict[str, list[Clip]] = defaultdict(list)
    for clip, identity in zip(clips, identities, strict=True):
        copies[identity].append(clip)
    _check_labels(list(copies.values()))
    kept = {identity: min(same, key=_order) for identity, same in copies.items()}
    groups = _groups(copies, notes)
    for same, clip in zip(copies.values(), kept.values(), strict=True):
        for other in same:
            if other is not clip:
                _note_copy(other, clip, notes)
    names = Counter(clip.name for clip in kept.values())
    return tuple(
        # A group of its own keeps its case: names of two files may differ in nothing else.
        clip.regrouped(
            group or f"{OWN_GROUP}{clip.name if names[clip.name] == 1 else clip.path}",
            tuple(dict.fromkeys((*(key for copy in copies[identity] for key in copy.artists), *artists))),
        )
        for clip, identity in zip(clips, identities, strict=True)
        if clip is kept[identity]
        for group, artists in [groups[identity]]
    )


def _identities(clips: Sequence[Clip]) -> list[str]:
    """What tells the clips' sounds apart: the ids, or the paths and labels of files without a sound."""
    with ThreadPoolExecutor(usable_cores()) as threads:  # hashing releases the GIL
        ids = list(threads.map(id_or_none, clips))
    rows = [f"{os.path.abspath(clip.path)}\0{clip.label}" for clip in clips]
    seen: dict[str | None, dict[str, Path]] = defaultdict(dict)
    for clip, identity, row in zip(clips, ids, rows, strict=True):
        seen[identity][row] = clip.path
    repeated = {
        identity: next(iter(same.values())) for identity, same in seen.items() if identity and len(same) > 1
    }
    sounding = paths_that_sound(list(repeated.values()))
    mute = {identity for identity, path in repeated.items() if path not in sounding}
    return [
        identity if identity and identity not in mute else row
        for identity, row in zip(ids, rows, strict=True)
    ]


def _check_labels(contents: Sequence[Sequence[Clip]]) -> None:
    by_label = ({clip.label: clip.name or str(clip.path) for clip in same} for same in contents)
    torn = [names for names in by_label if len(names) > 1]
    if torn:
        named = (" = ".join(f"{name} ({label})" for label, name in names.items()) for names in torn[:_NAMED])
        more = f"; and {len(torn) - _NAMED} more" if len(torn) > _NAMED else ""
        raise MerError(
            f"one sound stands under two labels: {'; '.join(named)}{more}; decide which it is, and remove "
            "the other file or row"
        )


def _order(clip: Clip) -> tuple[int, str]:
    return _PARTS.index(clip.part), clip.name or str(clip.path)


def _note_copy(copy: Clip, kept: Clip, notes: Notes) -> None:
    if copy.part != kept.part:
        notes.add(
            f"left out of {copy.part or 'no part'}, for {kept.part} has the same sound",
            f"{copy.name} (= {kept.name})",
        )
    elif os.path.abspath(copy.path) == os.path.abspath(kept.path):
        notes.add("left out, a file that is listed again", copy.name)
    else:
        notes.add("left out, a copy of another clip", f"{copy.name} (= {kept.name})")


def _groups(copies: Mapping[str, Sequence[Clip]], notes: Notes) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The group of each content, "" where no copy has one, and the artists of groups that are artists."""
    spelt: dict[str, dict[str, None]] = defaultdict(dict)  # how each group is written, in order
    above: dict[str, str] = {}  # links groups that are one; the last of a chain links to itself

    def top(group: str) -> str:
        while above.setdefault(group, group) != group:
            above[group] = group = above[above[group]]  # or chains of duets would be as long as the table
        return group

    keys: dict[str, list[str]] = {}
    by_artist: dict[str, dict[str, None]] = defaultdict(dict)  # the groups that name each artist, in order
    for identity, same in copies.items():
        named = [(key, clip.group) for clip in same if (key := comparison_key(clip.group))]
        for key, spelling in named:
            spelt[key][spelling] = None
        keys[identity] = [key for key, _ in named]
        for clip in same:
            for artist in clip.artists if clip.by_artist else ():
                by_artist[artist][comparison_key(clip.group)] = None
    for spellings in spelt.values():
        if len(spellings) > 1:
            notes.add("groups taken as one, for only their spelling differs", _pair(spellings))
    for why, sets in (("they name one artist", by_artist.values()), ("one file is in both", keys.values())):
        for first, *others in filter(None, sets):
            for other in others:
                if top(other) != top(first):
                    both = [next(iter(spelt[key])) for key in (first, other)]
                    notes.add(f"groups taken as one, for {why}", _pair(both))
                    above[top(other)] = top(first)
    artists: dict[str, list[str]] = defaultdict(list)
    for artist, (first, *_) in by_artist.items():
        artists[top(first)].append(artist)
    return {
        identity: (cleaned(next(iter(spelt[top(own[0])]))), tuple(artists[top(own[0])])) if own else ("", ())
        for identity, own in keys.items()
    }


def _pair(names: Iterable[str]) -> str:
    return " and ".join(repr(name) for name in names)
