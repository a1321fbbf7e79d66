"""Where the page finds songs: relative, as their names are, and never what a name cannot carry."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from any_capitals import find_any_capitals
from merkit.engine.outputs.page.places import Place, Places
from merkit.engine.text.escape import text_from_path


def touch(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return str(path)


def test_relative_to_the_page(tmp_path: Path) -> None:
    places = Places(tmp_path / "pages" / "catalogue.html")
    (tmp_path / "pages").mkdir()
    near, far = touch(tmp_path / "pages/a.mp3"), touch(tmp_path / "गीत/दिल #1.mp3")
    place, is_there = places.of("whatever.mp3", near)
    assert ((place.folder, place.name, place.is_link), is_there) == (("", "a.mp3", True), True)
    place, _ = places.of("whatever.mp3", far)
    assert (place.folder, place.name, place.is_link) == ("../गीत", "दिल #1.mp3", True)


def test_a_page_behind_a_link_lies_where_the_link_leads(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a/b")
    place, _ = Places(tmp_path / "link/page.html").of("x", touch(tmp_path / "song.mp3"))
    assert place.folder == "../.."


def test_below_the_page_a_link_is_as_its_names_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web server follows links of its disk, and serves nothing outside its folder."""
    real = touch(tmp_path / "disk/music/a.mp3")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/music").symlink_to(tmp_path / "disk/music")
    (tmp_path / "other").symlink_to(tmp_path / "home")
    for home in ("home", "other"):
        monkeypatch.chdir(tmp_path / home)
        place, is_there = Places(tmp_path / home / "page.html").of(str(tmp_path / home / "music/a.mp3"), real)
        assert ((place.folder, place.name, place.is_link), is_there) == (("music", "a.mp3", True), True)


def test_a_link_to_a_song_below_the_page_is_named_by_itself(tmp_path: Path) -> None:
    real = touch(tmp_path / "disk/a.mp3")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/b.mp3").symlink_to(real)
    place, _ = Places(tmp_path / "home/page.html").of(str(tmp_path / "home/b.mp3"), real)
    assert (place.folder, place.name, place.is_link) == ("", "b.mp3", True)


def test_a_namesake_below_the_page_is_another_song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = touch(tmp_path / "music/a.mp3")
    touch(tmp_path / "home/a.mp3")
    monkeypatch.chdir(tmp_path / "home")
    place, _ = Places(tmp_path / "home/page.html").of("a.mp3", real)
    assert (place.folder, place.name) == ("../music", "a.mp3")


def test_what_is_missing_and_what_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    places = Places(tmp_path / "page.html")
    place, is_there = places.of("gone.mp3", str(tmp_path / "old/gone.mp3"))
    assert (place.folder, place.name, place.is_link, is_there) == ("old", "gone.mp3", False, False)
    touch(tmp_path / "music/here.mp3")
    place, is_there = places.of("music/here.mp3", "/elsewhere/music/here.mp3")  # labels and songs moved
    assert (place.folder, place.is_link, is_there) == ("music", True, True)
    place, is_there = places.of("music/here.mp3", None)  # an old row
    assert (place.folder, place.is_link, is_there) == ("music", True, True)


def test_the_working_folder_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(tmp_path / "page.html")
    real = touch(tmp_path / "music/a.mp3")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    place, is_there = places.of("a.mp3", real)
    assert (place.folder, place.name, place.is_link, is_there) == ("music", "a.mp3", True, True)
    assert places.is_gone("b.mp3", str(tmp_path / "music/b.mp3"))


def test_a_url_is_shown_without_its_signature(tmp_path: Path) -> None:
    place, is_there = Places(tmp_path / "p.html").of("https://host/a b/c.mp3?sig=secret/x", None)
    assert (place.folder, place.name, place.is_link, is_there) == ("https://host/a b", "c.mp3", False, True)


@pytest.mark.parametrize("name", [b"a\xff.mp3", b"a\nb.mp3", b"a\xe2\x80\xaeb.mp3"])
def test_names_that_a_page_cannot_hold_are_no_links(tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    Path(os.fsdecode(path)).write_bytes(b"x")
    place, is_there = Places(tmp_path / "p.html").of("x", text_from_path(os.fsdecode(path)))
    assert (place.is_link, is_there) == (False, True)
    assert not set("\n\u202e") & set(place.name)


def test_below_the_page_in_other_capitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the disks of Macs and Windows rows have the capitals that are listed; links go as typed."""
    song = touch(tmp_path / "Music" / "Rock" / "a.mp3")
    find_any_capitals(tmp_path, monkeypatch)
    typed, page = str(tmp_path / "music" / "Rock" / "a.mp3"), tmp_path / "music" / "page.html"
    for real in (song, typed):
        assert Places(page).of(typed, real) == (Place("Rock", "a.mp3", True), True)
