"""What an --out means, and what it must not be."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from shutil import copytree, move
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from any_capitals import find_any_capitals
from fake_labels import MODEL, OPTIONS, FakeBackend
from merkit.engine.catalogue.copied_rows import copy_rows
from merkit.engine.catalogue.expand import Sources
from merkit.engine.catalogue.output import Kind, output_from_text
from merkit.engine.catalogue.run import CatalogueRun
from merkit.engine.errors import MerError, UsageError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("songs", "labels.v2", "songs.csv"):
        Path(name).mkdir()
    for name in ("songs/a.wav", "songs/b.wav"):
        Path(name).write_text("happy title")
    os.mkfifo("pipe.csv")
    return tmp_path


@pytest.mark.parametrize(
    ("out", "kind"),
    [
        (None, Kind.NOTHING),
        ("-", Kind.STDOUT),
        ("a.csv", Kind.FILE),
        ("songs/A.JSONL", Kind.FILE),
        ("./-.parquet", Kind.FILE),
        ("labels", Kind.FOLDER),
        (".hidden", Kind.FOLDER),
        ("labels/", Kind.FOLDER),
        ("happy.m3u/", Kind.FOLDER),
        ("a.csv/", Kind.FOLDER),
        ("songs.csv/", Kind.FOLDER),
        ("labels.v2", Kind.FOLDER),  # it is there
        ("songs.csv", Kind.FOLDER),
    ],
)
def test_kinds(out: str | None, kind: Kind) -> None:
    assert output_from_text(out).kind is kind


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("", "names no place"),
        ("s3://bucket/labels", "names no place"),
        ("happy.m3u", r"must end in \.parquet, \.csv, \.jsonl; happy\.m3u/ names a folder"),
        ("happy.xyz", "must end in"),
        ("labels.v3", "must end in"),
        ("a.xlsx", "must end in"),
        ("pipe.csv", "no regular file: - writes JSON lines"),
    ],
)
def test_what_cannot_be_an_output(out: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        output_from_text(out)


def test_a_missing_folder() -> None:
    with pytest.raises(MerError, match=r"missing/a\.csv cannot be written: No such file or directory"):
        output_from_text("missing/a.csv")
    os.symlink("missing/a.csv", "link.csv")
    with pytest.raises(MerError, match="No such file or directory"):
        output_from_text("link.csv")


@pytest.mark.parametrize("name", ["part-000000.parquet", "part-1000000.parquet", "all.parquet", "x.csv"])
def test_a_file_among_shards(name: str) -> None:
    """It would take the place of one, or be read with them by what reads the folder as a whole."""
    with CatalogueRun(Sources(["songs"]), MODEL, FakeBackend(), OPTIONS, "labels/") as run:
        list(run.labels())
    before = {path: path.read_bytes() for path in Path("labels").glob("*.parquet")}
    os.symlink(f"labels/{name}", Path(name).with_stem("link"))
    for out in (f"labels/{name}", Path(name).with_stem("link").name):
        with pytest.raises(UsageError, match=r"is inside .*labels, which other programs read as a whole"):
            CatalogueRun(Sources(["songs/a.wav"]), MODEL, FakeBackend(), OPTIONS, out)
    assert {path: path.read_bytes() for path in Path("labels").glob("*.parquet")} == before


def test_a_folder_in_a_folder_of_labels() -> None:
    """pyarrow reads both as one, and gives rows twice."""
    with CatalogueRun(Sources(["songs"]), MODEL, FakeBackend(), OPTIONS, "labels") as run:
        list(run.labels())
    copytree("labels", "copy")
    move("copy", "labels/begun")  # as an older version begins one there
    os.symlink("labels", "link")
    Path("labels/deep").mkdir()
    for out in ("labels/new", "link/new/deep/", "labels/deep/", "labels/deep/x.csv", "labels/begun/new/"):
        with pytest.raises(UsageError, match=r"is inside .*labels.*, which other programs read as a whole"):
            CatalogueRun(Sources(["songs/a.wav"]), MODEL, FakeBackend(), OPTIONS, out)
    assert not Path("labels/new").exists()
    with CatalogueRun(Sources(["songs"]), MODEL, FakeBackend(), OPTIONS, "link/begun") as run:
        assert run.resumed == 2


def test_a_folder_with_the_name_of_a_file_of_rows_goes_on() -> None:
    for out, labelled in (("a.parquet/", 2), ("a.parquet", 0)):
        with CatalogueRun(Sources(["songs"]), MODEL, FakeBackend(), OPTIONS, out) as run:
            assert len(list(run.labels())) == labelled
    os.mkfifo("songs.csv/pipe")
    with pytest.raises(MerError, match=r"songs\.csv holds other files and no labels: name a new folder"):
        CatalogueRun(Sources(["songs"]), MODEL, FakeBackend(), OPTIONS, "songs.csv")


def _link(make, target: str, name: str) -> str:
    make(target, name)
    return name


@pytest.mark.parametrize(
    ("argument", "out"),
    [
        ("list.csv", lambda: "list.csv"),
        ("list.csv", lambda: "./songs/../list.csv"),
        ("list.csv", lambda: _link(os.symlink, "list.csv", "out.csv")),
        ("list.csv", lambda: _link(os.link, "list.csv", "out.csv")),
        ("song.jsonl", lambda: "song.jsonl"),  # a song, whatever its name
        ("songs", lambda: _link(os.symlink, "songs/a.wav", "out.csv")),
        ("list.csv", lambda: _link(os.symlink, os.path.abspath("songs/b.wav"), "out.csv")),
        ("songs/*", lambda: _link(os.symlink, "b.wav", "songs/out.parquet")),
    ],
)
def test_no_input_is_written_over(argument: str, out) -> None:
    Path("list.csv").write_text("path\nsongs/a.wav\nsongs/b.wav\n")
    Path("song.jsonl").write_text("happy title")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    name = out()
    backend = FakeBackend()
    with pytest.raises(UsageError, match="is an input of this run"):
        CatalogueRun(Sources([argument]), MODEL, backend, OPTIONS, name)
    assert not backend.labelled
    assert {path: path.read_bytes() for path in before} == before
    assert list(Path().rglob("*.part")) == []


def test_a_link_leads_to_where_the_rows_go() -> None:
    Path("far").mkdir()
    os.symlink("far/labels.csv", "labels.csv")
    for _ in range(2):
        with CatalogueRun(Sources(["songs"]), MODEL, FakeBackend(), OPTIONS, "labels.csv") as run:
            assert len(list(run.labels())) == 2
        assert os.path.islink("labels.csv")
        assert len(Path("far/labels.csv").read_text().splitlines()) == 3


def test_inside_the_folder_of_songs() -> None:
    for _ in range(2):
        for out in ("songs/labels.csv", "songs/labels/"):
            with CatalogueRun(Sources(["songs"]), MODEL, FakeBackend(), OPTIONS, out) as run:
                assert run.total == 2
                list(run.labels())


def test_a_second_name_of_a_song_is_not_replaced() -> None:
    os.link("songs/a.wav", "out.csv")
    with pytest.raises(UsageError, match="holds no rows of mer-label: name another file"):
        CatalogueRun(Sources(["songs"]), MODEL, FakeBackend(), OPTIONS, "out.csv")
    assert Path("out.csv").samefile("songs/a.wav")


def _parquet(file: Path, **columns: list[str]) -> None:
    pq.write_table(pa.table(columns), file)


_FOREIGN: dict[str, Callable[[Path], Any]] = {
    "labels.csv": lambda file: file.write_text("path,label,artist,my_note\na.wav,sad,A,an evening\n"),
    "excel.csv": lambda file: file.write_text("path;status;my note\n", "utf-16"),
    "table.CSV": lambda file: file.write_bytes(b"\x00\xff\x00\n\n"),
    "blank.csv": lambda file: file.write_text("\n\n"),
    "open.csv": lambda file: file.write_text('"path,status,error,emotion\n'),
    "mine.jsonl": lambda file: file.write_text('{"path": "a.wav", "label": "sad"}\n'),
    "list.jsonl": lambda file: file.write_text('["path", "status", "error", "emotion"]\n'),
    "text.jsonl": lambda file: file.write_text("path,status,error,emotion\n"),
    "bytes.jsonl": lambda file: file.write_bytes(b"\xff\xfe\n"),
    "mine.parquet": lambda file: _parquet(file, path=["a.wav"], label=["sad"]),
    "none.parquet": lambda file: file.write_text("PAR1"),
}


@pytest.mark.parametrize("name", _FOREIGN)
def test_a_file_that_holds_no_rows_is_not_replaced(name: str) -> None:
    """Labels by hand are the dearest file here, and often have the name that the examples give to rows."""
    _FOREIGN[name](Path(name))
    before, backend = Path(name).read_bytes(), FakeBackend()
    with CatalogueRun(Sources(["songs"]), MODEL, FakeBackend(), OPTIONS, "labels/") as run:
        list(run.labels())
    said = rf"{name} is there and holds no rows of mer-label: name another file"
    for write in (
        lambda: CatalogueRun(Sources(["songs"]), MODEL, backend, OPTIONS, name),
        lambda: copy_rows("labels", name),
    ):
        with pytest.raises(UsageError, match=said):
            write()
    assert (Path(name).read_bytes(), backend.labelled) == (before, [])
    assert list(Path().rglob("*.part")) == []


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.parquet"])
def test_rows_and_empty_files_are_replaced(name: str) -> None:
    Path(name).touch()
    for _ in range(2):
        with CatalogueRun(Sources(["songs"]), MODEL, FakeBackend(), OPTIONS, name) as run:
            assert len(list(run.labels())) == 2
    copy_rows(name, "labels")
    assert copy_rows("labels", name) == 2
    if name == "rows.csv":  # as a spreadsheet saves it, with a column of one's own
        text = Path(name).read_text()
        Path(name).write_text("\n".join(f"my note,{line}" for line in text.splitlines()), "utf-16")
        assert copy_rows("labels", name) == 2
        assert Path(name).read_text() == text


def test_an_output_that_is_an_input_in_other_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("songs/list.csv").write_text("path\nB.CSV\n")
    Path("songs/b.csv").write_text("happy title")
    find_any_capitals("songs", monkeypatch)
    with pytest.raises(UsageError, match="is an input of this run"):
        CatalogueRun(Sources(["songs/list.csv"]), MODEL, FakeBackend(), OPTIONS, "songs/B.csv")


def test_what_a_stop_would_replace_is_asked_for_too() -> None:
    """labels.partial.csv, beside an older file, unless it is of such a run."""

    def label(*arguments: str) -> None:
        with CatalogueRun(Sources(arguments), MODEL, FakeBackend(), OPTIONS, "labels.csv") as run:
            assert list(run.labels())

    partial = Path("labels.partial.csv")
    partial.write_text("path,mood\nsongs/a.wav,mine\n")
    label(str(partial))  # there is nothing to lie beside
    for arguments, said in (
        (["songs"], "labels.partial.csv is there and holds no rows of mer-label"),
        (["./labels.partial.csv"], r"labels.partial.csv is an input of this run \(./labels.partial.csv\)"),
    ):
        with pytest.raises(UsageError, match=said):
            label(*arguments)
    assert partial.read_text().startswith("path,mood")
    partial.write_bytes(Path("labels.csv").read_bytes())
    label("songs")


def test_a_copy_writes_no_partial_file_and_asks_for_none() -> None:
    with CatalogueRun(Sources(["songs"]), MODEL, FakeBackend(), OPTIONS, "rows.csv") as run:
        list(run.labels())
    mine = Path("labels.partial.csv")
    mine.write_text("path,mood\nsongs/a.wav,mine\n")
    for _ in range(2):
        assert copy_rows("rows.csv", "labels.csv") == 2
    assert mine.read_text().startswith("path,mood")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_stop_could_not_write_to_what_is_no_file(make: Callable[[str], None]) -> None:
    """All rows of such a run would be lost."""
    make("labels.partial.csv")
    for is_refused in (False, True):  # the first time there is nothing to lie beside
        backend = FakeBackend()
        with ExitStack() as stack:
            if is_refused:
                said = "labels.partial.csv is no regular file, and rows of a run that is stopped go there"
                stack.enter_context(pytest.raises(UsageError, match=said))
            list(
                stack.enter_context(
                    CatalogueRun(Sources(["songs"]), MODEL, backend, OPTIONS, "labels.csv")
                ).labels()
            )
        assert len(backend.labelled) == (0 if is_refused else 2)
