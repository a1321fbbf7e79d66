"""Tables of clips, as people and spreadsheets write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from merkit.engine.data.clip_table import ClipTable, read_clip_table, spelt_column
from merkit.engine.data.notes import Notes
from merkit.engine.errors import MerError, UsageError


def _table(folder: Path, content: str | bytes, group_by: str | None = None) -> ClipTable:
    file = folder / "songs.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_clip_table(file, [("clip", "path"), ("label",)], group_by)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_as_spreadsheets_write_it(tmp_path: Path, delimiter: str, end: str, encoding: str):
    lines = [" Path ,LABEL", "ä.wav,happy", "", ",", '"b, c; d.wav",sad', ""]
    lines = [line if '"' in line else line.replace(",", delimiter) for line in lines]
    lines[4] = lines[4].replace('",', f'"{delimiter}')
    rows = _table(tmp_path, end.join(lines).encode(encoding)).rows
    assert [tuple(row.values()) for row in rows] == [("ä.wav", "happy"), ("b, c; d.wav", "sad")]


@pytest.mark.parametrize("above", ["sep=;", '"sep=;"', "SEP=;", "", " ;;", "\nsep=;"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_stands_above_the_header(tmp_path: Path, above: str, end: str):
    lines = [*above.split("\n"), "path;label", "1.wav;up"]
    (row,) = _table(tmp_path, end.join(lines)).rows
    assert row == {"path": "1.wav", "label": "up"}


def test_how_a_header_spells_a_column(tmp_path: Path):
    for text, spelling in (
        ("Artist;PATH;x\n", "PATH"), ("\n Path\n", " Path"), ("file,label\n", "path"), ('"Path', "Path"),
    ):  # fmt: skip
        (tmp_path / "a.csv").write_text(text)
        assert spelt_column(tmp_path / "a.csv", "path") == spelling
    for name in ("a.m3u", "gone.csv"):
        assert spelt_column(tmp_path / name, "path") == "path"


def test_the_header_tells_the_delimiter(tmp_path: Path):
    """More commas than semicolons: the songs' titles have them."""
    table = _table(tmp_path, "path;label;title\n1.wav;up;a, b, c, d\n2.wav;down;e, f, g, h\n")
    assert [row["title"] for row in table.rows] == ["a, b, c, d", "e, f, g, h"]


def test_groups(tmp_path: Path):
    text = "path,label,group,artist,source\n1.wav,up,g1,Ann,s1\n2.wav,up,g2, ,s1\n3.wav,up,,,s2\n"
    table = _table(tmp_path, text)
    assert table.grouped_by == ("artist", "group")
    assert [table.group(row) for row in table.rows] == ["Ann", "g2", ""]
    table = _table(tmp_path, text, " Source")
    assert table.grouped_by == ("source",)
    assert [table.group(row) for row in table.rows] == ["s1", "s1", "s2"]
    text = "path,label,artist,group,none\n1.wav,up,,g1,\n"
    assert _table(tmp_path, text).grouped_by == ("group",)
    with pytest.raises(UsageError, match="the column 'none' to group by is empty"):
        _table(tmp_path, text, "none")
    with pytest.raises(UsageError, match="no column 'sauce' to group by; it has path, label, artist, group"):
        _table(tmp_path, text, "sauce")


def test_a_row_without_an_artist_is_of_all_artists_of_its_group(tmp_path: Path):
    """Its group says that one of them may be its artist."""
    text = (
        "path,label,artist,group\n1.wav,up,Ann,G1\n2.wav,up,,g1\n3.wav,up,Bob,g1 \n4.wav,up,BOB,g3\n"
        "5.wav,up,,\n6.wav,up,Cid,g2\n7.wav,up,Dan,g2\n8.wav,up,Eve,g4\n9.wav,up,,g5\n10.wav,up,,g3\n11.wav,up,Fay,g3\n"
    )
    table = _table(tmp_path, text)
    one = {1, 2, 3, 4, 10, 11}
    groups = {number: table.group(row) for number, row in enumerate(table.rows, start=1)}
    assert len({groups[number] for number in one}) == 1
    rest = {number: group for number, group in groups.items() if number not in one}
    assert rest == {5: "", 6: "Cid", 7: "Dan", 8: "Eve", 9: "g5"}
    assert groups[1] == "Ann"
    # A column that is asked for stays what it is, and so do rows that all have an artist.
    asked = _table(tmp_path, text, "artist")
    assert [asked.group(row) for row in asked.rows][:4] == ["Ann", "", "Bob", "BOB"]
    whole = _table(tmp_path, "path,label,artist,group\n1.wav,up,Ann,g\n2.wav,up,Bob,g\n")
    assert [whole.group(row) for row in whole.rows] == ["Ann", "Bob"]


def test_a_word_in_place_of_an_artist_is_none(tmp_path: Path):
    notes = Notes()
    text = "path,label,artist,group\n1.wav,up,Unknown,g\n2.wav,up,Ann; Bob,g\n3.wav,up,nan,\n4.wav,up,,\n"
    table = _table(tmp_path, text)
    assert [table.group(row) for row in table.rows] == ["Ann; Bob", "Ann; Bob", "", ""]
    assert [table.artists(row) for row in table.rows] == [(), ("ann", "bob"), (), ()]
    table.note_groups(notes)
    assert notes.lines() == ("taken for no artist: 2, the first 'Unknown'",)
    nobody = "path,label,artist,source\n1.wav,up,Various Artists,unknown\n"
    assert _table(tmp_path, nobody).grouped_by == ()
    table = _table(tmp_path, nobody, "source")
    assert (table.group(table.rows[0]), table.artists(table.rows[0])) == ("unknown", ())
    with pytest.raises(UsageError, match="the column 'artist' to group by names nobody"):
        _table(tmp_path, nobody, "artist")


def test_artists_are_known_whatever_the_groups_are(tmp_path: Path):
    text = "path,label,artist,source\n1.wav,up,Ann; Bob,s1\n2.wav,up,,s1\n"
    table = _table(tmp_path, text, "source")
    assert [(table.group(row), table.artists(row)) for row in table.rows] == [
        ("s1", ("ann", "bob")),
        ("s1", ()),
    ]
    assert not table.by_artist
    assert _table(tmp_path, text).by_artist


@pytest.mark.parametrize(
    "column", ["Artists", "singer", "performer", "speaker", "album_artist", "Album Artist", "albumartist"]
)
def test_other_columns_of_artists_where_there_is_neither_artist_nor_group(tmp_path: Path, column: str):
    table = _table(tmp_path, f"path,label,artist,{column}\n1.wav,up,,Ann; Bob\n2.wav,up,,\n")
    assert table.grouped_by == (column.lower(),)
    assert [table.group(row) for row in table.rows] == ["Ann; Bob", ""]
    assert [table.artists(row) for row in table.rows] == [("ann", "bob"), ()]
    for before in ("artist", "group"):
        table = _table(tmp_path, f"path,label,{column},{before}\n1.wav,up,Ann,Bob\n2.wav,up,Ann,\n")
        assert table.grouped_by == (before,)


def test_an_album_is_no_group_unless_it_is_asked_for(tmp_path: Path):
    text = "path,label,artist,album\n1.wav,up,{},First\n"
    (note,) = _notes_on_groups(_table(tmp_path, text.format("")))
    assert note == "not read, a column album (--group-by album keeps its clips on one side): songs.csv"
    assert _notes_on_groups(_table(tmp_path, text.format("Ann"))) == ()
    assert _notes_on_groups(_table(tmp_path, text.format(""), "album")) == ()


def _notes_on_groups(table: ClipTable) -> tuple[str, ...]:
    notes = Notes()
    table.note_groups(notes)
    return notes.lines()


def test_many_artists_in_a_row_of_groups_take_no_long(tmp_path: Path):
    """Each is one with the next: 20,000 links of one chain."""
    rows = (f"{i}.wav,up,a{i},g{i + j}\n" for i in range(20_000) for j in (0, 1))
    alone = (f"x{i}.wav,up,,g{i}\n" for i in range(20_000))
    table = _table(tmp_path, "path,label,artist,group\n" + "".join((*rows, *alone)))
    assert len({table.group(row) for row in table.rows}) == 1


@pytest.mark.parametrize("column", ["tags", "genres", "Genre"])
def test_tags(tmp_path: Path, column: str):
    table = _table(tmp_path, f"path,label,{column}\n1.wav,up,Jazz ; Hard  Bop;Jazz;\n2.wav,down,\n")
    assert [table.tags(row) for row in table.rows] == [("Jazz", "Hard Bop"), ()]


@pytest.mark.parametrize("column", ["split", "Part", "subset"])
def test_parts(tmp_path: Path, column: str):
    notes = Notes()
    table = _table(tmp_path, f"path,label,{column}\n1.wav,up,Train\n2.wav,up,dev\n3.wav,up,test\n4.wav,up,\n")
    assert table.parts(notes) == ["training", "validation", "test", ""]
    assert notes.lines() == ()
    table = _table(tmp_path, f"path,label,{column}\n1.wav,up,fold1\n2.wav,up,fold2\n")
    assert table.parts(notes) == ["", ""]
    assert notes.lines() == (f"not read, a column {column.lower()} without train, val or test: songs.csv",)


def test_a_column_of_parts_by_another_name_is_noted(tmp_path: Path):
    notes = Notes()
    text = "path,label,title,Set{}\n1.wav,up,Train,Train{}\n2.wav,up,Test,TEST{}\n3.wav,up,x,{}\n"
    assert _table(tmp_path, text.format("", "", "", "")).parts(notes) == ["", "", ""]
    assert notes.lines() == ("not read, a column set of parts; call it split: songs.csv",)
    other = "path,label,group,genre\n1.wav,train,train,train\n2.wav,test,test,test\n"
    assert _table(tmp_path, other).parts(said := Notes()) == ["", ""]
    assert said.lines() == ()
    notes = Notes()
    assert _table(tmp_path, text.format(",split", ",test", ",train", ",val")).parts(notes)[0] == "test"
    assert notes.lines() == ()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "the file is empty"),
        ("path,mood\n1.wav,up\n", r"no column label \(it has path, mood\)"),
        ("\n\n", r"no column clip or path, label \(it has none\)"),
        (f"path,{','.join(f'column_{i:02}' for i in range(40))}\n", r"column_16, \.\.\.\)$"),  # no half name
        ("\nsep=,\npath,label\na, b.wav,down\n", "line 4 has 3 cells"),
        ("file,mood\n", "no column clip or path, label"),
        ("path,status,emotion,model_sha256\n", "once its emotions are corrected, call that column label$"),
        ("path|label\n1.wav|up\n", r"\(it has path\|label\); cells stand between commas, semicolons or tabs"),
        ("path,label,Label\n1.wav,up,down\n", "has the column label twice"),
        ("path,label\n1.wav,up\na, b.wav,down\n", r"line 3 has 3 cells and the header 2: quote names"),
        (
            'path,label\n"1.wav,up\n2.wav,down\n3.wav,down\n',
            "line 2 cannot be read as CSV: unexpected end of data",
        ),
        (b"path;label\r\nBj\xf6rk.mp3;up\r\n", "it is not UTF-8; save it as CSV UTF-8$"),  # Excel's "CSV"
        (b"path,label\n1.wav,a\0b", "null characters"),
        (f"path,label\n{'x' * 200_000},up\n", "line 2 cannot be read as CSV: field larger than field limit"),
        (f"path,label\n1.wav,up\n\n{'x' * 200_000},up\n", "line 4 cannot be read as CSV: field larger"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, content: str | bytes, reason: str):
    with pytest.raises(MerError, match=rf"songs\.csv.*{reason}"):
        _table(tmp_path, content)


def test_empty_columns_at_the_end_are_nothing(tmp_path: Path):
    (row,) = _table(tmp_path, "path,label,,\n1.wav,up,,,,\n").rows
    assert (row["path"], row["label"]) == ("1.wav", "up")


def test_only_regular_files_of_some_size_are_read(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    with (tmp_path / "sparse.csv").open("wb") as file:
        file.truncate(2**33)
    for name, reason in (("fifo", "not a regular file"), ("zero", "not a regular file"),
                         ("sparse", "larger than 256 MiB"), ("gone", "no such file")):  # fmt: skip
        with pytest.raises(MerError, match=f"{name}.csv .*{reason}"):
            read_clip_table(tmp_path / f"{name}.csv", [("path",)])
