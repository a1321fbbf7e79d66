"""Rows in one Parquet, CSV or JSONL file."""

from __future__ import annotations

import csv
import errno
import json
import os
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from failing_disk import FailingDisk
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.artifact import open_artifact
from merkit.engine.catalogue.csv_rows import open_csv
from merkit.engine.catalogue.row_file import RowFile
from merkit.engine.catalogue.rows import carried_columns, names_of_columns, row_from_label
from merkit.engine.catalogue.run_info import RunInfo
from merkit.engine.catalogue.source import Source
from merkit.engine.errors import MerError, UsageError
from merkit.engine.labelling.song_label import SongLabel
from merkit.engine.strict_json import json_from_text
from songs import BAD, GOOD


def written(path: Path, rows: list[dict]) -> Path:
    with RowFile(path, RunInfo(("happy", "tense", "sad", "calm"), {}, {})) as file:
        for row in rows:
            file.write(row)
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []
    return path


def test_parquet(tmp_path: Path, rows: list[dict]) -> None:
    table = pq.read_table(written(tmp_path / "a.parquet", rows * 1_500))
    assert table.num_rows == 3_000
    again = table.to_pylist()
    assert [row["path"] for row in again[:2]] == [GOOD.path, BAD.path]  # raw: Parquet runs nothing
    assert again[0]["windows"] == [
        {"start_s": 0.0, "p": pytest.approx([0.1, 0.2, 0.6, 0.1])},
        {"start_s": 10.0, "p": None},
    ]
    assert again[1]["emotion"] is None
    assert again[1]["p_happy"] is None


def test_csv_is_safe_in_a_spreadsheet(tmp_path: Path, rows: list[dict]) -> None:
    with written(tmp_path / "a.csv", rows).open(newline="", encoding="utf-8") as text:
        again = list(csv.DictReader(text))
    assert again[0]["path"] == GOOD.path
    assert again[1]["path"] == "'" + BAD.path
    assert json.loads(again[0]["windows"]) == rows[0]["windows"]
    assert again[1]["confidence"] == ""


def test_jsonl(tmp_path: Path, rows: list[dict]) -> None:
    lines = written(tmp_path / "a.jsonl", rows).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == rows


def test_names_that_are_no_utf8(tmp_path: Path, tiny_model: Path) -> None:
    label = SongLabel(os.fsdecode(b"caf\xe9.mp3"), "no such file")
    row = row_from_label(label, open_artifact(str(tiny_model)))
    assert row["path"] == "caf\\xe9.mp3"
    for suffix in ("parquet", "csv", "jsonl"):
        written(tmp_path / f"a.{suffix}", [row])


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("older", [True, False])
def test_an_older_file_is_spared(tmp_path: Path, rows: list[dict], beside: bool, older: bool) -> None:
    (folder := tmp_path / "rows").mkdir()
    target = folder / "a.csv"
    if older:
        target.write_text("the last run's")
    with RowFile(target, RunInfo(("happy", "tense", "sad", "calm"), {}, {})) as file:
        file.write(rows[0])
        assert file.spare_older(beside) == older
    names = ["a.csv", *(["a.partial.csv"] if older and beside else [])]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert (target.read_text() == "the last run's") == older
    assert GOOD.path in (folder / names[-1]).read_text() or (older and not beside)


def test_rows_beside_an_older_file_stay_on_its_disk(
    tmp_path: Path, rows: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name that was given is a link to another disk, and so is that of the rows of an earlier stop."""
    for name in ("here", "disk", "third"):
        (tmp_path / name).mkdir()
    (tmp_path / "disk" / "old.csv").write_text("the last run's")
    (tmp_path / "third" / "x.csv").write_text("what was stopped")
    (tmp_path / "here" / "a.csv").symlink_to("../disk/old.csv")
    (tmp_path / "disk" / "old.partial.csv").symlink_to("../third/x.csv")
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if os.path.dirname(source) != os.path.dirname(target):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with RowFile(tmp_path / "here" / "a.csv", RunInfo(("happy", "tense", "sad", "calm"), {}, {})) as file:
        file.write(rows[0])
        assert file.spare_older(beside=True)
    assert file.partial == Path(os.path.realpath(tmp_path)) / "disk" / "old.partial.csv"
    assert GOOD.path in file.partial.read_text()
    assert (tmp_path / "here" / "a.csv").read_text() == "the last run's"
    assert (tmp_path / "third" / "x.csv").read_text() == "what was stopped"


def test_an_older_file_that_is_spared_for_no_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("the last run's")
    with RowFile(tmp_path / "a.csv", RunInfo(("happy", "tense", "sad", "calm"), {}, {})) as file:
        assert file.spare_older(beside=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_nothing_half_written(tmp_path: Path, rows: list[dict]) -> None:
    target = tmp_path / "a.parquet"
    target.write_text("the last run's")

    def interrupted() -> None:
        with RowFile(target, RunInfo(("happy", "tense", "sad", "calm"), {}, {})) as file:
            file.write(rows[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "the last run's"
    assert list(tmp_path.glob(".*")) == []


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.parquet, \.csv, \.jsonl"):
        RowFile(tmp_path / "a.xlsx", RunInfo(("a", "b"), {}, {}))
    with pytest.raises(MerError, match="No such file"):
        RowFile(tmp_path / "missing" / "a.csv", RunInfo(("a", "b"), {}, {}))


def test_columns_of_a_manifest(tmp_path: Path, tiny_model: Path) -> None:
    artifact = open_artifact(str(tiny_model))
    carried = carried_columns({"isrc": "string", "year": "int64"}, names_of_columns(artifact))
    with RowFile(tmp_path / "a.parquet", RunInfo(artifact.spec.labels, carried, {})) as file:
        file.write(row_from_label(GOOD, artifact, Source(GOOD.path, 7, 9, {"isrc": "IN-1", "year": 1975})))
        file.write(row_from_label(BAD, artifact, Source(BAD.path)))  # named beside the manifest
    first, second = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert (first["isrc"], first["year"], second["isrc"], second["year"]) == ("IN-1", 1975, None, None)


@pytest.mark.parametrize("name", ["a.jsonl", "-"])
def test_json_lines_have_the_same_columns_in_each(
    name: str, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = open_artifact(str(tiny_model))
    carried = carried_columns({"isrc": "string", "year": "int64"}, names_of_columns(artifact))
    cells = ({"isrc": "IN-1", "year": 1975}, {"year": 1976}, {})  # of two manifests, and named beside them
    path = name if name == "-" else tmp_path / name
    with RowFile(path, RunInfo(artifact.spec.labels, carried, {})) as file:
        for of_row in cells:
            file.write(row_from_label(GOOD, artifact, Source(GOOD.path, 7, 9, of_row)))
    lines = capsys.readouterr().out if name == "-" else Path(path).read_text()
    rows = [json.loads(line) for line in lines.splitlines()]
    assert len({tuple(row) for row in rows}) == 1
    assert [(row["isrc"], row["year"]) for row in rows] == [("IN-1", 1975), (None, 1976), (None, None)]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path, tiny_model: Path, first: str) -> None:
    artifact = open_artifact(str(tiny_model))
    hostile = f"{first}cmd|' /C calc'!A0"
    label = SongLabel(GOOD.path, None, "sad", (0.1, 0.2, 0.6, 0.1), tags={"title": hostile})
    row = row_from_label(label, artifact, Source(GOOD.path, columns={hostile: hostile}))
    with RowFile(tmp_path / "a.csv", RunInfo(artifact.spec.labels, {hostile: "string"}, {})) as file:
        file.write(row)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as text:
        header, cells = csv.reader(text)  # a CR ends no line
    assert (header[-1], cells[-1]) == ("'" + hostile, "'" + hostile)
    assert cells[header.index("title")] == "'" + hostile
    assert not [cell for cell in [*header, *cells] if cell.startswith(first)]


def test_numbers_of_a_csv_manifest_stay_numbers(tmp_path: Path, tiny_model: Path) -> None:
    artifact = open_artifact(str(tiny_model))
    columns = {"valence": "-0.35", "loudness": "-7.2", "phone": "+91 98"}
    with RowFile(
        tmp_path / "a.csv", RunInfo(artifact.spec.labels, dict.fromkeys(columns, "string"), {})
    ) as file:
        file.write(row_from_label(GOOD, artifact, Source(GOOD.path, columns=columns)))
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as text:
        (row,) = csv.DictReader(text)
    assert [row[name] for name in columns] == ["-0.35", "-7.2", "'+91 98"]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_a_file_without_a_time(tmp_path: Path, tiny_model: Path, suffix: str) -> None:
    """One whose time 64 bits of nanoseconds do not hold, or that is not there."""
    artifact = open_artifact(str(tiny_model))
    path = tmp_path / f"a.{suffix}"
    with RowFile(path, RunInfo(artifact.spec.labels, {}, {})) as file:
        file.write(row_from_label(GOOD, artifact, Source(GOOD.path, 7, None)))
        file.write(row_from_label(GOOD, artifact, Source(GOOD.path, 7, -(1 << 62))))  # 1823
    if suffix == "parquet":
        rows = pq.read_table(path).to_pylist()
    else:
        with path.open(newline="", encoding="utf-8") as text:
            rows = list(csv.DictReader(text)) if suffix == "csv" else [json.loads(line) for line in text]
    assert [row["mtime_ns"] or None for row in rows] in ([None, -(1 << 62)], [None, str(-(1 << 62))])
    assert [int(row["size_bytes"]) for row in rows] == [7, 7]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("kind", ["write", "sync", "replace"])
@pytest.mark.parametrize("keeps", [False, True])
def test_a_failing_disk_leaves_the_old_file(
    tmp_path: Path, rows: list[dict], suffix: str, kind: str, keeps: bool
) -> None:
    target = tmp_path / f"a.{suffix}"
    target.write_text("the last run's")
    info = RunInfo(("happy", "tense", "sad", "calm"), {}, {})

    def run() -> None:
        with RowFile(target, info, disk=FailingDisk(kind, 1), keeps=keeps) as file:
            for row in rows:
                file.write(row)

    with pytest.raises(MerError, match=rf"a\.{suffix} cannot be written: No space left on device"):
        run()
    assert target.read_text() == "the last run's"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_rows_on_stdout(rows: list[dict], capsys: pytest.CaptureFixture[str]) -> None:
    with RowFile("-", RunInfo(("happy", "tense", "sad", "calm"), {}, {})) as file:
        for row in rows:
            file.write({**row, "title": "\x1b[2J\x9b\u202eगीत"})
            shown = capsys.readouterr().out
            assert json.loads(shown) == {**row, "title": "\x1b[2J\x9b\u202eगीत"}  # at once
            assert (shown.isascii(), shown.strip().isprintable()) == (True, True)


def test_stdout_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(MerError, match="standard output is closed"):
        RowFile("-", RunInfo(("a", "b"), {}, {}))


def test_a_link_stays_one(tmp_path: Path, rows: list[dict]) -> None:
    (tmp_path / "far").mkdir()
    os.symlink("far/a.csv", tmp_path / "a.csv")
    written(tmp_path / "a.csv", rows)
    assert os.path.islink(tmp_path / "a.csv")
    assert (tmp_path / "far" / "a.csv").read_text(encoding="utf-8").startswith("path,status,")


def test_a_page_has_a_checksum(tmp_path: Path, rows: list[dict]) -> None:
    path = written(tmp_path / "a.parquet", rows * 300)
    content = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match="CRC"):
        pq.ParquetFile(path, page_checksum_verification=True).read(["path"])


def test_rows_that_wait_are_bounded_in_bytes(tmp_path: Path, rows: list[dict]) -> None:
    """A cell of a table, or the timeline of a day, can be long."""
    path = tmp_path / "a.parquet"
    with RowFile(path, RunInfo(("happy", "tense", "sad", "calm"), {}, {})) as file:
        for number in range(6):
            file.write({**rows[0], "title": f"{number}" * (6 << 20)})
    assert pq.ParquetFile(path).num_row_groups == 3
    assert pq.read_table(path).column("title").to_pylist()[5][0] == "5"


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=9) | st.text(
    st.sampled_from("'=+-@\t\r\n; \"\uff1d1a"), min_size=1, max_size=6
)


@given(st.lists(st.fixed_dictionaries({"path": _TEXT, "title": _TEXT, "=x": _TEXT}), max_size=4))
def test_a_csv_is_read_back_as_the_list_of_another_run(cells: list[dict[str, str]]) -> None:
    """What a formula was kept from being, and what ends lines, is text again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.csv")
        with RowFile(path, RunInfo(("happy", "sad"), {"=x": "string"}, {})) as file:
            for row in cells:
                file.write({**row, "status": "ok", "windows": []})
        header, lines = open_csv(str(path), "path")
        read = [dict(zip(header, line, strict=True)) for line in lines]
    assert [{name: row[name] for name in ("path", "title", "=x")} for row in read] == cells


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_json_has_no_nan(
    tmp_path: Path, rows: list[dict], number: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a Parquet manifest; other programs refuse such a line."""
    row = {**rows[0], "bpm": number, "n": 1.5}
    with RowFile("-", RunInfo(("happy", "sad"), {}, {})) as file:
        file.write(row)
    for text in (written(tmp_path / "a.jsonl", [row]).read_text("utf-8"), capsys.readouterr().out):
        assert json_from_text(text) == {**row, "bpm": None}
