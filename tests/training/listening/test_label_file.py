"""The CSV that grows: nothing is lost, and it stays what mer-train reads."""

from __future__ import annotations

import os
import unicodedata
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_files import write_files
from merkit.engine.data.labelled_audio import labelled_audio
from merkit.engine.errors import MerError
from merkit.training.listening import label_file
from merkit.training.listening.label_file import LabelFile, LabelRow, labelled_paths


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "labels.csv"


def _added(file: Path, *rows: tuple[str, str, str]) -> None:
    table = LabelFile(file)
    for path, label, artist in rows:
        table.add(str(file.parent / path), label, artist)
    table.close()


def test_the_training_reads_what_was_written(file: Path):
    names = ["=odd", "गीत, एक", 'a "quoted" one', "-minus; =x", "plain"]
    write_files(file.parent, **{f"in__{name}": name for name in names})
    _added(file, *((f"in/{n}.wav", "sad" if i % 2 else "calm", "-M-") for i, n in enumerate(names)))
    audio = labelled_audio(file)
    assert {clip.path.stem: clip.label for clip in audio.clips} == {
        name: "sad" if i % 2 else "calm" for i, name in enumerate(names)
    }
    assert audio.grouped_by == "artist"


def test_a_file_elsewhere_is_named_by_its_whole_path(file: Path, tmp_path_factory: pytest.TempPathFactory):
    other = write_files(tmp_path_factory.mktemp("other"), a="a", b="b")
    _added(file, (str(other / "a.wav"), "calm", ""), (str(other / "b.wav"), "sad", ""))
    assert [clip.path for clip in labelled_audio(file).clips] == [other / "a.wav", other / "b.wav"]


def test_goes_on_with_the_rows_of_before(file: Path):
    _added(file, ("a.mp3", "calm", ""))
    _added(file, ("b.mp3", "sad", ""))
    assert file.read_text() == "path,label,artist\na.mp3,calm,\nb.mp3,sad,\n"


def test_only_the_last_row_is_taken_back(file: Path):
    _added(file, ("a.mp3", "calm", ""), ("b\nc.mp3", "sad", ""))
    table = LabelFile(file)
    with pytest.raises(MerError, match="another program"):
        table.take_back(str(file.parent / "a.mp3"))
    table.take_back(str(file.parent / "b\nc.mp3"))
    assert file.read_text() == "path,label,artist\na.mp3,calm,\n"
    table.close()


@pytest.mark.parametrize(
    ("before", "row", "behind"),
    [("path,label,artist\ra.mp3,calm,\r", "b.mp3,sad,\r", ""),
     ("path,label\r\na.mp3,calm\r\n", "b.mp3,sad", ""),
     ('path,label\nold/7" a.mp3,sad\nc.mp3,sad\n', "b.mp3,sad\n", ""),
     ('\ufeffpath,label\na.mp3,"calm"\n', '"./b.mp3",sad\n', "c.mp3,\nd.mp3\n"),
     ("path,label,artist\n", "b.mp3,sad,\n", ",,\n\n"),
     ("path,label\na.mp3,calm\n", "b.mp3,sad\n", "c.mp3,")],
)  # fmt: skip
def test_one_row_is_taken_back_and_every_other_byte_stays(file: Path, before: str, row: str, behind: str):
    file.write_bytes((before + row + behind).encode())
    table = LabelFile(file)
    rows = table.rows()
    table.take_back(str(file.parent / "b.mp3"))
    assert file.read_bytes() == (before + behind).encode()
    assert table.rows() == rows[:-1]
    table.add(str(file.parent / "e.mp3"), "sad")  # the lock and the place follow a new file
    assert table.rows()[-1] == LabelRow(str(file.parent / "e.mp3"), "sad")
    with pytest.raises(MerError, match="in use by another"):
        LabelFile(file)
    table.close()


def test_a_key_reads_no_row_that_is_known(file: Path, monkeypatch: pytest.MonkeyPatch):
    reads: list[Path] = []

    def read(*asked: Any) -> Any:
        reads.append(asked[0])
        return real(*asked)

    real = label_file._read
    file.write_text("path,label\n" + "".join(f"{number}.mp3,sad\n" for number in range(9)))
    with closing(LabelFile(file)) as table:
        monkeypatch.setattr(label_file, "_read", read)
        for name in "abc":
            table.add(str(file.parent / f"{name}.mp3"), "calm")
        table.take_back(str(file.parent / "c.mp3"))
        rows = table.rows()
        assert reads == []
        with file.open("a") as other:  # an editor
            other.write("d.mp3,sad\n")
        table.add(str(file.parent / "e.mp3"), "calm")
        assert [os.path.basename(row.path) for row in table.rows()[-3:]] == ["b.mp3", "d.mp3", "e.mp3"]
        assert reads == [file]
        assert table.rows()[:-2] == rows
    with closing(LabelFile(file)) as again:
        assert again.rows() == table._rows


def test_a_row_is_written_while_another_program_writes(file: Path, monkeypatch: pytest.MonkeyPatch):
    with closing(LabelFile(file)) as table:
        real = os.write

        def write(descriptor: int, data: bytes) -> int:
            with file.open("ab") as other:
                other.write(b"b.mp3,sad,\n")
            return real(descriptor, data)

        monkeypatch.setattr(os, "write", write)
        table.add(str(file.parent / "a.mp3"), "calm")
        monkeypatch.undo()
        assert [row.label for row in table.rows()] == ["sad", "calm"]


def test_labels_are_one_in_each_normal_form(file: Path):
    decomposed = unicodedata.normalize("NFD", "gl\xe9")
    file.write_text(f"path,label\na.mp3,{decomposed}\nb.mp3,gl\xe9\n", encoding="utf-8")
    with closing(LabelFile(file)) as table:
        assert [row.label for row in table.rows()] == ["gl\xe9", "gl\xe9"]


def test_a_name_that_is_not_utf_8_is_refused(file: Path):
    table = LabelFile(file)
    with pytest.raises(MerError, match="its name is not UTF-8: rename it"):
        table.add(str(file.parent / "a\udcff.mp3"), "sad")
    table.add(str(file.parent / "b.mp3"), "sad", "Beyonc\udce9")
    assert file.read_text() == "path,label,artist\nb.mp3,sad,Beyonc\\xe9\n"
    table.close()


def test_what_another_program_saves_meanwhile_is_read(file: Path):
    table = LabelFile(file)
    table.add(str(file.parent / "a.mp3"), "calm")
    new = file.with_name("new.csv")  # as spreadsheets save: a new file gets the name
    new.write_bytes(b"\xef\xbb\xbfpath,label,artist,remark\r\na.mp3,sad,A,better\r\nb.mp3,sad,,x")
    new.replace(file)
    assert [row.label for row in table.rows()] == ["sad", "sad"]
    table.add(str(file.parent / "c.mp3"), "calm", "C")
    table.close()
    assert file.read_bytes().endswith(b"better\r\nb.mp3,sad,,x\nc.mp3,calm,C,\n")


@pytest.mark.parametrize(
    "content",
    [b"path;label\r\na.mp3;calm\r\n", "path,label\n".encode("utf-16"), b"path,label\n\xff.mp3,calm\n",
     b"path,label\na.mp3,calm,x,y\n", b"path,path,label\n", b'path,label\n"a.mp3,calm\n'],
)  # fmt: skip
def test_a_file_of_another_form_is_refused_and_left_alone(file: Path, content: bytes):
    file.write_bytes(content)
    with pytest.raises(MerError, match="save it as CSV in UTF-8, with commas"):
        LabelFile(file)
    assert file.read_bytes() == content


@pytest.mark.parametrize("header", ["path,status,error,emotion", "path,artist,title", "a.mp3,calm"])
def test_a_file_of_other_columns_is_not_to_be_saved_otherwise(file: Path, header: str):
    file.write_text(f"{header}\na.mp3,ok,,calm\n")
    for read, option in ((LabelFile, "-o"), (labelled_paths, "--labelled")):
        with pytest.raises(MerError) as error:
            read(file)
        said = f"{file} has no columns path and label in its first line: name another file with {option}"
        assert str(error.value) == said
    assert file.read_text() == f"{header}\na.mp3,ok,,calm\n"


def test_a_file_that_is_changed_to_another_form_is_no_loss(file: Path):
    table = LabelFile(file)
    file.write_bytes(b"path;label\n")
    with pytest.raises(MerError, match="commas"):
        table.add(str(file.parent / "a.mp3"), "calm")
    assert file.read_bytes() == b"path;label\n"
    file.unlink()
    with pytest.raises(MerError, match="not there any more"):
        table.rows()
    table.close()


def test_a_line_that_was_cut_short_is_taken_off(file: Path):
    whole = "path,label,artist\na.mp3,calm,A\n"
    for cut in ("b", "b.mp3,", "b.mp3,ca", '"b'):
        file.write_text(whole + cut)
        LabelFile(file).close()
        assert file.read_text() == whole
    file.write_text(whole + "b.mp3,calm,B")  # whole, by an editor that leaves the last line open
    _added(file, ("c.mp3", "sad", ""))
    assert file.read_text() == whole + "b.mp3,calm,B\nc.mp3,sad,\n"


@pytest.mark.parametrize(
    ("columns", "whole"),
    [("path,label,artist", "b.mp3,sad"), ("path,label,artist", '"b\n,c.mp3",calm'),
     ("path,label", "b.mp3,angry"), ("path,label,artist,remark", "b.mp3,गहरा,Art"),
     ("path,label,artist", "b.mp3,own"), ("label,path,artist", "sad,labels.csv"),
     ("path,label", "b.mp3,"), ("path,label,artist", "b.mp3,,")],
)  # fmt: skip
def test_a_last_row_that_an_editor_left_open_stays(file: Path, columns: str, whole: str):
    content = f"{columns}\n{'calm,a.mp3' if columns[0] == 'l' else 'a.mp3,calm'}\n{whole}"
    file.write_text(content)
    table = LabelFile(file, ("sad", "गहरा"))
    table.close()
    assert (file.read_text(), table.cut) == (content, "")


@pytest.mark.parametrize(
    ("columns", "torn"),
    [("path,label,artist", "b.mp3,sa"), ("path,label,artist", "b.mp3,गह"), ("path,label", "b.mp3,cal"),
     ("path,label,artist", "b.mp3,गहर\udce0\udca4"), ("path,label,artist", "b\udce0"),
     ("path,label", 'b.mp3,"sa'), ("path,label,artist", "b.mp3,"), ("path,label,artist", '"b\nc'),
     ("path,label,artist", '"b\nc.mp3",s'), ("label,artist,path", "sad,Art"),
     ("label,path,artist", "sad,b.m")],
)  # fmt: skip
def test_a_row_that_was_cut_short_is_known_by_its_label(file: Path, columns: str, torn: str):
    whole = f"{columns}\r{'calm,,a.mp3' if columns[0] == 'l' else 'a.mp3,calm'}\r"
    file.write_bytes((whole + torn).encode(errors="surrogateescape"))
    table = LabelFile(file, ("sad", "गहरा"))
    table.close()
    assert (file.read_bytes(), table.cut) == (whole.encode(), torn)


@pytest.mark.parametrize("last", ['"b.mp3,sad\nc.mp3,sad', '"b.mp3,sad\nc.mp3,sad\nd.mp3'])
def test_rows_behind_an_open_quote_are_not_cut(file: Path, last: str):
    file.write_text(f"path,label,artist\na.mp3,calm\n{last}")
    with pytest.raises(MerError, match="unexpected end of data"):
        LabelFile(file, ("sad",))
    assert file.read_text().endswith(last)


def test_a_full_disk_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch):
    table = LabelFile(file)
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:5]))
    with pytest.raises(MerError, match="No space left"):
        table.add(str(file.parent / "a.mp3"), "calm")
    monkeypatch.undo()
    assert file.read_text() == "path,label,artist\n"
    table.add(str(file.parent / "a.mp3"), "calm")
    assert [row.label for row in table.rows()] == ["calm"]
    table.close()


def test_a_folder_and_a_pipe_are_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("", "pipe", "none/labels.csv"):
        with pytest.raises(MerError):
            LabelFile(tmp_path / name)


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"))


@given(st.lists(st.tuples(_TEXT, _TEXT), max_size=5))
def test_any_name_comes_back(tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, str]]):
    file = tmp_path_factory.mktemp("any") / "labels.csv"
    paths = [f"{number}{name}.mp3" for number, (name, _) in enumerate(names)]
    _added(file, *((path, "calm", artist) for path, (_, artist) in zip(paths, names, strict=True)))
    table = LabelFile(file)
    assert table.rows() == tuple(LabelRow(os.path.realpath(file.parent / path), "calm") for path in paths)
    for path in reversed(paths):
        table.take_back(os.path.realpath(file.parent / path))
    assert file.read_text() == "path,label,artist\n"
    table.close()


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("é.wav", unicodedata.normalize("NFD", "é.wav")),
        (unicodedata.normalize("NFD", "é.wav"), "é.wav"),
        ("b.wav", " b.wav"),
        ("in/c.wav", "in\\c.wav"),
        ("d.wav", "file://{folder}/d.wav"),
        (" e.wav", " e.wav"),
    ],
)
def test_a_path_is_read_as_the_training_reads_it(file: Path, name: str, cell: str):
    write_files(file.parent, name, "other.wav")
    file.write_text(f"path,label\n{cell.format(folder=file.parent)},sad\nother.wav,calm\n")
    there = {os.path.realpath(file.parent / each) for each in (name, "other.wav")}
    assert {os.path.realpath(clip.path) for clip in labelled_audio(file).clips} == there
    assert labelled_paths(file) == there
    with closing(LabelFile(file)) as table:
        assert {row.path for row in table.rows()} == there


def test_what_is_no_file_of_this_machine_has_its_label_too(file: Path):
    file.write_text("path,label\nhttps://example.org/a.mp3,sad\n gone.wav,calm\n")
    assert {Path(path).name for path in labelled_paths(file)} == {"a.mp3", " gone.wav"}
