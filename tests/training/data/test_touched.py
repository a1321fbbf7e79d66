"""What other data has in common with clips that may be held out."""

from __future__ import annotations

from pathlib import Path

from merkit.engine.data.clip import Clip
from merkit.training.data.touched import touched_groups


def _clip(name: str, group: str, *artists: str, by_artist: bool = False) -> Clip:
    return Clip(Path(name), "", group, name=name, artists=artists, by_artist=by_artist)


def test_artists_tell_where_groups_are_something_else():
    """By sources, of which each has several artists, and an artist several."""
    mine = [_clip("0", "s1", "ann"), _clip("1", "s2", "ann", "bob"), _clip("2", "s3")]
    others = [
        _clip("a", "S9", "ann"),
        _clip("b", "s9", "cid"),
        _clip("c", "S3", "cid"),
        _clip("d", "clip:d", "bob"),
    ]
    assert touched_groups(mine, mine, others, []) == (
        {"S9", "s1", "s2"},
        {"s9"},
        {"s3"},
        {"clip:d in d", "s2"},
    )
    # Where one is a copy, its source and its artist are those of what it is a copy of.
    first, *rest = touched_groups(mine, mine, others, [(2, 1)])
    assert "s3" in first
    assert [{*groups} & {"s1", "s2", "s3"} for groups in rest] == [{"s3"}, {"s3"}, {"s2"}]


def test_a_group_that_copies_have_joined_goes_by_its_new_name():
    before = [_clip("0", "Ann", "ann", by_artist=True), _clip("1", "Bob", "bob", by_artist=True)]
    joined = [clip.regrouped("Ann") for clip in before]
    others = [_clip("a", "BOB", "bob", by_artist=True), _clip("b", "Cid; Bob", "cid", "bob", by_artist=True)]
    assert touched_groups(before, joined, others, []) == ({"Ann"}, {"Cid; Bob", "Ann"})
