"""Which groups must not be held out where a clip of other data is heard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from ...engine.data.cleaning import comparison_key
from ...engine.data.clip import Clip
from ...engine.data.distinct import OWN_GROUP

Touched = tuple[frozenset[str], ...]
"""For each clip of other data the groups that must not be held out where it is heard."""


def touched_groups(
    before: Sequence[Clip], joined: Sequence[Clip], others: Sequence[Clip], same: Iterable[tuple[int, int]]
) -> Touched:
    """What other clips have in common with those that may be held out.

    A clip touches its own group and those of its artists, whatever groups are. It also touches the group of
    each clip that is the same recording as it, as another of its group, or as another by one of its artists.

    Args:
        before: the clips that may be held out, as their data has them.
        joined: these, once copies have joined their groups.
        others: clips of other data.
        same: positions in ``joined`` and in ``others`` of equal files and near copies.
    """
    known: dict[str, set[str]] = defaultdict(set)
    for old, new in zip(before, joined, strict=True):
        for key in (comparison_key(old.group), *old.artists):
            known[key].add(new.group)
    # Two files of one name are no artist: a group of its own is told apart from those of other data.
    names = [
        f"{clip.group} in {clip.path}" if clip.group.startswith(OWN_GROUP) else clip.group for clip in others
    ]
    keys = [(comparison_key(name), *clip.artists) for name, clip in zip(names, others, strict=True)]
    copied: dict[str, set[str]] = defaultdict(set)
    for one, other in same:
        for key in keys[other]:
            copied[key].add(joined[one].group)
    touched: list[frozenset[str]] = []
    for name, of_clip in zip(names, keys, strict=True):
        found = (by_key.get(key, ()) for key in of_clip for by_key in (known, copied))
        touched.append(frozenset(known.get(of_clip[0], {name}).union(*found)))
    return tuple(touched)
