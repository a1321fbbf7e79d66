"""Rows in, columns of the page out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_folders import row_of, write_labels
from merkit.engine.catalogue.shard_file import bytes_from_rows
from merkit.engine.errors import MerError
from merkit.engine.outputs.page import catalogue as module
from merkit.engine.outputs.page.catalogue import Catalogue, catalogue_from_folder
from pyarrow import parquet


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    for name in ("a.mp3", "दिल.mp3"):
        (folder / name).write_bytes(b"x")
    return folder


def read(page: Catalogue, name: str, number: int) -> Any:
    """The text of a column in which texts repeat."""
    return page.columns[f"{name}Names"][int(page.columns[name][number])]


def window(start_s: float, *p: float) -> dict[str, Any]:
    return {"start_s": start_s, "p": list(p) or None}


def test_each_row_has_its_values(music: Path, tmp_path: Path) -> None:
    timeline = [window(0.0, 0.7, 0.1, 0.1, 0.1), window(10.0), window(20.04, 0.0, 0.0, 1.0, 0.0)]
    rows = [
        row_of(music / "a.mp3", "happy", 0.7, artist="Lata", title="One", windows=timeline, model="tiny"),
        row_of(tmp_path / "away/bad.mp3", None, error="not an audio file", duration_s=None, model="tiny"),
        row_of(music / "दिल.mp3", "sad", 0.4, artist="Lata", windows=timeline[1:], model="tiny"),
    ]
    page = catalogue_from_folder(write_labels(tmp_path / "labels", rows[:2], rows[2:]), tmp_path / "p.html")
    assert (page.songs, page.missing) == (3, 0)
    assert page.about["labels"] == ["happy", "tense", "sad", "calm"]
    assert page.about["isPlane"]
    assert (page.about["models"], page.about["verdicts"]) == (["tiny"], [])
    assert page.columns["title"] == ["One", "", ""]
    assert page.columns["file"] == ["a.mp3", "bad.mp3", "दिल.mp3"]
    assert [read(page, "artist", n) for n in range(3)] == ["Lata", "", "Lata"]
    assert read(page, "folder", 0) == read(page, "folder", 2) == "music"
    assert [read(page, "error", n) for n in range(3)] == ["", "not an audio file", ""]
    columns = {name: list(column) for name, column in page.columns.items()}
    assert columns["link"] == [1, 0, 1]
    assert columns["emotion"] == [0, 255, 2]
    assert columns["confidence"] == [7_000, 0, 4_000]
    assert columns["p0"] == [175, 0, 50]
    assert columns["tenths"] == [96, 0, 96]
    assert columns["cells"] == [3, 0, 2]
    assert columns["starts"] == [0, 100, 100, 100, 100]  # differences within a song
    assert columns["levels0"] == [35, 255, 0, 255, 0]
    assert columns["levels2"] == [5, 255, 50, 255, 50]


def test_an_artist_is_one_in_each_normal_form(music: Path, tmp_path: Path) -> None:
    names = ("रफ़ी", "र\u095eी", "Beyonce\u0301", "Beyonc\xe9", "Lata")
    rows = [row_of(music / "a.mp3", artist=name, album=f"{name} 2") for name in names]
    page = catalogue_from_folder(write_labels(tmp_path / "labels", rows), tmp_path / "page.html")
    for kind in ("artist", "album"):
        assert list(page.columns[kind]) == [1, 1, 2, 2, 3]
        assert len(page.columns[f"{kind}Names"]) == 4


def test_songs_that_are_gone_are_counted_and_left_out(music: Path, tmp_path: Path) -> None:
    rows = [row_of(music / "gone.mp3", title="Gone"), row_of(music / "a.mp3", title="Here")]
    folder = write_labels(tmp_path / "labels", rows)
    page = catalogue_from_folder(folder, tmp_path / "page.html")
    assert (page.songs, page.missing, page.columns["title"]) == (1, 1, ["Here"])
    page = catalogue_from_folder(folder, tmp_path / "page.html", keep_missing=True)
    assert (page.songs, page.missing, page.columns["title"]) == (2, 1, ["Gone", "Here"])
    assert list(page.columns["link"]) == [0, 1]


def test_errors_of_files_that_are_gone_are_left_out_and_those_of_a_disk_that_is_away_stay(
    music: Path, tmp_path: Path
) -> None:
    away = tmp_path / "disk/e.mp3"
    paths = (music / "gone.mp3", music / "a.mp3", away)
    rows = [row_of(path, None, error="bad", title=path.stem, real_path=str(path)) for path in paths]
    folder = write_labels(tmp_path / "labels", rows)
    page = catalogue_from_folder(folder, tmp_path / "page.html")
    assert (page.songs, page.missing, page.columns["title"]) == (2, 1, ["a", "e"])
    away.parent.mkdir()  # a mount point without its disk
    page = catalogue_from_folder(folder, tmp_path / "page.html")
    assert (page.songs, page.missing) == (2, 1)
    (away.parent / "f.mp3").write_bytes(b"x")
    page = catalogue_from_folder(folder, tmp_path / "page.html")
    assert (page.songs, page.missing, page.columns["title"]) == (1, 2, ["a"])
    page = catalogue_from_folder(folder, tmp_path / "page.html", keep_missing=True)
    assert (page.songs, page.missing) == (3, 2)


def test_verdict_and_novelty_where_rows_have_them(music: Path, tmp_path: Path) -> None:
    rows = [
        row_of(music / "a.mp3", verdict="unsure", novelty=0.5),
        row_of(music / "दिल.mp3", None, status="ok", verdict="not_music", novelty=None),
    ]
    page = catalogue_from_folder(write_labels(tmp_path / "labels", rows), tmp_path / "page.html")
    assert page.about["verdicts"] == ["unsure", "not_music"]
    assert [read(page, "verdict", n) for n in range(2)] == ["unsure", "not_music"]
    assert list(page.columns["novelty"]) == [125, 255]
    assert list(page.columns["emotion"]) == [0, 255]


def test_a_shard_of_an_older_version_moves_no_novelty(music: Path, tmp_path: Path) -> None:
    older, newer = ([row_of(music / name, novelty=0.5)] for name in ("a.mp3", "दिल.mp3"))
    labels = write_labels(tmp_path / "labels", older, newer)
    table = parquet.read_table(labels / "part-000000.parquet").drop_columns("novelty")
    content = bytes_from_rows(table.to_pylist(), table.schema)
    (labels / "part-000000.parquet").write_bytes(content)
    page = catalogue_from_folder(labels, tmp_path / "page.html")
    assert list(page.columns["novelty"]) == [255, 125]


def test_what_others_wrote_is_one_line(music: Path, tmp_path: Path) -> None:
    row = row_of(music / "a.mp3", title="a\nb\u202e", artist="\x1b[2J", album="x\ty")
    page = catalogue_from_folder(write_labels(tmp_path / "labels", [row]), tmp_path / "p.html")
    assert page.columns["title"] == ["a\\nb\\u202e"]
    assert (read(page, "artist", 0), read(page, "album", 0)) == ("\\x1b[2J", "x\\ty")


def test_timelines_of_a_large_catalogue_get_fewer_cells(
    music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline = [window(10.0 * n, 0.1, 0.2, 0.6, 0.1) for n in range(100)]
    folder = write_labels(tmp_path / "labels", [row_of(music / "a.mp3", windows=timeline)] * 2)
    assert list(catalogue_from_folder(folder, tmp_path / "p.html").columns["cells"]) == [100, 100]
    monkeypatch.setattr(module, "_MOST_CELLS", 20)
    page = catalogue_from_folder(folder, tmp_path / "p.html")
    assert list(page.columns["cells"]) == [10, 10]
    assert list(page.columns["lengths"]) == [0, 0]  # they last until the next one
    starts = np.asarray(page.columns["starts"][:10]).cumsum()
    assert starts.tolist() == [1_000 * n for n in range(10)]


@pytest.mark.parametrize(
    ("said", "tenths"), [(None, 0), (4.69, 47), (10, 100), (1e300, 65_535), (-3.0, 0), ("ten", 0)]
)
def test_a_cell_is_as_long_as_a_window_where_the_folder_says_that(
    music: Path, tmp_path: Path, said: Any, tenths: int
) -> None:
    row = row_of(music / "a.mp3", windows=[window(12.0, 0.1, 0.2, 0.6, 0.1)])
    labels = write_labels(tmp_path / "labels", [row], window_s=said)
    assert list(catalogue_from_folder(labels, tmp_path / "p.html").columns["lengths"]) == [tenths]


def test_no_folder_of_labels(tmp_path: Path) -> None:
    with pytest.raises(MerError, match="is no folder of labels"):
        catalogue_from_folder(tmp_path, tmp_path / "p.html")
    with pytest.raises(MerError, match="cannot be read: No such file"):
        catalogue_from_folder(tmp_path / "nothing", tmp_path / "p.html")
