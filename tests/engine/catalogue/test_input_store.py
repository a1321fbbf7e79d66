"""The inputs of a run, in their temporary database."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from merkit.engine.catalogue.expand import Sources
from merkit.engine.catalogue.input_store import InputStore
from merkit.engine.catalogue.source import Source, source_from_path
from merkit.engine.signals import StoppedError


def test_a_store_gives_back_what_it_took(music: Path) -> None:
    (music / "list.csv").write_text("path,isrc\na.mp3,IN-1\nb.mp3,IN-2\n")
    sources = Sources([music / "list.csv", music / "sub", music / "a.mp3"])
    with InputStore(sources) as store:
        assert (len(store), store.repeats, store.other_columns) == (4, 1, 0)
        items = list(store.pending())
        assert [item.source for item in items] == list(sources)[:4]
        assert [item.source.real_path for item in items] == [
            os.path.realpath(item.source.path) for item in items
        ]
    with InputStore(Sources([music])) as store:
        assert store.find_copies() == 4
        assert [(item.same_as, item.repeated) for item in store.pending()] == [
            (None, True),
            *[(0, False)] * 4,
        ]


def test_a_file_is_there_once(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(music)
    (music / "link.mp3").symlink_to("a.mp3")
    (music / "above").symlink_to(music)
    os.link("a.mp3", "other name.mp3")  # another file: names come and go one by one
    spelt = ["./a.mp3", "a.mp3", str(music / "a.mp3"), "sub/../a.mp3", "link.mp3", "above/above/a.mp3"]
    missing = [
        "gone.mp3",
        "./gone.mp3",
        "above/gone.mp3",
        "no/such/folder.mp3",
        "s3://b/a.mp3",
        "s3://b/a.mp3",
    ]
    columns = [{}, {"n": 1}, {"n": 2}, {"n": 1}, {}, {}]
    sources = [source_from_path(path, more) for path, more in zip(spelt, columns, strict=True)]
    sources += [Source(path) if "://" in path else source_from_path(path) for path in missing]
    with InputStore([*sources, source_from_path("other name.mp3")]) as store:
        kept = [item.source for item in store.pending()]
        assert [source.path for source in kept] == [
            "./a.mp3", "gone.mp3", "no/such/folder.mp3", "s3://b/a.mp3", "other name.mp3",
        ]  # fmt: skip
        assert (kept[0].columns, store.repeats, store.other_columns) == ({"n": 1}, 8, 1)


def test_lines_without_a_path_are_inputs_each() -> None:
    sources = [Source("", columns={"id": number}) for number in (3, 4, 4)]
    with InputStore(sources) as store:
        assert [item.source.columns["id"] for item in store.pending()] == [3, 4, 4]
        assert (store.repeats, store.other_columns, store.find_copies()) == (0, 0, 0)


def test_names_that_are_not_utf8_are_not_mixed_up() -> None:
    odd = [Source(os.fsdecode(b"caf\xe9.mp3"), 1, 2), Source("caf\\xe9.mp3", 1, 3)]
    with InputStore(odd) as store:
        assert [item.source for item in store.pending()] == odd
        for source in reversed(odd):
            named = store.named(os.path.abspath("caf\\xe9.mp3"), source.size_bytes, source.mtime_ns)
            assert named
            assert named.source == source


@pytest.mark.parametrize("time", [13_569_465_600 * 10**9, -(10**30), 2**63, 0, None])
def test_times_that_no_column_holds(time: int | None) -> None:
    with InputStore([Source("a.mp3", 10**20, time, ctime_ns=time)]) as store:
        (item,) = store.pending()
        assert item.source.size_bytes == 2**63 - 1
        assert (item.source.mtime_ns is None) == (time is None)
        assert item.source.mtime_ns == item.source.ctime_ns


def test_a_signal_ends_the_comparing_of_contents(tmp_path: Path) -> None:
    for name in ("a.mp3", "b.mp3"):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 64 << 20)
    sources = Sources([tmp_path])
    with InputStore(sources) as store:
        sources.check = Mock(side_effect=[None] * 20 + [StoppedError(130)])
        with pytest.raises(StoppedError):
            store.find_copies()
    assert sources.check.call_count == 21


def test_films_and_what_is_no_file_any_more_are_not_compared(tmp_path: Path) -> None:
    for name in ("a.mkv", "b.mkv", "c.mp3", "d.mp3"):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 1 << 40 if name.endswith("mkv") else 5)
    with InputStore(Sources([tmp_path])) as store:
        for name in ("c.mp3", "d.mp3"):
            (tmp_path / name).unlink()
            os.mkfifo(tmp_path / name)
        assert store.find_copies() == 0


def test_clips_of_one_size_are_looked_for_once(tmp_path: Path) -> None:
    """The sizes were grouped anew for each page of inputs: for minutes, of 100,000 clips cut alike."""
    for i in range(120):
        (tmp_path / f"{i}.wav").write_bytes(f"{i % 40:04}".encode())
    statements: list[str] = []
    with InputStore(Sources([tmp_path])) as store:
        store._base.set_trace_callback(statements.append)
        assert store.find_copies() == 80
    assert sum("GROUP BY size" in each for each in statements) == 1
