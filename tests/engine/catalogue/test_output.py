"""What an --out means, and what it must not be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from any_capitals import find_any_capitals
from fake_labels import MODEL, OPTIONS, FakeBackend
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
        with pytest.raises(UsageError, match=r"is inside .*labels: name a file elsewhere"):
            CatalogueRun(Sources(["songs/a.wav"]), MODEL, FakeBackend(), OPTIONS, out)
    assert {path: path.read_bytes() for path in Path("labels").glob("*.parquet")} == before


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


def test_a_second_name_of_a_song_is_only_a_name() -> None:
    """The rows replace the name; the song stays whole under its own."""
    os.link("songs/a.wav", "out.csv")
    with CatalogueRun(Sources(["songs"]), MODEL, FakeBackend(), OPTIONS, "out.csv") as run:
        list(run.labels())
    assert Path("songs/a.wav").read_text() == "happy title"
    assert Path("out.csv").read_text().startswith("path,")


def test_an_output_that_is_an_input_in_other_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("songs/list.csv").write_text("path\nB.CSV\n")
    Path("songs/b.csv").write_text("happy title")
    find_any_capitals("songs", monkeypatch)
    with pytest.raises(UsageError, match="is an input of this run"):
        CatalogueRun(Sources(["songs/list.csv"]), MODEL, FakeBackend(), OPTIONS, "songs/B.csv")
