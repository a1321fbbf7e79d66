"""Playlists and tables of paths."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from merkit.engine.catalogue.expand import Sources
from merkit.engine.errors import MerError, UsageError


def names(sources: Sources) -> list[str]:
    return [Path(source.path).name for source in sources]


def test_playlists(music: Path) -> None:
    lines = [
        "#EXTM3U",
        "#EXTINF:3,Song",
        "a.mp3",
        "sub\\c.ogg",
        f"file://{music}/odd%20%5B1%5D.mp3",
        "",
        "gone.mp3",
    ]
    lines += ["http://radio.example/live.mp3", "file://elsewhere/x.mp3", str(music / "b.mp3")]
    (music / "list.m3u").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    sources = Sources([music / "list.m3u"])
    assert names(sources) == ["a.mp3", "c.ogg", "odd [1].mp3", "gone.mp3", "b.mp3"]
    assert sources.skipped == 2
    (music / "latin.m3u").write_bytes(b"caf\xe9.mp3\n")
    (source,) = Sources([music / "latin.m3u"])
    assert source.path.endswith("caf\udce9.mp3")


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
