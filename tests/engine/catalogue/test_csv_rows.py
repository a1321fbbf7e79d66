"""CSV, read strictly: no song is lost in a cell."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.catalogue.csv_rows import open_csv
from merkit.engine.errors import MerError
from merkit.engine.text.escape import text_from_csv


@pytest.fixture
def read(tmp_path: Path):
    def rows(content: bytes | str, encoding: str = "utf-8") -> list[list[str]]:
        file = tmp_path / "list.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        header, rest = open_csv(str(file), "path")
        return [header, *rest]

    return rows


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('path,title\ns0.wav,A\ns1.wav,"Heroes\ns2.wav,C\ns3.wav,D\n', 3),
        ('path,title\ns0.wav,A\n"s1.wav,Heroes\ns2.wav,C\n', 3),
        ('path,title\ns0.wav,A\ns1.wav,"Heroes\ns2.wav,C\ns3.wav,"D"\n', 3),  # the quote of D closes it
        ('path,title\ns0.wav,A\ns1.wav,"Heroes\ns2.wav,C"\ns3.wav,D\n', 3),
        ('path,title\ns0.wav,A\ns1.wav,"Heroes\ns2.wav,C\ns3.wav,E"\n', 3),
        ('title,path\nA,s0.wav\n"Heroes,s1.wav\nC",s2.wav\n', 3),
        ('path\ns0.wav\n"s1.wav\ns2.wav"\n', 3),
        ('path,title\ns0.wav,A\ns1.wav,"Heroes', 3),
        ('path,title\ns0.wav,"Heroes\nsongs/of/1977,C\n', 2),
        ('path,title\ns0.wav,"Heroes" live\n', 2),
        ('path,title\ns0.wav,"Her"oes"\n', 2),
        ('"path,title\ns0.wav,A\n', 1),
        ("path,title\ns0.wav,A,B\n", 2),
        ("path,title\ns0.wav,A\ns1.wav,Hello, Goodbye\n", 3),
        ('path,title\ns0.wav,"two\nlines"\ns1.wav,"Heroes\ns2.wav,C\n', 4),
        (f'path,title\ns0.wav,A\ns1.wav,"{"long " * 30_000}\n', 3),
        ("path\n" + "x" * 2_000_000, 2),
    ],
)
def test_what_is_not_clear_is_refused_with_its_line(read, content: str, line: int) -> None:
    for end in ("\n", "\r\n", "\r"):
        with pytest.raises(MerError, match=f"cannot be read: line {line}: "):
            read(content.replace("\n", end))


@pytest.mark.parametrize("above", ["sep=;", '"sep=;"', "SEP=;", "", " ;;", "\nsep=;"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_stands_above_the_header(read, above: str, end: str, encoding: str) -> None:
    """Excel's own line, or blank ones; the numbers of lines count them."""
    text = f"{above}\npath;title\na.wav;A\n".replace("\n", end)
    assert read(text, encoding) == [["path", "title"], ["a.wav", "A"]]
    number = 4 + above.count("\n")
    with pytest.raises(MerError, match=f"cannot be read: line {number}: "):
        read(text + "b.wav;B;C" + end, encoding)


def test_cells_of_several_lines(read) -> None:
    text = 'path,words\n"a.wav","oh, baby\nyes, I do\n\nthe end"\nb.wav,x\n'
    assert read(text)[1:] == [["a.wav", "oh, baby\nyes, I do\n\nthe end"], ["b.wav", "x"]]
    assert read('path\n"two\nlines.wav"\n')[1:] == [["two\nlines.wav"]]


@pytest.mark.parametrize("words", ["Tum Hi Ho\nhttp://www.songs.example", "A\nb.mp3", "x\r\nthere.mp3\ny"])
@pytest.mark.parametrize("column", [1, 2, 3])
def test_a_line_of_a_cell_that_names_a_song_is_no_row(read, tmp_path: Path, words: str, column: int) -> None:
    """Tags have line breaks, and the names of sites. A row has more cells than such a line."""
    (tmp_path / "there.mp3").touch()
    row = ["a.mp3", "x", "y", "z"]
    row[column] = words
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["path", "t", "u", "v"], row, ["b.mp3", "", "", ""]])
    assert read(text.getvalue())[1:] == [row, ["b.mp3", "", "", ""]]


@pytest.mark.parametrize("end", ['"', '",RCA', '",RCA,1977'])
def test_rows_without_their_last_cells_are_seen_in_a_cell_too(read, end: str) -> None:
    with pytest.raises(MerError, match="line 2: a quote is not closed there, and rows after it"):
        read(f'path,title,label,year\ns1.wav,"Heroes\ns2.wav,C\ns3.wav,E{end}\n')


@pytest.mark.parametrize("end", ['c.wav,x,"y"', 'c.wav",x,y', 'c.wav,"', '",x,y'])
def test_a_row_before_may_say_that_rows_lack_their_last_cells(read, end: str) -> None:
    """Then a cell's line of as few may be a row, however long the record is."""
    broken = f'a.wav,Heroes,"RCA\nb.wav\n{end}\n'
    for short in ("0.wav\n", "0.wav,A\n"):
        with pytest.raises(MerError, match="cannot be read: line 3: "):
            read(f"path,title,label\n{short}{broken}")


def test_the_end_of_a_text_of_dos_is_no_row_that_lacks_cells(read) -> None:
    text = 'path,words,n\na.wav,x,1\n\ufeff\n\x1a\nb.wav,"A\nb.mp3",2\n'
    assert read(text)[-1] == ["b.wav", "A\nb.mp3", "2"]


def test_quotes_in_a_cell(read) -> None:
    assert read('path,title\na.wav,The 12" mix\nb.wav,"""Heroes"""\n')[1:] == [
        ["a.wav", 'The 12" mix'],
        ["b.wav", '"Heroes"'],
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_spreadsheets_write(read, encoding: str, mark: str, end: str) -> None:
    lines = (("path", "title"), ("ä.wav", '"a, b; c\td"'), ("b.wav",))
    text = "".join(mark.join(line) + end for line in lines)
    assert read(text, encoding) == [["path", "title"], ["ä.wav", "a, b; c\td"], ["b.wav", ""]]


def test_the_header_decides_on_the_delimiter(read) -> None:
    assert read("path\na;b.wav\n") == [["path"], ["a;b.wav"]]
    assert read("path,a;b\nx,y\n") == [["path", "a;b"], ["x", "y"]]
    assert read("title;path\nx,y;z\n") == [["title", "path"], ["x,y", "z"]]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"path,t\na.wav,x\nNo\xebl.wav,\xff\n", [["a.wav", "x"], ["No\udcebl.wav", "\udcff"]]),
        (b"path\n" + b"a.wav\n" * 9_000 + b"No\xebl.wav\n", [["a.wav"]] * 9_000 + [["No\udcebl.wav"]]),
        ("path\na.wav\n".encode("utf-16") + b"\0", [["a.wav"], ["\ufffd"]]),
        (b"path,t\na.wav,x\0y\n", [["a.wav", "x\0y"]]),
    ],
)
def test_bytes_that_are_no_text_stay_in_their_row(read, content: bytes, rows: list[list[str]]) -> None:
    assert read(content)[1:] == rows


def test_a_cell_of_200_kb(read) -> None:
    assert read(f"path,t\na.wav,{'x' * 200_000}\nb.wav,y\n")[1:] == [
        ["a.wav", "x" * 200_000],
        ["b.wav", "y"],
    ]


def test_guards_against_formulas_are_taken_off(read, tmp_path: Path) -> None:
    (tmp_path / "'=there.wav").touch()
    assert read("path,'=t,n\n'-gone.wav,'=1+1,'-0.35\n'=there.wav,x;'@y,it's\n") == [
        ["path", "=t", "n"],
        ["-gone.wav", "=1+1", "'-0.35"],
        ["'=there.wav", "x;@y", "it's"],  # that file has such a name
    ]
    (tmp_path / "=there.wav").touch()
    assert read("path\n'=there.wav\n''=there.wav\n") == [["path"], ["=there.wav"], ["'=there.wav"]]


def test_only_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for file in (str(tmp_path / "pipe.csv"), "/dev/zero", str(tmp_path)):
        with pytest.raises(MerError, match="cannot be read: not a regular file"):
            open_csv(file, "path")


def test_no_header(read) -> None:
    assert read("") == [[]]
    assert read("\n\n") == [[]]


_cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(st.lists(st.tuples(_cells, _cells), max_size=6), st.sampled_from([",", ";", "\t"]))
def test_what_python_writes_is_read_back(rows: list[tuple[str, str]], mark: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=mark, quoting=csv.QUOTE_ALL).writerows([("path", "title"), *rows])
    with tempfile.NamedTemporaryFile() as file:
        file.write(text.getvalue().encode())
        file.flush()
        header, read_back = open_csv(file.name, "path")
        assert header == ["path", "title"]
        assert list(read_back) == [list(map(text_from_csv, row)) for row in rows]


def test_a_quote_that_opens_again_at_each_line_has_a_bound(read) -> None:
    with pytest.raises(MerError, match="line 2: the cells that begin there are longer than a row can be"):
        read('path,x\na.ogg,"' + '\n","' * 1_500_000)


def test_cells_of_a_megabyte_with_lines_are_read_in_each_row(read) -> None:
    cell = "one line of words\n" * 50_000
    assert read(f'path,x\na.ogg,"{cell}"\n' * 1 + f'b.ogg,"{cell}"\n' * 6)[1:] == [
        [name, cell] for name in ("a.ogg", *["b.ogg"] * 6)
    ]


def test_columns_have_a_bound(read) -> None:
    names = ",".join(map(str, range(10_000)))
    with pytest.raises(MerError, match="line 1: it names 10001 columns; at most 10,000 are read"):
        read(f"path,{names}\na.ogg\n")


def test_tables_that_were_joined(read) -> None:
    """Each begins with its mark and its header, and may end with the end of a text of DOS."""
    for header in ("n,path\n", '"n","path"\n'):
        text = f"\ufeff{header}1,a.wav\n\ufeff{header}2,b.wav\n\ufeff3,c.wav\n\ufeff\n\x1a"
        assert read(text)[1:] == [["1", "a.wav"], ["2", "b.wav"], ["3", "c.wav"]]
    assert read('path,n\n\ufeff"a, b.wav",1\n\ufeffc.wav,2\n')[1:] == [
        ["a, b.wav", "1"],
        ["\ufeffc.wav", "2"],
    ]
