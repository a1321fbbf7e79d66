"""The row of a label."""

from __future__ import annotations

import os
from pathlib import Path

from merkit.engine.artifact import open_artifact
from merkit.engine.catalogue.rows import carried_columns, columns_of_rows, row_from_label
from merkit.engine.catalogue.source import Source
from merkit.engine.labelling.song_label import SongLabel
from songs import GOOD


def test_columns(rows: list[dict]) -> None:
    assert list(rows[0])[:11] == [
        *("path", "status", "error", "emotion", "confidence"),
        *("p_happy", "p_tense", "p_sad", "p_calm", "duration_s", "windows"),
    ]
    assert [row["status"] for row in rows] == ["ok", "error"]
    assert rows[0]["confidence"] == 0.6


def test_manifest_columns_come_last_and_never_replace_ours(tiny_model: Path) -> None:
    artifact = open_artifact(str(tiny_model))
    source = Source(GOOD.path, 7, 9, {"isrc": "IN-1", "emotion": "theirs", "year": 1975})
    row = row_from_label(GOOD, artifact, source)
    assert (row["emotion"], row["manifest_emotion"]) == ("sad", "theirs")
    assert (row["size_bytes"], row["mtime_ns"]) == (7, 9)
    carried = carried_columns({"isrc": "string", "emotion": "string", "year": "int64"}, artifact.spec.labels)
    assert list(row) == [*columns_of_rows(artifact.spec.labels), *carried]


def test_names_that_are_not_utf8(tiny_model: Path) -> None:
    label = SongLabel(os.fsdecode(b"caf\xe9.mp3"), "no such file")
    assert row_from_label(label, open_artifact(str(tiny_model)))["path"] == "caf\\xe9.mp3"
