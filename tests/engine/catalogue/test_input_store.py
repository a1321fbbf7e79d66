"""The inputs of a run, in their temporary database."""

from __future__ import annotations

from pathlib import Path

from merkit.engine.catalogue.expand import Sources
from merkit.engine.catalogue.input_store import InputStore


def test_a_store_gives_back_what_it_took(music: Path) -> None:
    (music / "list.csv").write_text("path,isrc\na.mp3,IN-1\nb.mp3,IN-2\n")
    sources = Sources([music / "list.csv", music / "sub", music / "a.mp3"])
    with InputStore(sources) as store:
        assert store.find_repeats() == 1
        items = list(store.pending())
        assert [item.source for item in items] == list(sources)
        assert [(item.same_as, item.repeated) for item in items] == [
            (None, True), (None, False), (None, False), (None, False), (0, False),
        ]  # fmt: skip
    with InputStore(Sources([music])) as store:
        assert store.find_repeats(by_content=True) == 4
