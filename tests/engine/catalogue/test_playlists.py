"""Playlists of many programs."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.catalogue import playlists
from merkit.engine.catalogue.expand import Sources
from merkit.engine.catalogue.playlists import sources_from_playlist


def nothing() -> None:
    pass


def listed(file: Path | str) -> list[str]:
    return [source.path for source in sources_from_playlist(str(file), nothing)]


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
    names = [Path(source.path).name for source in sources]
    assert names == ["a.mp3", "c.ogg", "odd [1].mp3", "gone.mp3", "b.mp3"]
    assert sources.skipped == 2
    (music / "latin.m3u").write_bytes(b"caf\xe9.mp3\n")
    assert listed(music / "latin.m3u") == [f"{music}/caf\udce9.mp3"]


def test_names_in_a_service_are_on_another_machine(music: Path) -> None:
    (music / "local:mine.mp3").touch()
    lines = ["spotify:track:4uLU6h", "a.mp3", "tunein:station:s1", "local:track:x.mp3", "local:mine.mp3"]
    (music / "list.m3u").write_text("\n".join([*lines, "Local: a title.mp3", "C:/x.mp3"]))
    sources = Sources([music / "list.m3u"])
    names = [Path(source.path).name for source in sources]
    assert names == ["a.mp3", "local:mine.mp3", "Local: a title.mp3", "x.mp3"]
    assert sources.skipped == 3


_names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0\r\n"), min_size=1, max_size=40
).filter(lambda n: n.strip() and not n.startswith("#") and len(n.encode()) < 200 and n not in (".", ".."))
_ways = {
    "as it is": str,
    "NFC": lambda name: unicodedata.normalize("NFC", name),
    "percent": quote,
    "absolute": lambda name: f"{{folder}}/{name}",
    "URL": lambda name: f"file://{{folder}}/{quote(name)}",
}


@given(
    st.lists(_names, min_size=1, max_size=4, unique=True),
    st.sampled_from(list(_ways)),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]),
    st.sampled_from(["\n", "\r", "\r\n", "\n\r\n", "\r\r\n"]),
    st.booleans(),
)
def test_any_name_in_any_encoding_and_any_end_of_line_is_found(
    names: list[str], way: str, encoding: str, end: str, ends_so: bool
) -> None:
    if way == "NFC":  # names are on the disk as a Mac writes them
        names = list(dict.fromkeys(unicodedata.normalize("NFD", name) for name in names))
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            Path(folder, name).write_bytes(b"sound")
        lines = ["#EXTM3U", *(_ways[way](name).replace("{folder}", folder) for name in names)]
        text = end.join(lines) + (end if ends_so else "")
        Path(folder, "the.m3u8").write_bytes(text.encode(encoding))
        assert listed(f"{folder}/the.m3u8") == [os.path.join(folder, name) for name in names]


@pytest.mark.parametrize("first", ["#EXTM3U", "#EXTINF:8,A", ""])
def test_bare_carriage_returns(music: Path, first: str) -> None:
    """A list of Apple Music is one line for who looks for line feeds, and that line is a comment."""
    (music / "cr.m3u").write_bytes(f"{first}\ra.mp3\r#EXTINF:8,B\rsub/c.ogg\r".encode())
    assert listed(music / "cr.m3u") == [f"{music}/a.mp3", f"{music}/sub/c.ogg"]


def test_comments_that_are_names(music: Path) -> None:
    (music / "#1 Hit.mp3").touch()
    (music / "list.m3u").write_text("#EXTM3U\n#1 Hit.mp3\n#a.mp3\n# a comment\n", encoding="utf-8")
    assert listed(music / "list.m3u") == [f"{music}/#1 Hit.mp3"]


def test_code_pages(music: Path) -> None:
    (music / "Noël.mp3").touch()
    (music / "ansi.m3u").write_bytes("#EXTM3U\r\n#EXTINF:1,Noël\r\n.\\Noël.mp3\r\n".encode("cp1252"))
    assert listed(music / "ansi.m3u") == [f"{music}/./Noël.mp3"]


def test_what_cannot_be_read_is_an_input(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for more in ("x" * 100_000, "# " + "x" * (3 << 16), "x" * (1 << 16)):
        (music / "long.m3u").write_text(f"a.mp3\n{more}\nb.mp3\n")
        expected = [f"{music}/a.mp3", f"{music}/long.m3u", f"{music}/b.mp3"]
        assert listed(music / "long.m3u") == expected
    os.truncate(music / "long.m3u", 1 << 31)
    assert listed(music / "long.m3u") == [f"{music}/long.m3u"]
    os.mkfifo(music / "pipe.m3u")
    (music / "zero.m3u").symlink_to("/dev/zero")
    for name in ("pipe.m3u", "zero.m3u"):
        assert listed(music / name) == [f"{music}/{name}"]
    (music / "closed.m3u").write_text("a.mp3\n")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert listed(music / "closed.m3u") == [f"{music}/closed.m3u"]


def test_half_of_a_character_does_not_stop_a_list(music: Path) -> None:
    (music / "odd.m3u").write_bytes("a.mp3\nb.mp3\n".encode("utf-16") + b"\0")
    assert listed(music / "odd.m3u")[:2] == [f"{music}/a.mp3", f"{music}/b.mp3"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "text",
    [
        "[playlist]\r\nFile1=a.mp3\r\nTitle1=A\r\nNumberOfEntries=1\r\n",
        '<?xml version="1.0"?>\n<playlist><trackList/></playlist>\n',
        '<playlist version="1"><trackList/></playlist>',
    ],
)
def test_another_kind_of_list_is_an_input(music: Path, text: str, encoding: str) -> None:
    """Whose row says what it is; its lines are no names of songs."""
    (music / "list.m3u").write_text(text, encoding=encoding)
    assert listed(music / "list.m3u") == [f"{music}/list.m3u"]


def test_a_song_of_the_name_of_a_header(music: Path) -> None:
    (music / "[playlist]").touch()
    (music / "list.m3u").write_text("[playlist]\na.mp3\n")
    assert listed(music / "list.m3u") == [f"{music}/[playlist]", f"{music}/a.mp3"]


def test_a_list_ends_at_once(music: Path) -> None:
    (music / "list.m3u").write_text("a.mp3\n" * 20)
    seen: list[None] = []

    def check() -> None:
        seen.append(None)
        if len(seen) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(sources_from_playlist(str(music / "list.m3u"), nothing, check))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_lists_that_were_joined(music: Path, encoding: str) -> None:
    """Each begins with its mark, and may end with the end of a text of DOS."""
    one = "\ufeff#EXTM3U\r\n#EXTINF:1,A\r\na.mp3\r\n"
    other = "\ufeffb.mp3\r\n\ufeffhttps://radio.example/live.mp3\r\n\x1a"
    (music / "list.m3u8").write_text(one + one + other, encoding=encoding)
    assert listed(music / "list.m3u8") == [f"{music}/a.mp3", f"{music}/a.mp3", f"{music}/b.mp3"]
    (music / "\ufeffb.mp3").touch()  # a name that begins so is one
    assert listed(music / "list.m3u8")[2] == f"{music}/\ufeffb.mp3"


def test_an_empty_list_has_no_entries(music: Path) -> None:
    (music / "empty.m3u").touch()
    assert listed(music / "empty.m3u") == []


def test_a_list_that_fails_while_it_is_opened_stays_not_open(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(file: str) -> str:
        raise OSError(5, "Input/output error")

    (music / "l.m3u").write_text("a.mp3\n")
    monkeypatch.setattr(playlists, "encoding_of_list", failing)
    os.close(free := os.dup(0))
    assert listed(music / "l.m3u") == [f"{music}/l.m3u"]
    os.close(now := os.dup(0))
    assert now == free
