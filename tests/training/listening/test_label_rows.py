"""What mer-label wrote, as songs to listen to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from labelled_files import write_files
from merkit.engine.catalogue.row_file import RowFile
from merkit.engine.catalogue.rows import columns_of_rows
from merkit.engine.catalogue.run_info import RunInfo
from merkit.engine.catalogue.shards import ShardFolder
from merkit.engine.errors import MerError, UsageError
from merkit.training.listening.label_rows import songs_from_labels
from merkit.training.listening.queue_file import QueuedSong
from pyarrow import parquet

_LABELS = ("calm", "sad")


def _row(path: object, calm: float = 0.75, **more: Any) -> dict[str, Any]:
    row = {"path": str(path), "status": "ok", "confidence": calm, "p_calm": calm, "p_sad": 1 - calm}
    return {**row, "duration_s": 9.0, **more}


def _folder(place: Path, *rows: dict[str, Any]) -> Path:
    with ShardFolder(place, RunInfo(_LABELS, {"p_extra": "float64"}, {}), rows_a_shard=2) as shards:
        for row in rows:
            shards.write(row)
    return place


def test_a_folder_of_shards(tmp_path: Path):
    write_files(tmp_path, "a.mp3", "गीत.mp3", "c.mp3")
    rows = [
        _row(tmp_path / "a.mp3", 0.9, artist="A", p_extra=7.0),
        _row(tmp_path / "गीत.mp3", 0.25, title="गीत"),
    ]
    found = songs_from_labels(_folder(tmp_path / "labels", *rows, _row(tmp_path / "c.mp3", 0.5)))
    assert found.songs == (
        QueuedSong(str(tmp_path / "a.mp3"), "A"),
        QueuedSong(str(tmp_path / "गीत.mp3"), "", "गीत"),
        QueuedSong(str(tmp_path / "c.mp3")),
    )
    assert found.labels == _LABELS
    assert np.allclose(found.probabilities, [[0.9, 0.1], [0.25, 0.75], [0.5, 0.5]])
    assert found.left_out == {}


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_one_file_with_the_columns_of_a_manifest(tmp_path: Path, suffix: str):
    write_files(tmp_path, "a.mp3", "b.mp3", "c.mp3")
    place = tmp_path / f"rows.{suffix}"
    columns = (*columns_of_rows(_LABELS), "p_extra")
    with RowFile(place, RunInfo(_LABELS, {"p_extra": "float64"}, {})) as file:
        kinds: dict[str, dict[str, Any]] = {"a": {}, "b": {"verdict": "not_music"}, "c": {"p_sad": None}}
        for name, more in kinds.items():
            row = _row(tmp_path / f"{name}.mp3", p_extra=1.0, **more)
            file.write({column: row.get(column) for column in columns})
    found = songs_from_labels(place)
    assert found.labels == _LABELS
    assert [song.path for song in found.songs] == [str(tmp_path / "a.mp3")]
    assert found.left_out == {"no music": 1, "could not be labelled": 1}


def test_relative_paths_are_those_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_files(tmp_path, "in/a.mp3", "b.mp3")
    labels = _folder(tmp_path / "labels", _row("in/a.mp3"), _row("x", real_path=str(tmp_path / "b.mp3")))
    monkeypatch.chdir(tmp_path)
    names = [song.path for song in songs_from_labels(labels).songs]
    assert names == [str(tmp_path / "in/a.mp3"), str(tmp_path / "b.mp3")]


def test_songs_whose_folder_was_renamed_are_found_as_the_rows_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_files(tmp_path, "new/a.mp3", "new/b.mp3")
    rows = [_row(f"{name}.mp3", real_path=f"{tmp_path}/old/{name}.mp3") for name in "ab"]
    labels = _folder(tmp_path / "labels", *rows, _row("gone.mp3", real_path=f"{tmp_path}/old/gone.mp3"))
    monkeypatch.chdir(tmp_path / "new")
    found = songs_from_labels(labels)
    assert [song.path for song in found.songs] == [f"{tmp_path}/new/{name}.mp3" for name in "ab"]
    assert found.left_out == {"not there any more": 1}


def test_what_nobody_can_label_is_counted(tmp_path: Path):
    write_files(tmp_path, "a.mp3", "b.mp3")
    rows = [
        _row(tmp_path / "a.mp3"),
        _row(tmp_path / "a.mp3"),
        {"path": str(tmp_path / "b.mp3"), "status": "error"},
        _row(tmp_path / "gone.mp3"),
        _row("https://example.org/a.mp3"),
    ]
    found = songs_from_labels(_folder(tmp_path / "labels", *rows))
    assert len(found.songs) == 1
    assert found.left_out == {"could not be labelled": 1, "not there any more": 1, "not on this machine": 1}


def test_a_name_that_is_not_utf_8_is_counted_as_that(tmp_path: Path):
    write_files(tmp_path, "a.mp3", r"b\xff.mp3")
    (tmp_path / "d\udcff").mkdir()
    for name in ("c\udcff.mp3", "d\udcff/e.mp3"):
        (tmp_path / name).touch()
    names = ("a.mp3", r"b\xff.mp3", r"c\xff.mp3", r"gone\xff.mp3", r"d\xff/e.mp3")
    labels = _folder(tmp_path / "labels", *(_row(f"{tmp_path}/{name}") for name in names))
    reason = "with a name that is not UTF-8: rename it"
    found = songs_from_labels(labels, tmp_path)
    assert [song.path for song in found.songs] == [f"{tmp_path}/{name}" for name in names[:2]]
    assert found.left_out == {reason: 2, "not there any more": 1}
    beside = songs_from_labels(labels, tmp_path / "d\udcff")  # a queue there names it without its folder
    assert beside.songs[-1].path == f"{tmp_path}/d\udcff/e.mp3"
    assert beside.left_out == {reason: 1, "not there any more": 1}


def test_what_is_no_music_is_left_out(tmp_path: Path):
    write_files(tmp_path, "a.mp3", "b.mp3")
    rows = [_row(tmp_path / "a.mp3", verdict="not_music"), _row(tmp_path / "b.mp3", verdict="unsure")]
    found = songs_from_labels(_folder(tmp_path / "labels", *rows))
    assert [song.path for song in found.songs] == [str(tmp_path / "b.mp3")]
    assert found.left_out == {"no music": 1}


def test_what_is_no_output_of_a_labelling(tmp_path: Path):
    write_files(tmp_path, "a.mp3", "empty/a.txt", "text.parquet")
    parquet.write_table(pa.table({"path": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(UsageError, match=r"neither a folder.*\.parquet, \.csv, \.jsonl"):
        songs_from_labels(tmp_path / "a.mp3")
    no_column = "it has no column"
    for name, reason in (
        ("empty", "no shards"),
        ("text.parquet", "cannot be read"),
        ("other.parquet", no_column),
    ):
        with pytest.raises(MerError, match=reason):
            songs_from_labels(tmp_path / name)
    with pytest.raises(MerError, match="no song that could be labelled: 1 not there any more"):
        songs_from_labels(_folder(tmp_path / "labels", _row("gone.mp3")))
