"""What a path in a list means: any name, however a program wrote it, is that file."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from merkit.engine.catalogue import capitals
from merkit.engine.catalogue.expand import Sources
from merkit.engine.catalogue.listed_paths import encoding_of_list, folders_of_list, source_from_list

NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0\r\n"), min_size=1, max_size=40
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)


Form = Literal["NFC", "NFD"]


def path_from_list(folder: str, text: str) -> str:
    return source_from_list(folder, text).path


def write(folder: str | Path, name: str) -> str:
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(path).write_bytes(b"sound")
    return path


@given(NAMES, st.booleans())
@example("Song #1.wav", False)
@example("What?.wav", False)
@example("100%25.wav", False)
@example("a\\b.wav", True)
@example(" a.wav ", False)
def test_every_way_to_write_a_name_finds_it(name: str, in_a_folder: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(folder, f"Mu sic/{name}" if in_a_folder else name)
        listed = os.path.relpath(path, folder)
        for text in (
            listed,
            path,
            quote(listed),
            quote(path),
            f"file://{quote(path)}",
            f"file://localhost{quote(path)}",
            f"FILE:{quote(path)}",
            f"file://{quote(path, safe='/#?')}",
            *([listed.replace("/", "\\")] if "\\" not in name else []),
        ):
            assert path_from_list(folder, text) == path, text


@pytest.mark.parametrize(
    ("there", "text"),
    [
        ("m/a.mp3", "M/A.MP3"),
        ("m/a.mp3", "M\\A.MP3"),
        ("Music/Straße/x.mp3", "music/strasse/X.mp3"),
        ("é/É.mp3", unicodedata.normalize("NFD", "É/é.mp3")),
        ("Ария.mp3", os.fsdecode("ария.MP3".encode("cp1251"))),
    ],
)
def test_other_capitals(tmp_path: Path, there: str, text: str) -> None:
    path = write(tmp_path, there)
    assert path_from_list(str(tmp_path), text) == path
    assert source_from_list(str(tmp_path), text).readings  # the name that its row had while it was not there


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_around_a_path(tmp_path: Path, quote: str) -> None:
    """As "Copy as path" of Windows and shells give it."""
    path, folder = write(tmp_path, "m/एक दो.mp3"), str(tmp_path)
    for text in ("m/एक दो.mp3", "m\\एक दो.mp3", Path(path).as_uri(), "M/एक दो.MP3"):
        assert path_from_list(folder, f" {quote}{text}{quote} \ufeff") == path
    assert path_from_list(folder, f"{quote}C:\\m\\b.mp3{quote}") == "C:\\m\\b.mp3"
    absent = source_from_list(folder, f"{quote}b.mp3{quote}")
    assert (absent.path, f"{folder}/{quote}b.mp3{quote}" in absent.readings) == (f"{folder}/b.mp3", True)
    own = write(tmp_path, f"{quote}m{quote}")
    write(tmp_path, "m/m")
    assert path_from_list(folder, f"{quote}m{quote}") == own
    assert path_from_list(folder, quote * 16_000) == f"{folder}/{quote * 15_998}"


def test_capitals_decide_where_two_names_differ_in_them_only(tmp_path: Path) -> None:
    one, other = write(tmp_path, "m/a.mp3"), write(tmp_path, "m/A.mp3")
    assert path_from_list(str(tmp_path), "M/a.mp3") == one
    assert path_from_list(str(tmp_path), "m/A.mp3") == other
    assert path_from_list(str(tmp_path), "m/A.MP3") == f"{tmp_path}/m/A.MP3"
    (tmp_path / "m/A.mp3").unlink()
    os.utime(tmp_path / "m", ns=(1, 1))
    assert path_from_list(str(tmp_path), "m/A.MP3") == one
    (tmp_path / "d.mp3").mkdir()
    assert path_from_list(str(tmp_path), "D.MP3") == f"{tmp_path}/D.MP3"  # a folder is no song


def test_a_folder_is_listed_once_for_all_entries_in_other_capitals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write(tmp_path, f"m/{number}.mp3") for number in range(9)]
    scandir, listed = os.scandir, []
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(folder) or scandir(folder))
    assert path_from_list(str(tmp_path), "m/0.mp3") == paths[0]
    assert not listed
    assert [path_from_list(str(tmp_path), f"M/{number}.MP3") for number in range(9)] == paths
    assert listed == [str(tmp_path), f"{tmp_path}/m"]
    monkeypatch.setattr(capitals, "_MOST_NAMES", 8)
    write(tmp_path, "m/9.mp3")
    os.utime(tmp_path / "m", ns=(1, 1))
    assert path_from_list(str(tmp_path), "m/0.MP3") == f"{tmp_path}/m/0.MP3"


@given(NAMES, st.sampled_from(["cp1252", "cp1250", "cp1251", "cp932", "gb18030", "cp949", "koi8_r", "cp850"]))
@example("Noël.wav", "cp1252")
@example("Ария.wav", "cp1251")
@example("宇多田ヒカル.wav", "cp932")
@example("表.wav", "cp932")  # a backslash is the second byte of its first character
def test_code_pages(name: str, page: str) -> None:
    try:
        raw = name.encode(page)
        assume(raw.decode(page) == name)
    except UnicodeError:
        assume(False)
    try:
        raw.decode()
        assume(raw.isascii())
    except UnicodeDecodeError:
        pass
    with tempfile.TemporaryDirectory() as folder:
        path = write(folder, name)
        assert path_from_list(folder, os.fsdecode(raw)) == path
        assert path_from_list(folder, quote(raw)) == path
        path = write(folder, f"Music/{name}")
        if "\\" not in name:
            assert path_from_list(folder, "Music\\" + os.fsdecode(raw)) == path


@pytest.mark.parametrize("listed", ["NFC", "NFD"])
@pytest.mark.parametrize("on_disk", [("NFC", "NFC"), ("NFD", "NFD"), ("NFD", "NFC"), ("NFC", "NFD")])
def test_normal_forms(tmp_path: Path, listed: Form, on_disk: tuple[Form, Form]) -> None:
    """A folder that a Mac made may hold files that another system made."""
    names = [
        unicodedata.normalize(form, name) for form, name in zip(on_disk, ("Björk", "Jóga.wav"), strict=True)
    ]
    path = write(tmp_path, "/".join(names))
    text = unicodedata.normalize(listed, "Björk/Jóga.wav")
    for each in (text, str(tmp_path / text), quote(text), text.replace("/", "\\")):
        assert path_from_list(str(tmp_path), each) == path


def test_the_text_as_it_stands_comes_first(tmp_path: Path) -> None:
    for name in ("a%20b.wav", "a b.wav", "x\\y.wav", "x/y.wav", "Nöel.wav", os.fsdecode(b"N\xf6el.wav")):
        write(tmp_path, name)
    for text in ("a%20b.wav", "x\\y.wav", os.fsdecode(b"N\xf6el.wav")):
        assert path_from_list(str(tmp_path), text) == os.path.join(tmp_path, text)
    assert path_from_list("", "gone.wav") == "gone.wav"


def test_what_is_nowhere_keeps_its_first_reading(tmp_path: Path) -> None:
    folder = str(tmp_path)
    for text, path in {
        "gone%20.wav": f"{folder}/gone%20.wav",
        "sub\\gone.wav": f"{folder}/sub/gone.wav",
        "file:///gone/Song%20#1.wav": "/gone/Song #1.wav",
        " gone.wav": f"{folder}/gone.wav",
        "C:\\Music\\a.wav": "C:\\Music\\a.wav",
        "d:/Music/a.wav": "d:/Music/a.wav",
        "file:///C:/Music/a%20b.wav": "C:/Music/a b.wav",
        "\\\\nas\\music\\a.wav": "\\\\nas\\music\\a.wav",
        os.fsdecode(b"gone\xe9.wav"): f"{folder}/gone\udce9.wav",
    }.items():
        assert path_from_list(folder, text) == path
    (tmp_path / "Music").mkdir()
    assert path_from_list(folder, f"file://{folder}/Music/#1.wav") == f"{folder}/Music/#1.wav"


def test_other_readings_are_told(tmp_path: Path) -> None:
    """For rows of runs in which the file was there, or not."""
    folder, text = str(tmp_path), "a%20é.wav"
    gone = source_from_list(folder, text)
    assert {f"{folder}/a é.wav", f"{folder}/a e\u0301.wav"} < set(gone.readings)
    assert gone.path not in gone.readings
    write(tmp_path, "a é.wav")
    there = source_from_list(folder, text, {"n": "1"})
    assert (there.path, there.readings, there.columns) == (f"{folder}/a é.wav", (gone.path,), {"n": "1"})
    write(tmp_path, text)
    assert source_from_list(folder, text).readings == ()
    assert source_from_list(folder, "gone.wav").readings == ()


def test_odd_text_is_no_error(tmp_path: Path) -> None:
    for text in ("a\0b.wav", "x" * 5_000, "é" * 300, "file:///", "%00.wav", "../" * 50 + "é.wav"):
        assert isinstance(path_from_list(str(tmp_path), text), str)


def test_encodings(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-8", "utf-8-sig"):
        (tmp_path / "list").write_text("path\nä", encoding=encoding)
        assert encoding_of_list(str(tmp_path / "list")) == ("utf-8-sig" if encoding == "utf-8" else encoding)
    (tmp_path / "list").write_bytes(b"")
    assert encoding_of_list(str(tmp_path / "list")) == "utf-8-sig"


@pytest.mark.parametrize("text", ["\udce9" * 20_000, "a" + "\u0301\u0323" * 20_000, "%e9" * 20_000])
def test_what_no_path_is_as_long_as_has_one_reading(tmp_path: Path, text: str) -> None:
    """Its row shows how it begins, and tells it from others that begin so."""
    source, other = (source_from_list(str(tmp_path), each) for each in (text, f"{text}x"))
    assert (source.size_bytes, source.readings) == (None, ())
    assert source.path.startswith(str(tmp_path / text[:200]))
    assert len(source.path) < len(str(tmp_path)) + 250
    assert source.path != other.path
    assert source == source_from_list(str(tmp_path), text)


def test_a_long_path_may_be_percent_encoded(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["é" * 100] * 8)
    folder.mkdir(parents=True)
    (folder / "a.ogg").touch()
    text = quote(os.fsencode(os.path.relpath(folder / "a.ogg", tmp_path)))
    assert path_from_list(str(tmp_path), text) == str(folder / "a.ogg")


def test_names_as_rows_have_them(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 stand in our own tables as escapes."""
    name = os.fsdecode(b"No\xebl \xff.wav")
    assert path_from_list(str(tmp_path), "No\\xebl \\xff.wav") == f"{tmp_path}/No/xebl /xff.wav"
    path = write(tmp_path, name)
    assert os.fsencode(path_from_list(str(tmp_path), "No\\xebl \\xff.wav")) == os.fsencode(path)
    plain = write(tmp_path, "No\\xebl \\xff.wav")
    assert path_from_list(str(tmp_path), "No\\xebl \\xff.wav") == plain


def test_a_tilde_is_the_home_unless_a_name_begins_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    song, folder = write(tmp_path / "home", "music/a.mp3"), str(tmp_path / "list")
    named = write(folder, "~b.mp3")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for text in ("~/music/a.mp3", " ~/music/a.mp3 ", "~\\music\\a.mp3", "~/music/A.MP3"):
        assert path_from_list(folder, text) == song
    assert path_from_list(folder, "~b.mp3") == named
    assert path_from_list(folder, "~/gone.mp3") == f"{folder}/~/gone.mp3"
    assert path_from_list(folder, "~/music/a.mp3") != write(folder, "~/music/a.mp3")
    assert path_from_list(folder, "~/music/a.mp3") == f"{folder}/~/music/a.mp3"


def test_marks_around_a_path(tmp_path: Path) -> None:
    folder = str(tmp_path)
    gone = source_from_list(folder, "\ufeffa.wav\x1a")
    assert (gone.path, gone.readings) == (f"{folder}/a.wav", (f"{folder}/\ufeffa.wav\x1a",))
    for name in ("a.wav", "\ufeffa.wav\x1a"):
        write(tmp_path, name)
        assert path_from_list(folder, "\ufeffa.wav\x1a") == f"{folder}/{name}"


@pytest.mark.parametrize("suffix", ["m3u", "csv"])
def test_a_list_that_is_reached_by_a_link(tmp_path: Path, suffix: str) -> None:
    for name in ("pl/a.wav", "pl/both.wav", "pl/#1.wav", "lists/both.wav"):
        write(tmp_path, name)
    lines = ["path", "A.wav", "both.wav", "gone.wav", "#1.wav"]
    (tmp_path / f"pl/p.{suffix}").write_text("\n".join(lines if suffix == "csv" else lines[1:]) + "\n")
    link = tmp_path / f"lists/p.{suffix}"
    link.symlink_to(f"../pl/p.{suffix}")
    found = [*Sources([link])]
    real = os.path.realpath(tmp_path)
    assert [source.path for source in found] == [
        f"{real}/pl/a.wav", f"{tmp_path}/lists/both.wav", f"{tmp_path}/lists/gone.wav", f"{real}/pl/#1.wav",
    ]  # fmt: skip
    # By these a row that was made while the file was not there, or in the other place, is known again.
    assert f"{tmp_path}/lists/A.wav" in found[0].readings
    assert f"{real}/pl/gone.wav" in found[2].readings
    assert folders_of_list("p.m3u") == ("",)
    assert folders_of_list(str(link)) == (f"{tmp_path}/lists", f"{real}/pl")
    (tmp_path / "pl/again").symlink_to(f"p.{suffix}")
    assert folders_of_list(f"{tmp_path}/pl/again") == (f"{tmp_path}/pl",)
    assert [source.path for source in Sources([tmp_path / f"pl/p.{suffix}"])][2] == f"{tmp_path}/pl/gone.wav"
