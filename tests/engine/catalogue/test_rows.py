"""The row of a label."""

from __future__ import annotations

import dataclasses
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.artifact import open_artifact
from merkit.engine.catalogue.rows import (
    carried_columns,
    columns_of_rows,
    names_of_columns,
    row_from_label,
    size_of_row,
)
from merkit.engine.catalogue.source import Source
from merkit.engine.errors import UsageError
from merkit.engine.labelling.song_label import SongLabel
from songs import GOOD

LABELS = ("happy", "tense", "sad", "calm")
OWN = frozenset(columns_of_rows(LABELS))


def test_columns(rows: list[dict]) -> None:
    assert list(rows[0])[:13] == [
        *("path", "status", "error", "emotion", "confidence", "verdict", "novelty"),
        *("p_happy", "p_tense", "p_sad", "p_calm", "duration_s", "windows"),
    ]
    assert [row["status"] for row in rows] == ["ok", "error"]
    assert rows[0]["confidence"] == 0.6
    assert [(row["verdict"], row["novelty"]) for row in rows] == [("unsure", 0.98), (None, None)]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (SongLabel("a", verdict="silence"), ("ok", None, None, "silence", None, None)),
        (
            SongLabel("a", None, None, (0.7, 0.1, 0.1, 0.1), verdict="not_music", novelty=1.0),
            ("ok", None, None, "not_music", 1.0, 0.7),
        ),
    ],
)
def test_what_has_no_emotion_is_no_error(tiny_model: Path, label: SongLabel, expected: tuple) -> None:
    row = row_from_label(label, open_artifact(str(tiny_model)))
    names = ("status", "emotion", "confidence", "verdict", "novelty", "p_happy")
    assert tuple(row[name] for name in names) == expected
    assert row["error"] is row["error_kind"] is None


def test_manifest_columns_come_last_and_never_replace_ours(tiny_model: Path) -> None:
    artifact = open_artifact(str(tiny_model))
    source = Source(GOOD.path, 7, 9, {"isrc": "IN-1", "emotion": "theirs", "year": 1975})
    row = row_from_label(GOOD, artifact, source)
    assert (row["emotion"], row["manifest_emotion"]) == ("sad", "theirs")
    assert (row["size_bytes"], row["mtime_ns"]) == (7, 9)
    carried = carried_columns(
        {"isrc": "string", "emotion": "string", "year": "int64"}, names_of_columns(artifact)
    )
    assert list(row) == [*columns_of_rows(artifact.spec.labels), *carried]


def test_no_column_of_a_manifest_is_lost() -> None:
    columns = ("manifest_error", "error", "manifest_emotion", "manifest_manifest_emotion", "emotion", "isrc")
    carried = carried_columns({name: name for name in columns}, OWN)
    assert carried == {
        "manifest_error": "manifest_error",
        "manifest_manifest_error": "error",
        "manifest_emotion": "manifest_emotion",
        "manifest_manifest_emotion": "manifest_manifest_emotion",
        "manifest_manifest_manifest_emotion": "emotion",
        "isrc": "isrc",
    }


def test_names_in_other_capitals_are_taken_too() -> None:
    """DuckDB and Spark take "Title" and "title" for one column."""
    columns = {name: name for name in ("year", "Title", "Year", "Manifest_Artist", "ARTIST", "isrc")}
    names = {
        "year": "manifest_year",
        "Title": "manifest_Title",
        "Year": "Year",
        "Manifest_Artist": "Manifest_Artist",
        "ARTIST": "manifest_manifest_ARTIST",
        "isrc": "isrc",
    }
    assert carried_columns(columns, OWN) == {name: column for column, name in names.items()}
    backwards = carried_columns(dict(reversed(columns.items())), OWN)
    assert backwards == {name: column for column, name in names.items()}
    kept = frozenset(["Title", "year", "Year", "title"])  # of a folder that older versions began
    assert {*carried_columns(columns, OWN, kept)} >= {"Title", "year", "Year"}
    assert [*carried_columns({"title": 1}, OWN, kept)] == ["manifest_title"]


_NAMES = st.sampled_from(["error", "Error", "emotion", "p_happy", "x", "X", "\udce9", "\\xe9"]).flatmap(
    lambda name: st.integers(0, 3).map(lambda times: "manifest_" * times + name)
)


@given(st.lists(_NAMES, unique=True))
def test_every_column_has_a_name_of_its_own(columns: list[str]) -> None:
    carried = carried_columns({name: name for name in columns}, OWN)
    assert list(carried.values()) == columns
    assert not {name.casefold() for name in carried} & set(columns_of_rows(LABELS))
    assert len({name.casefold() for name in carried}) == len(columns)
    assert carried_columns({name: name for name in columns}, OWN, frozenset(carried)) == carried
    assert all(name == value for name, value in carried.items() if value.isascii() and value in carried)
    "".join(carried).encode()


def test_every_text_can_be_stored(tiny_model: Path) -> None:
    odd = os.fsdecode(b"No\xebl")
    label = SongLabel(f"{odd}.mp3", f"{odd} and half \ud83d of a pair", tags={"title": odd})
    row = row_from_label(label, open_artifact(str(tiny_model)), Source(odd, columns={odd: odd, "n": 5}))
    assert (row["error"], row["title"]) == ("No\\xebl and half \\ud83d of a pair", "No\\xebl")
    assert (row["No\\xebl"], row["n"]) == ("No\\xebl", 5)


def test_names_that_are_not_utf8(tiny_model: Path) -> None:
    label = SongLabel(os.fsdecode(b"caf\xe9.mp3"), "no such file")
    assert row_from_label(label, open_artifact(str(tiny_model)))["path"] == "caf\\xe9.mp3"


def test_models_whose_columns_would_have_the_same_names(tiny_model: Path) -> None:
    artifact = open_artifact(str(tiny_model))
    spec = dataclasses.replace(artifact.spec, labels=("emotion", "sad"))
    further = dataclasses.replace(artifact, name="p", spec=spec)  # p_emotion twice: also of a label
    with pytest.raises(UsageError, match="the same names"):
        names_of_columns(dataclasses.replace(artifact, spec=spec, further=(further,)))
    names = names_of_columns(dataclasses.replace(artifact, further=(dataclasses.replace(further, name="b"),)))
    assert {"p_sad", "b_p_sad", "b_emotion", "emotion"} <= names


@pytest.mark.parametrize("what", ["error", "one window", "a film", "tags", "real_path"])
def test_the_memory_of_rows_is_counted(what: str, tiny_model: Path) -> None:
    """What is kept in memory is bounded by it."""
    artifact = open_artifact(str(tiny_model))

    def a_row(number: int) -> dict:
        path = f"/music/artist {number}/album/{number:07} a song.mp3"
        source = Source(path, 10**6 + number, 10**18 + number, {}, 10**18 + number, False, f"{path} ")
        windows = tuple(
            (30.0 * each + number, tuple(number / 1e5 + place / 10 for place in range(4)))
            for each in range(1 if what == "one window" else 200)
        )
        label = SongLabel(
            path, None, "happy", windows[0][1], 99.0 + number, windows, "fake", {"title": path[1:]}
        )
        rows: dict[str, Callable[[], dict]] = {
            "error": lambda: row_from_label(SongLabel(path, "no sound"), artifact, source),
            "tags": lambda: {"title": path, "artist": None, "album": None, "ctime_ns": 10**18 + number},
            "real_path": lambda: {"real_path": path},
        }
        return rows.get(what, lambda: row_from_label(label, artifact, source))()

    a_row(0)
    tracemalloc.start()
    rows = [a_row(number) for number in range(200)]
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 0.66 < sum(map(size_of_row, rows)) / taken < 2
