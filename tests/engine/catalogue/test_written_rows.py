"""Rows that went to one file come back as they were, so that pages and playlists need no second labelling."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from merkit.engine.artifact import Artifact, open_artifact
from merkit.engine.catalogue.copied_rows import copy_rows
from merkit.engine.catalogue.row_file import RowFile
from merkit.engine.catalogue.rows import carried_columns, columns_of_rows, names_of_columns, row_from_label
from merkit.engine.catalogue.run_info import FILE_KEY, RunInfo, run_info
from merkit.engine.catalogue.shards import ShardFolder, labelled_shards, rows_in
from merkit.engine.catalogue.source import Source
from merkit.engine.catalogue.written_rows import rows_in_file
from merkit.engine.errors import MerError, UsageError
from merkit.engine.files import Disk
from merkit.engine.labelling.file_windows import WindowOptions
from merkit.engine.labelling.song_label import SongLabel
from merkit.engine.outputs.songs import labels_in
from merkit.engine.text.escape import csv_line
from songs import BAD, GOOD

SUFFIXES = ("parquet", "csv", "jsonl")
COLUMNS = {"isrc": "string", "confidence": "string", "=x": "string"}


@pytest.fixture
def artifact(tiny_model: Path) -> Artifact:
    return open_artifact(str(tiny_model))


@pytest.fixture
def info(artifact: Artifact) -> RunInfo:
    carried = carried_columns(COLUMNS, names_of_columns(artifact))
    return run_info(artifact, "null", WindowOptions(artifact.spec.audio), carried)


@pytest.fixture
def two_rows(artifact: Artifact) -> list[dict[str, Any]]:
    cells = ({"isrc": "IN-1", "confidence": "high", "=x": "=1+1"}, {"isrc": "IN-2", "confidence": "low"})
    sources = [Source(song.path, 7, 9, of_row) for song, of_row in zip((GOOD, BAD), cells, strict=True)]
    return [
        row_from_label(song, artifact, source, "null")
        for song, source in zip((GOOD, BAD), sources, strict=True)
    ]


def folder_of(folder: Path, info: RunInfo, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    with ShardFolder(folder, info) as shards:
        for row in rows:
            shards.write(row)
    return list(rows_in(folder))


def file_of(path: Path, info: RunInfo, rows: list[dict[str, Any]]) -> Path:
    with RowFile(path, info) as file:
        for row in rows:
            file.write(row)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_becomes_the_folder_that_a_run_would_have_made(
    suffix: str, tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    wanted = folder_of(tmp_path / "run", info, two_rows)
    file = file_of(tmp_path / f"rows.{suffix}", info, two_rows)
    assert copy_rows(file, tmp_path / "copy") == 2
    assert list(rows_in(tmp_path / "copy")) == wanted
    found, _ = labelled_shards(tmp_path / "copy")
    assert (found.labels, found.carried) == (info.labels, info.carried)
    assert (found.decides == info.decides) == (suffix == "parquet")
    assert {name: info.decides[name] for name in ("model", "model_sha256")}.items() <= found.decides.items()


@pytest.mark.parametrize("into", SUFFIXES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_from_file_to_file(
    suffix: str, into: str, tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    wanted = file_of(tmp_path / f"wanted.{into}", info, two_rows)
    file = file_of(tmp_path / f"rows.{suffix}", info, two_rows)
    assert copy_rows(file, tmp_path / f"copy.{into}") == 2
    if into == "parquet":
        assert pq.read_table(tmp_path / "copy.parquet").equals(pq.read_table(wanted))
    else:
        assert (tmp_path / f"copy.{into}").read_bytes() == wanted.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tags_with_line_breaks_and_addresses(
    suffix: str, tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    tags = {"title": "Tum Hi Ho\nhttp://www.songs.example", "artist": "A\nb.mp3", "album": "x\r\ny.mp3\r\n"}
    file = file_of(tmp_path / f"rows.{suffix}", info, [{**row, **tags} for row in two_rows])
    copy_rows(file, tmp_path / "copy")
    assert [{name: row[name] for name in tags} for row in rows_in(tmp_path / "copy")] == [tags, tags]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_lines_of_a_table_that_had_no_path_come_back_each(
    suffix: str, tmp_path: Path, artifact: Artifact, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    label = SongLabel("", "no such file", unreadable=True)
    sources = [Source("", columns={**dict.fromkeys(COLUMNS), "isrc": f"IN-{i}"}, real_path="") for i in "34"]
    rows = [*two_rows, *(row_from_label(label, artifact, source, "null") for source in sources)]
    file = file_of(tmp_path / f"rows.{suffix}", info, rows)
    assert copy_rows(file, tmp_path / "copy") == 4
    back = [(row["path"], row["real_path"] or "", row["isrc"]) for row in rows_in(tmp_path / "copy")]
    assert back[2:] == [("", "", "IN-3"), ("", "", "IN-4")]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_good_row_without_a_path_is_refused(
    suffix: str, tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    file = file_of(tmp_path / f"rows.{suffix}", info, [{**two_rows[0], "path": ""}])
    with pytest.raises(MerError, match="row 1: path is ''"):
        copy_rows(file, tmp_path / "copy")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_run_goes_on_only_where_the_file_says_its_options(
    suffix: str, tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    copy_rows(file_of(tmp_path / f"rows.{suffix}", info, two_rows), tmp_path / "copy")
    if suffix == "parquet":
        with ShardFolder(tmp_path / "copy", info):
            pass
    else:
        with pytest.raises(MerError, match="a file that does not say how they were made"):
            ShardFolder(tmp_path / "copy", info)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_columns_of_further_models_keep_their_kinds(
    suffix: str, tmp_path: Path, artifact: Artifact, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    kinds = {"hindi5_emotion": "string", "hindi5_confidence": "float64", "hindi5_verdict": "string"}
    kinds |= {"hindi5_novelty": "float64", "hindi5_p_sad": "float64", "hindi5_model_sha256": "string"}
    further = {"hindi5_emotion": "sad", "hindi5_confidence": 0.75, "hindi5_p_sad": 0.75}
    further |= {"hindi5_verdict": "sure", "hindi5_novelty": 0.5}
    own = [{name: row[name] for name in row if name not in info.carried} for row in two_rows]
    rows = [{**row, **further, "hindi5_model_sha256": "ab" * 32} for row in own]
    info = run_info(artifact, "null", WindowOptions(artifact.spec.audio), kinds)
    copy_rows(file_of(tmp_path / f"rows.{suffix}", info, rows), tmp_path / "copy")
    found, _ = labelled_shards(tmp_path / "copy")
    assert found.carried == kinds
    assert [row["hindi5_p_sad"] for row in rows_in(tmp_path / "copy")] == [0.75, 0.75]
    if suffix != "parquet":
        assert found.decides["further"] == f"{'ab' * 32} hindi5"


def test_parquet_of_older_versions_says_less(
    tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    file = file_of(tmp_path / "rows.parquet", info, two_rows)
    table = pq.read_table(file)
    assert FILE_KEY in (table.schema.metadata or {})
    old = table.drop_columns(["verdict", "novelty", "runtime"]).replace_schema_metadata(None)
    pq.write_table(old, file)
    copy_rows(file, tmp_path / "copy")
    wanted = [{**row, "verdict": None, "novelty": None, "runtime": None} for row in two_rows]
    for row, expected in zip(rows_in(tmp_path / "copy"), wanted, strict=True):
        assert row == {**dict.fromkeys(row), **expected}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "path,year\nx.mp3,1975\n", "no rows of mer-label: it has no column 'status'"),
        ("a.csv", "", "it has no column 'path'"),
        ("a.jsonl", '{"path": 1\n', "cannot be read: "),
        ("a.jsonl", "[]\n", "line 1 is no row"),
        ("a.jsonl", "", "a.jsonl cannot be read: the file is empty"),
        ("a.parquet", "PAR1 nonsense PAR1", "cannot be read: "),
        ("a.txt", "x.mp3\n", "ends in .parquet, .csv, .jsonl"),
    ],
)
def test_what_is_no_file_of_rows(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(MerError, match=said.replace(".", r"\.")):
        copy_rows(tmp_path / name, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("confidence", "0,75", "confidence is '0,75': a decimal comma; save the table with points"),
        ("mtime_ns", "1,79595E+18", "mtime_ns is '1,79595E.18': a decimal comma"),
        ("mtime_ns", "yesterday", "mtime_ns is 'yesterday'"),
        ("size_bytes", "7.5", "size_bytes is '7.5'"),
        ("status", "OK", "status is 'OK'"),
        ("emotion", "Melancholic", "emotion is 'Melancholic'"),
        ("confidence", "7.5", "confidence is '7.5'"),
        ("novelty", "nan", "novelty is 'nan'"),
        ("model_sha256", "0" * 64, "row 2 is by another model than the first one"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_row_that_another_program_changed_is_named(
    suffix: str, column: str, value: str, said: str, tmp_path: Path, info: RunInfo, two_rows: list[dict]
) -> None:
    """Before anything is written."""
    rows = [two_rows[0], {**two_rows[1], column: value}]
    file = file_of(tmp_path / f"rows.{suffix}", info, rows)
    with pytest.raises(MerError, match=f"row 2.*{said.removeprefix('row 2 ')}".replace("+", r"\+")):
        copy_rows(file, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_timeline_that_is_none_is_a_line(tmp_path: Path, info: RunInfo, two_rows: list[dict]) -> None:
    file = file_of(tmp_path / "rows.jsonl", info, [{**two_rows[0], "windows": [{"start_s": "soon"}]}])
    with pytest.raises(MerError, match=r"rows\.jsonl cannot be read: row 1: windows is .*soon"):
        copy_rows(file, tmp_path / "copy")


@pytest.mark.parametrize("name", ["windows", "p_sad", "model_sha256", "path"])
def test_a_line_of_json_without_one_of_its_names(
    name: str, tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    """It is null there, which a model and a path cannot be."""
    del two_rows[1][name]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, two_rows)))
    if name in ("windows", "p_sad"):
        assert copy_rows(tmp_path / "rows.jsonl", tmp_path / "copy") == 2
    else:
        with pytest.raises(MerError, match=r"row 2: path is 'None'|row 2 is by another model"):
            copy_rows(tmp_path / "rows.jsonl", tmp_path / "copy")


def test_a_folder_of_labels_is_not_written_into(
    tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    file = file_of(tmp_path / "rows.csv", info, two_rows)
    copy_rows(file, tmp_path / "copy")
    with pytest.raises(MerError, match="is not empty: name a new folder"):
        copy_rows(file, tmp_path / "copy")
    assert len(list(rows_in(tmp_path / "copy"))) == 2


def test_rows_of_a_folder_go_to_no_other_folder(
    tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    folder_of(tmp_path / "run", info, two_rows)
    (tmp_path / "rows.csv").mkdir()
    for place in ("rows.csv", "run"):
        with pytest.raises(UsageError, match=f"{place} is a folder: name a file for the rows of one"):
            copy_rows(tmp_path / "run", tmp_path / place)


def test_where_a_folder_is_wanted_the_command_is_said(
    tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    file = file_of(tmp_path / "rows.csv", info, two_rows)
    with pytest.raises(MerError, match=f"or of its rows from 'mer-label --from {file} --out FOLDER/'"):
        labels_in(file)


def test_lines_that_are_blank_are_none(tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]) -> None:
    file = file_of(tmp_path / "rows.jsonl", info, two_rows)
    file.write_text("\n" + file.read_text().replace("\n", "\n\n"))
    assert [row["path"] for row in rows_in_file(file)[1]()] == [row["path"] for row in two_rows]
    assert json.loads(file.read_text().splitlines()[1])["path"] == two_rows[0]["path"]


def test_what_pandas_makes_of_a_column_with_gaps(
    tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    """Whole numbers become floats where some are missing."""
    file = file_of(tmp_path / "rows.csv", info, two_rows)
    file.write_text(file.read_text().replace(",7,9,", ",7.0,9.0,"))
    table = pq.read_table(file_of(tmp_path / "rows.parquet", info, two_rows))
    place = table.schema.get_field_index("size_bytes")
    sizes = table.column("size_bytes").cast("float64")
    pq.write_table(table.set_column(place, "size_bytes", sizes), tmp_path / "rows.parquet")
    for name in ("rows.csv", "rows.parquet"):
        copy_rows(tmp_path / name, tmp_path / f"of-{name}" / "labels")
        assert [row["size_bytes"] for row in rows_in(tmp_path / f"of-{name}" / "labels")] == [7, 7]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_rows_that_another_program_read_from_csv_and_wrote_in_another_format(
    suffix: str, tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    """As pandas, polars, DuckDB and csvkit do: the timeline stays text, and so do marks of cells."""
    info = replace(info, carried={})
    wanted = [
        {**{name: row[name] for name in columns_of_rows(info.labels)}, "title": "=1;+1", "album": "@home"}
        for row in two_rows
    ]
    file = file_of(tmp_path / "rows.csv", info, wanted)
    with file.open(newline="") as lines:
        table = list(csv.DictReader(lines))
    assert table[0]["title"] == "'=1;'+1"
    kinds = columns_of_rows(info.labels)
    read = [
        {
            name: float(cell) if cell and "float" in kinds.get(name, "") else
            int(cell) if cell and kinds.get(name) == "int64" else
            cell or (None if suffix == "parquet" else "")
            for name, cell in row.items()
        }
        for row in table
    ]  # fmt: skip
    other = tmp_path / f"other.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(read), other)
    else:
        other.write_text("".join(json.dumps(row) + "\n" for row in read))
    copy_rows(other, tmp_path / "labels")
    copy_rows(file, tmp_path / "wanted")
    ours, theirs = list(rows_in(tmp_path / "wanted")), list(rows_in(tmp_path / "labels"))
    assert ours == theirs
    assert [(row["title"], row["album"]) for row in theirs] == 2 * [("=1;+1", "@home")]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
@pytest.mark.parametrize("text", ["[{'start_s': 0.0}]", '{"a": 1}', '["a"]', "5", "[" * 100_000])
def test_text_that_is_no_timeline_is_named(
    text: str, suffix: str, tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    rows = [{**row, "windows": text} for row in two_rows]
    file = tmp_path / f"rows.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(MerError, match="row 1: windows is "):
        copy_rows(file, tmp_path / "labels")


TIME = 1_795_950_123_456_789_123


def of_a_file(tmp_path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, of which the first is of a file that is there."""
    path = tmp_path / "a.mp3"
    path.write_text("sound")
    os.utime(path, ns=(TIME, TIME))
    of_file = {"path": str(path), "real_path": str(path), "size_bytes": 5, "mtime_ns": TIME}
    return [{**rows[0], **of_file, "ctime_ns": path.stat().st_ctime_ns}, rows[1]]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("digits", [6, 10, 17])
def test_times_that_another_program_rounded_are_those_of_the_file(
    digits: int, suffix: str, tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    """Spreadsheets show 6 digits, JSON of pandas 10, and its floats, of columns with a gap, 17."""
    wanted = of_a_file(tmp_path, two_rows)
    rounded = [{**wanted[0]}, {**wanted[1], "mtime_ns": None, "ctime_ns": None}]
    for name in ("mtime_ns", "ctime_ns"):
        rounded[0][name] = float(f"{wanted[0][name]:.{digits - 1}e}")
    file = tmp_path / f"rows.{suffix}"
    if suffix == "parquet":
        table = pq.read_table(file_of(file, info, wanted))
        for name in ("mtime_ns", "ctime_ns"):
            values = pa.array([row[name] for row in rounded], pa.float64())
            table = table.set_column(table.schema.get_field_index(name), name, values)
        pq.write_table(table, file)
    elif suffix == "csv":
        file_of(file, info, rounded)
    else:
        file.write_text("\n".join(map(json.dumps, rounded)))
    said: list[str] = []
    copy_rows(file, tmp_path / "copy", said.append)
    row = next(rows_in(tmp_path / "copy"))
    assert [row[name] for name in ("mtime_ns", "ctime_ns")] == [TIME, wanted[0]["ctime_ns"]]
    assert said == []


@pytest.mark.parametrize("digits", [6, 10, 17])
@pytest.mark.parametrize("step", [10**6, 10**9, 2 * 10**9])
@pytest.mark.parametrize("of_row", [False, True])
def test_rounded_times_beside_songs_that_an_archive_rounded(
    of_row: bool, step: int, digits: int, tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    """Of a folder that tar brought elsewhere, or whose songs had come so and were brought again, whole."""
    wanted = of_a_file(tmp_path, two_rows)[0]
    times = TIME - TIME % step, TIME
    before, now = times if of_row else times[::-1]
    os.utime(wanted["path"], ns=(now, now))
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({**wanted, "mtime_ns": float(f"{before:.{digits - 1}e}")}))
    said: list[str] = []
    copy_rows(file, tmp_path / "copy", said.append)
    assert ([row["mtime_ns"] for row in rows_in(tmp_path / "copy")], said) == ([now], [])


@pytest.mark.parametrize("change", ["size", "time", "gone", "digits"])
def test_times_that_were_rounded_and_that_no_file_tells_are_said(
    change: str, tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    rows = of_a_file(tmp_path, two_rows)
    path = Path(rows[0]["path"])
    if change == "size":
        path.write_text("longer")
        os.utime(path, ns=(TIME, TIME))
    elif change == "time":
        os.utime(path, ns=(TIME, TIME + 10**13))
    elif change == "gone":
        path.unlink()
    time = 1.8e18 if change == "digits" else 1.79595e18
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({**row, "mtime_ns": time}) for row in rows))
    said: list[str] = []
    copy_rows(file, tmp_path / "copy", said.append)
    assert [row["mtime_ns"] for row in rows_in(tmp_path / "copy")] == [int(time)] * 2
    (line,) = said
    assert "rounded by another program, and no file tells the whole of it (rows: 2)" in line


def test_columns_without_a_name_are_left_out(
    tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    """Spreadsheets write empty ones behind the last, pandas its index before the first."""
    wanted = folder_of(tmp_path / "run", info, two_rows)
    file = tmp_path / "rows.csv"
    rows = [{**row, "windows": json.dumps(row["windows"])} for row in two_rows]
    names = [*columns_of_rows(info.labels), *info.carried]
    cells = [[number, *map(row.get, names), "", ""] for number, row in enumerate(rows)]
    file.write_text("".join(map(csv_line, [["", *names, "", ""], *cells])))
    copy_rows(file, tmp_path / "copy")
    assert list(rows_in(tmp_path / "copy")) == wanted
    table = pq.ParquetFile(file_of(tmp_path / "rows.parquet", info, two_rows)).read()
    table = table.append_column("__index_level_0__", pa.array([0, 5])).replace_schema_metadata()
    pq.write_table(table, tmp_path / "of pandas.parquet")
    copy_rows(tmp_path / "of pandas.parquet", tmp_path / "second copy")
    assert list(rows_in(tmp_path / "second copy")) == wanted


def test_of_second_rows_of_a_file_the_last_one_stays(
    tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    newer = {**two_rows[0], "isrc": "IN-9"}
    file = file_of(tmp_path / "rows.csv", info, [*two_rows, newer])
    assert copy_rows(file, tmp_path / "copy") == 2
    assert [row["isrc"] for row in rows_in(tmp_path / "copy")] == ["IN-2", "IN-9"]


def test_files_whose_names_rows_write_alike_are_two(
    tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    """A byte that is no UTF-8, and the text that stands for it in rows."""
    text = "/music/caf\\xe9.mp3"
    alike = [{**two_rows[0], "path": text, "real_path": text, "size_bytes": size} for size in (7, 8)]
    file = file_of(tmp_path / "rows.csv", info, [*alike, {**alike[1], "isrc": "IN-9"}])
    assert copy_rows(file, tmp_path / "copy") == 2
    assert [(row["size_bytes"], row["isrc"]) for row in rows_in(tmp_path / "copy")] == [
        (7, "IN-1"),
        (8, "IN-9"),
    ]


def test_columns_that_were_added_stay(tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]) -> None:
    table = pq.read_table(file_of(tmp_path / "rows.parquet", info, two_rows))
    days = pa.array([date(2026, 11, 29), None])
    pq.write_table(table.append_column("heard", days), tmp_path / "rows.parquet")
    lines = [json.dumps(two_rows[0]), json.dumps({**two_rows[1], "heard": 5, "note": True})]
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + "\n".join(lines).encode())
    copy_rows(tmp_path / "rows.parquet", tmp_path / "a")
    assert [row["heard"] for row in rows_in(tmp_path / "a")] == ["2026-11-29", None]
    copy_rows(tmp_path / "rows.jsonl", tmp_path / "b")
    assert [(row["heard"], row["note"]) for row in rows_in(tmp_path / "b")] == [(None, None), (5, True)]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("change", ["sorted", "moved", "removed", "twice", "in another order"])
def test_columns_that_were_moved_or_removed_are_refused(
    change: str, suffix: str, tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    names = list(two_rows[0])
    if change == "sorted":
        names.sort()
    elif change == "twice":
        names.append("emotion")
    elif change == "in another order":
        first, second = names.index("p_sad"), names.index("p_calm")
        names[first], names[second] = "p_calm", "p_sad"
    else:
        names.remove("p_calm")
        names += ["p_calm"] * (change == "moved")
    file = tmp_path / f"rows.{suffix}"
    if suffix == "parquet":
        table = pq.read_table(file_of(file, info, two_rows))
        arrays = [table.column(name) for name in names]
        pq.write_table(pa.table(arrays, names=names, metadata=table.schema.metadata), file)
    elif suffix == "csv":
        cells = [
            [json.dumps(v) if isinstance(v := row.get(n), list) else v for n in names] for row in two_rows
        ]
        file.write_text("".join(map(csv_line, [names, *cells])))
    else:
        file.write_text("\n".join(json.dumps({name: row.get(name) for name in names}) for row in two_rows))
        if change == "twice":
            return  # JSON has no such rows
    said = r"two columns 'emotion'|no column '|columns p_\.\.\. (do|are) not|windows is"
    with pytest.raises(MerError, match=said):
        copy_rows(file, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_timeline_of_hours_in_csv(tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]) -> None:
    window = two_rows[0]["windows"][0]
    windows = [{**window, "start_s": number / 10} for number in range(30_000)]
    file = file_of(tmp_path / "rows.csv", info, [{**two_rows[0], "windows": windows}])
    assert file.stat().st_size > 1 << 20
    copy_rows(file, tmp_path / "copy")
    ((row,),) = [list(rows_in(tmp_path / "copy"))]
    assert len(row["windows"]) == 30_000


def test_a_copy_that_breaks_off_leaves_nothing(
    tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = file_of(tmp_path / "rows.csv", info, two_rows)
    (tmp_path / "copy").mkdir()  # an empty folder is a place

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ShardFolder, "write", stopped)
        with pytest.raises(KeyboardInterrupt):
            copy_rows(file, tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "rows.csv", "tiny.onnx"]
    assert copy_rows(file, tmp_path / "copy") == 2
    assert len(list(rows_in(tmp_path / "copy"))) == 2


def test_what_a_copy_that_was_killed_left_goes_with_the_next(
    tmp_path: Path, info: RunInfo, two_rows: list[dict[str, Any]]
) -> None:
    file = file_of(tmp_path / "rows.csv", info, two_rows)
    code = (
        "import os, sys\nfrom merkit.engine.catalogue import copied_rows\n"
        "copied_rows.ShardFolder.write = lambda *_: os._exit(9)\ncopied_rows.copy_rows(*sys.argv[1:])"
    )
    killed = subprocess.run([sys.executable, "-P", "-c", code, str(file), str(tmp_path / "copy")])
    assert killed.returncode == 9
    assert len(list(tmp_path.iterdir())) == 3
    assert copy_rows(file, tmp_path / "copy") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "rows.csv", "tiny.onnx"]


@pytest.mark.parametrize(
    ("of", "call"), [(Path, "open"), (Disk, "create"), (Disk, "sync"), (Disk, "replace")]
)
def test_a_full_disk_is_said_of_the_folder_that_was_named(
    of: type,
    call: str,
    tmp_path: Path,
    info: RunInfo,
    two_rows: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = file_of(tmp_path / "rows.csv", info, two_rows)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(of, call, full)
    with pytest.raises(MerError) as error:
        copy_rows(file, tmp_path / "copy")
    assert str(error.value) == f"{tmp_path / 'copy'} cannot be written: No space left on device"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "tiny.onnx"]


def test_rows_that_are_none(tmp_path: Path, info: RunInfo) -> None:
    for suffix in SUFFIXES:
        file = file_of(tmp_path / f"rows.{suffix}", info, [])
        with pytest.raises(MerError, match=r"holds no rows|file is empty"):
            copy_rows(file, tmp_path / "copy")
