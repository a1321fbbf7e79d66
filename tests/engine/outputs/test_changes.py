"""Counts from emotion to emotion, and the surest changes first."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.outputs.changes import Change, changes_between
from merkit.engine.outputs.songs import Song


def song(
    path: str, emotion: str | None, confidence: float = 0.5, verdict: str | None = None, real: str = ""
) -> Song:
    known = confidence if emotion else None
    return Song(Path("s"), 0, path, real or None, emotion, verdict, None, None, None, known, 9.0, 1, 1, ())


def test_counts_and_the_surest_first() -> None:
    before = [
        song("a", "sad"),
        song("b", "sad"),
        song("c", "sad", 0.9),
        song("d", "happy"),
        song("gone", "happy"),
    ]
    after = [
        song("b", "happy", 0.6),
        song("a", "happy", 0.8),
        song("c", "calm", 0.7),
        song("d", "happy"),
        song("e", "sad"),
    ]
    changes = changes_between(before, after)
    assert changes.counts == {("sad", "happy"): 2, ("sad", "calm"): 1, ("happy", "happy"): 1}
    assert [change.path for change in changes.changed] == ["a", "c", "b"]
    assert changes.changed[1] == Change("c", "sad", "calm", 0.9, 0.7)
    assert (changes.both, changes.only_before, changes.only_after) == (4, 1, 1)


def test_a_song_is_its_file_whatever_it_is_called() -> None:
    before = [song("music/a", "sad", real="/disk/a"), song("b", "sad")]
    after = [song("/mnt/a", "happy", real="/disk/a"), song("b", None, verdict="not_music")]
    changes = changes_between(before, after)
    assert changes.counts == {("sad", "happy"): 1, ("sad", "(not_music)"): 1}
    assert [change.path for change in changes.changed] == ["/mnt/a", "b"]
    assert changes_between(after[1:], [song("b", None)]).counts == {("(not_music)", "(no label)"): 1}


@given(
    st.dictionaries(st.integers(0, 30), st.sampled_from("xyz")),
    st.dictionaries(st.integers(0, 30), st.sampled_from("xyz")),
)
def test_every_song_is_counted_once(old: dict[int, str], new: dict[int, str]) -> None:
    changes = changes_between(*([song(str(n), name) for n, name in side.items()] for side in (old, new)))
    assert changes.both + changes.only_before == len(old)
    assert changes.both + changes.only_after == len(new)
    assert len(changes.changed) == sum(old[n] != new[n] for n in old.keys() & new.keys())
