"""mer-train queue as it is called."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner, Result
from labelled_files import write_files
from merkit.engine.catalogue.row_file import RowFile
from merkit.engine.catalogue.run_info import RunInfo
from merkit.engine.data.labelled_audio import Clip
from merkit.engine.errors import MerError
from merkit.training.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of 30 songs, the first ten sure, and its labels in rows.parquet."""
    monkeypatch.chdir(tmp_path)
    names = [f"songs/{number:02}.mp3" for number in range(30)]
    write_files(tmp_path, *names)
    with RowFile(tmp_path / "rows.parquet", RunInfo(("calm", "sad"), {}, {})) as file:
        for number, name in enumerate(names):
            calm = 0.99 if number < 10 else 0.4 + number / 150
            row = {"path": name, "status": "ok", "confidence": calm, "p_calm": calm, "p_sad": 1 - calm}
            file.write({**row, "artist": f"लता {number}", "duration_s": 9.0})
        file.write({"path": "bad.mp3", "status": "error"})
    return tmp_path


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["queue", *map(str, arguments)])


def _queued(file: Path) -> list[str]:
    with file.open(newline="") as text:
        return [row["path"] for row in csv.DictReader(text)]


def test_so_many_a_label_and_the_same_each_time(folder: Path):
    result = _run("rows.parquet", "--per-label", 4)
    assert (result.exit_code, result.stdout) == (0, "8 of 30 songs are in queue.csv\n")
    assert result.stderr == "left out: 1 could not be labelled\n"
    first = (folder / "queue.csv").read_text()
    assert len(set(_queued(folder / "queue.csv"))) == 8
    assert sum(int(Path(name).stem) >= 10 for name in _queued(folder / "queue.csv")) >= 6
    assert "\nsongs/" in first
    assert ",लता " in first
    _run("rows.parquet", "--per-label", 4)
    assert (folder / "queue.csv").read_text() == first
    _run("rows.parquet", "--per-label", 4, "--labels", "a,b,c", "-o", "other.csv")
    assert len(_queued(folder / "other.csv")) == 12


def test_songs_with_a_label_are_left_out_until_none_is_left(folder: Path):
    (folder / "labels.csv").write_text("path,label\nsongs/00.mp3,calm\n./songs/12.mp3,sad\nsongs/13.mp3,\n")
    assert _run("rows.parquet", "--labelled", "labels.csv").exit_code == 0
    assert len(_queued(folder / "queue.csv")) == 28
    assert not {"songs/00.mp3", "songs/12.mp3"} & set(_queued(folder / "queue.csv"))
    (folder / "labels.csv").write_text("path,label\n" + "".join(f"songs/{n:02}.mp3,a\n" for n in range(30)))
    result = _run("rows.parquet", "--labelled", "labels.csv", "-o", "none.csv")
    assert (result.exit_code, (folder / "none.csv").exists()) == (1, False)
    assert "every song has a label already" in result.stderr


def test_the_first_queue_is_asked_for_in_the_same_words(folder: Path):
    """The file of labels is made by mer-train listen, which comes after it."""
    _run("rows.parquet", "-o", "without.csv")
    result = _run("rows.parquet", "--labelled", "labels.csv")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1] == "labels.csv is not there yet: no song counts as labelled"
    assert (folder / "queue.csv").read_text() == (folder / "without.csv").read_text()


def test_a_network_hears_which_are_alike(folder: Path, monkeypatch: pytest.MonkeyPatch):
    heard = []

    def clip_embeddings(source: str, clips: Sequence[Clip], cache: Path, *_: object) -> list[object]:
        assert cache == Path("cache/embeddings")  # where those of a training with that --cache are
        assert source == "ears.safetensors"
        heard.extend(clip.path.stem for clip in clips)
        places = [np.array([int(clip.path.stem) % 2 * 100, 0], np.float32) for clip in clips]
        return [MerError("gone") if i == 0 else place for i, place in enumerate(places)]

    fake = SimpleNamespace(clip_embeddings=clip_embeddings)
    monkeypatch.setitem(sys.modules, "merkit.training.embeddings.embeddings", fake)
    weights = ("--weights", "ears.safetensors", "--cache", "cache")
    assert _run("rows.parquet", "--per-label", 1, *weights).exit_code == 0
    assert len(heard) == 20  # ten times as many as are asked for
    chosen = [int(Path(name).stem) for name in _queued(folder / "queue.csv")]
    assert {number % 2 for number in chosen} == {0, 1}
    assert heard[0] not in {f"{number:02}" for number in chosen}


def test_where_no_queue_can_be_written_no_song_is_heard(folder: Path):
    for name, reason in (
        ("nowhere/queue.csv", "nowhere/queue.csv: there is no folder nowhere"),
        ("-", "- is no file; /dev/stdout is standard output"),
        ("/proc/q.csv", "/proc/q.csv cannot be written: No such file or directory; name another file"),
    ):
        result = _run("rows.parquet", "--weights", "ears.safetensors", "-o", name)  # there is no such network
        assert (result.exit_code, result.stderr.splitlines()) == (2, [f"Error: {reason}"])


def test_nothing_but_a_queue_is_replaced(folder: Path):
    """An evening's labels would be lost."""
    (folder / "my.csv").write_text("path,label,artist\nsongs/00.mp3,calm,A\n")
    (folder / "other.csv").write_text("path,label,artist\nsongs/01.mp3,sad,B\n")
    (folder / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    (folder / "shards").mkdir()
    (folder / "shards" / "rows.parquet").write_bytes((folder / "rows.parquet").read_bytes())
    (folder / "link.csv").symlink_to("my.csv")
    labelled = ("--labelled", "my.csv", "-o")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for arguments, reason in (
        (("rows.parquet", *labelled, "my.csv"), "my.csv is what the run reads"),
        (("rows.parquet", *labelled, "link.csv"), "link.csv is what the run reads"),
        (("rows.parquet", *labelled, "shards/../my.csv"), "shards/../my.csv is what the run reads"),
        (("rows.parquet", "-o", "rows.parquet"), "rows.parquet is what the run reads"),
        (("shards", "-o", "shards/queue.csv"), "shards/queue.csv lies in shards, which the run reads"),
        (("rows.parquet", "-o", "other.csv"), "other.csv is there, and no queue"),
        (("rows.parquet", "-o", "bytes.csv"), "bytes.csv is there, and no queue"),
        (("rows.parquet", "-o", "songs/00.mp3"), "songs/00.mp3 is there, and no queue"),
    ):
        result = _run(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.splitlines() == [f"Error: {reason}; name another file"]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    (folder / "empty.csv").touch()
    (folder / "sheet.csv").write_text("path,artist,title\r\na.mp3,,\r\n", "utf-8-sig")
    for name in ("empty.csv", "sheet.csv", "sheet.csv"):
        assert _run("rows.parquet", "-o", name).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [(["none"], 2, "neither a folder of labels"), (["rows.parquet", "--labels", "a"], 2, "no two labels"),
     (["rows.parquet", "--labelled", "rows.parquet"], 1, "rows.parquet cannot be added to"),
     (["songs"], 1, "no shards")],
)  # fmt: skip
def test_wrong_input_is_one_line(folder: Path, arguments: list[str], code: int, message: str):
    result = _run(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr.splitlines()[-1]
