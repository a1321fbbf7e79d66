"""Values of tags: trimmed, new, and not too many."""

from __future__ import annotations

from merkit.engine.audio.tags.values import MOST_VALUES, Tags, add


def test_values() -> None:
    tags: Tags = {}
    add(tags, "artist", " a\0", "", "\ufeffb ", "a", "\0\0")
    add(tags, "title")
    add(tags, None, "x")
    assert tags == {"artist": ["a", "b"]}
    add(tags, "artist", *(f"{i}" for i in range(1_000)))
    assert len(tags["artist"]) == MOST_VALUES
