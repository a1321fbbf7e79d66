"""Tables of paths."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from merkit.engine.catalogue.expand import Sources
from merkit.engine.catalogue.manifests import sources_from_manifest
from merkit.engine.errors import MerError, UsageError


def names(sources: Sources) -> list[str]:
    return [Path(source.path).name for source in sources]


def test_manifests(music: Path, tmp_path: Path) -> None:
    (music / "list.csv").write_text(
        "\ufeffisrc,file\nIN-1,a.mp3\nIN-2,sub/c.ogg\nIN-3,\nIN-4\n", encoding="utf-8"
    )
    sources = Sources([music / "list.csv"], "file")
    listed = list(sources)
    assert sources.columns == {"isrc": "string"}
    assert [(Path(s.path).name, s.columns["isrc"]) for s in listed] == [
        ("a.mp3", "IN-1"), ("c.ogg", "IN-2"), ("", "IN-3"), ("", "IN-4"),
    ]  # fmt: skip
    table = pa.table(
        {"path": ["a.mp3", "b.mp3"], "year": [1975, None], "plays": [1.5, 2.0], "tags": [["x"], []]}
    )
    pq.write_table(table, music / "list.parquet")
    sources = Sources([music / "list.parquet"])
    assert sources.columns == {"year": "int64", "plays": "float64", "tags": "string"}
    assert [dict(source.columns) for source in sources] == [
        {"year": 1975, "plays": 1.5, "tags": "['x']"},
        {"year": None, "plays": 2.0, "tags": "[]"},
    ]
    with pytest.raises(
        UsageError, match=r"has no column 'path' \(it has isrc, file\); name the column that holds the paths"
    ):
        Sources([music / "list.csv"])
    (music / "more.csv").write_text("path\na.mp3\n")
    (music / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UsageError, match="other columns"):
        Sources([music / "list.parquet", music / "more.csv"])
    with pytest.raises(MerError, match="cannot be read"):
        Sources([music / "broken.parquet"])


def test_a_table_between_tabs_may_say_so(music: Path) -> None:
    (music / "list.tsv").write_text("title\tpath\nA, b; c\ta.mp3\n")
    sources = Sources([music / "list.tsv"])
    assert [(Path(each.path).name, each.columns["title"]) for each in sources] == [("a.mp3", "A, b; c")]


def test_two_columns_of_one_name(music: Path) -> None:
    (music / "list.csv").write_text("path,tag,tag,title,title\na.mp3,x,y,,\n")
    with pytest.raises(UsageError, match=r"list.csv has two columns 'tag', 'title': rename one"):
        Sources([music / "list.csv"])
    table = pa.Table.from_arrays([pa.array(["a.mp3"]), pa.array([1]), pa.array([2])], ["path", "n", "n"])
    pq.write_table(table, music / "list.parquet")
    with pytest.raises(UsageError, match="has two columns 'n'"):
        Sources([music / "list.parquet"])


@pytest.mark.parametrize(
    ("header", "path"),
    [
        ("a.mp3", "a.mp3"),
        ("sub/deep/d.flac,happy,happy", "sub/deep/d.flac"),
        ("A song.MP3;1", "A song.MP3"),
        ("x\ts3://b/c", "s3://b/c"),
        ("no suffix", "no suffix"),
    ],
)
def test_a_list_without_a_header_loses_no_song(music: Path, header: str, path: str) -> None:
    """A song that is named as the column of paths would be the header, and get no row."""
    (music / "no suffix").touch()
    (music / "list.csv").write_text(f"{header}\nb.mp3\n")
    said = re.escape(f"list.csv has no header, its first line is of a song ({path}): write a line with")
    for column in ("path", header, path):
        with pytest.raises(UsageError, match=f"{said}.* path for that of the paths"):
            Sources([music / "list.csv"], column)


def test_a_column_that_is_named_as_a_file_is_one(music: Path) -> None:
    for column in ("path", "song"):
        (music / column).touch()
        (music / "list.csv").write_text(f"{column},title\na.mp3,x\n")
        assert names(Sources([music / "list.csv"], column)) == ["a.mp3"]
    with pytest.raises(UsageError, match="name the column that holds the paths"):
        Sources([music / "list.csv"], "file")


def test_rows_and_columns_of_nothing(music: Path) -> None:
    """As Excel leaves them, where cells were deleted; and the index of pandas, which has no name."""
    (music / "list.csv").write_bytes(
        b"\xef\xbb\xbf,path,title,,\r\n0,a.mp3,x,,\r\n,,,,\r\n,, ,,\r\n\r\n1, ,y,,\r\n"
    )
    sources = Sources([music / "list.csv"])
    assert sources.columns == {"title": "string"}
    assert [(source.path, source.columns["title"]) for source in sources] == [
        (f"{music}/a.mp3", "x"),
        ("", "y"),
    ]
    table = {"path": ["a.mp3", None, None], "n": [1, None, 2], "__index_level_0__": [0, None, 4]}
    pq.write_table(pa.table(table), music / "list.parquet")
    assert Sources([music / "list.parquet"]).columns == {"n": "int64"}
    listed = [(Path(source.path).name, source.columns["n"]) for source in Sources([music / "list.parquet"])]
    assert listed == [("a.mp3", 1), ("", 2)]
    by_path = Sources([music / "list.parquet"], path_column="__index_level_0__")  # an index of paths
    assert by_path.columns == {"path": "string", "n": "int64"}


def test_paths_mean_what_they_mean_in_playlists(music: Path) -> None:
    paths = [
        "sub\\c.ogg",
        "sub/deep/d.flac",
        "odd%20[1].mp3",
        f"file://{music}/a.mp3",
        "https://h/x.mp3",
        "gone",
    ]
    (music / "list.csv").write_text("\n".join(["path", *paths]))
    expected = [*(f"{music}/{name}" for name in ("sub/c.ogg", "sub/deep/d.flac", "odd [1].mp3", "a.mp3"))]
    listed = [source.path for source in Sources([music / "list.csv"])]
    assert listed == [*expected, "https://h/x.mp3", f"{music}/gone"]


def test_semicolons_and_utf_16(music: Path) -> None:
    (music / "a.csv").write_text("title;path\nx, y;a.mp3\n")
    (music / "b.csv").write_text("title\tpath\nä\tb.mp3\n", encoding="utf-16")
    listed = [
        (Path(source.path).name, source.columns) for source in Sources([music / "a.csv", music / "b.csv"])
    ]
    assert listed == [("a.mp3", {"title": "x, y"}), ("b.mp3", {"title": "ä"})]


def test_an_open_quote_is_refused(music: Path) -> None:
    (music / "list.csv").write_text('path,title\na.mp3,A\nb.mp3,"Heroes\nc.mp3,C\n')
    with pytest.raises(MerError, match=r"list.csv cannot be read: line 3: a quote is not closed there"):
        list(Sources([music / "list.csv"]))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_ends_at_once(music: Path, suffix: str) -> None:
    (music / "list.csv").write_text("path\n" + "a.mp3\n" * 20)
    pq.write_table(pa.table({"path": ["a.mp3"] * 20}), music / "list.parquet")
    seen: list[None] = []

    def check() -> None:
        seen.append(None)
        if len(seen) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(sources_from_manifest(str(music / f"list.{suffix}"), "path", check))


def test_marks_before_paths(music: Path) -> None:
    (music / "list.csv").write_text(
        "path,n\na.mp3,1\n\ufeffpath,n\n\ufeffb.mp3,2\n\ufeffhttps://h/x.mp3,3\n \ufeffs3://b/y z.mp3\t ,4\n"
    )
    listed = [(source.path, source.columns["n"]) for source in Sources([music / "list.csv"])]
    assert listed == [
        (f"{music}/a.mp3", "1"),
        (f"{music}/b.mp3", "2"),
        ("https://h/x.mp3", "3"),
        ("s3://b/y z.mp3", "4"),
    ]


@pytest.mark.parametrize(
    ("kind", "values", "fitted"),
    [
        ("int64", pa.array([1999.0, None, -3.0]), [1999, None, -3]),
        ("int64", pa.array([1999.0, float("nan")]), [1999, None]),
        ("int64", pa.nulls(2), [None, None]),
        ("int64", pa.nulls(1, pa.string()), [None]),
        ("bool", pa.nulls(1), [None]),
        ("string", pa.nulls(1, pa.float64()), [None]),
        ("float64", pa.array([2000, None]), [2000.0, None]),
    ],
)
def test_values_of_another_kind(music: Path, kind: str, values: pa.Array, fitted: list) -> None:
    """A column keeps its kind when pandas gives it another one: with its first gap, or with only gaps."""
    pq.write_table(pa.table({"path": ["a.mp3"] * len(values), "x": values}), music / "list.parquet")
    sources = Sources([music / "list.parquet"])
    sources.columns = {"x": kind}
    found = [source.columns["x"] for source in sources]
    assert found == fitted
    assert list(map(type, found)) == list(map(type, fitted))


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("int64", 1999.5, r"list.parquet: the column 'x' has '1999.5', and .* int64 .* astype\(\"Int64\"\)"),
        ("int64", float("inf"), "has 'inf'"),
        ("int64", 2.0**53, "has '9007199254740992.0'"),
        ("int64", "1999", "has '1999'"),
        ("int64", True, "has 'True'"),
        ("float64", 2**53 + 1, r"float64 .* astype\(\"Float64\"\)"),
        ("float64", True, "has 'True'"),
        ("bool", 1, r"bool .* astype\(\"boolean\"\)"),
        ("string", 1, r"string .* astype\(\"string\"\)"),
    ],
)
def test_a_value_that_would_change_is_refused(music: Path, kind: str, value: object, told: str) -> None:
    pq.write_table(pa.table({"path": ["a.mp3"], "x": [value]}), music / "list.parquet")
    sources = Sources([music / "list.parquet"])
    sources.columns = {"x": kind}
    with pytest.raises(MerError, match=told):
        list(sources)
