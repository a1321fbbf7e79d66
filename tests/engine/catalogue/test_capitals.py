"""Names as the disk has them, in whatever capitals they are typed."""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from any_capitals import any_form, any_form_and_capitals, find_any_capitals
from merkit.engine.catalogue.capitals import Spelling, is_same_way


@pytest.fixture
def disk(tmp_path: Path) -> str:
    for name in ("Beatles/Help!/a.mp3", "Beatles/Help!/Two.mp3", "КИНО/04.mp3", "2004/01.mp3"):
        (tmp_path / "disk" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "disk" / name).touch()
    return os.path.realpath(tmp_path / "disk")


@pytest.mark.parametrize(
    ("typed", "listed"),
    [
        ("beatles", "Beatles"),
        ("BEATLES/HELP!/A.MP3", "Beatles/Help!/a.mp3"),
        ("Beatles/help!/Two.mp3", "Beatles/Help!/Two.mp3"),
        ("Beatles/help!/gone.MP3", "Beatles/Help!/gone.MP3"),
        ("кино/04.MP3", "КИНО/04.mp3"),
        ("2004/01.mp3", "2004/01.mp3"),
        ("nothing/At/all", "nothing/At/all"),
    ],
)
def test_names_are_those_that_folders_list(
    typed: str, listed: str, disk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Spelling()
    for path in (typed, listed, disk):  # where capitals differ they stay
        assert other.of(os.path.join(disk, path)) == os.path.join(disk, path)
    find_any_capitals(disk, monkeypatch)
    assert Spelling().of(os.path.join(disk, typed)) == os.path.join(disk, listed)


@pytest.mark.parametrize("alike", [any_form, any_form_and_capitals])
@pytest.mark.parametrize("listed", ["NFC", "NFD"])
@pytest.mark.parametrize(
    "name",
    ["Beyonc\xe9", "\xe9", "\uac00\uc218", "\u30d4\u30a2\u30ce", "\u0439", "04 \uac00", "\u095b", "\ufb2a"],
    ids=ascii,
)
def test_names_are_listed_in_any_normal_form(
    name: str, listed: Any, alike: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those without capitals, and those that Unicode composes in no form: they are listed as given."""
    forms = {name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))}
    own = unicodedata.normalize(listed, name) if listed == "NFD" else name
    root = os.path.realpath(tmp_path)
    Path(root, own).mkdir()
    Path(root, own, own).touch()
    Path(root, "Other").touch()
    for form in forms:  # names of their own on other disks
        assert Spelling().of(f"{root}/{form}/{form}") == f"{root}/{form}/{form}"
    find_any_capitals(root, monkeypatch, alike)
    assert len(forms) > 1
    for form in forms:
        for before in ("Other", form, own):  # a look at one name tells of others
            spelling = Spelling()
            spelling.of(f"{root}/{before}")
            assert spelling.of(f"{root}/{form}/{form}") == f"{root}/{own}/{own}"


@pytest.mark.parametrize("differs", [None, "size", "time", "device", "kind"])
def test_a_disk_whose_inodes_go_by_the_spelling(
    differs: str | None, disk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exFAT by FUSE: each spelling of a name is another inode of the same size and time."""
    find_any_capitals(disk, monkeypatch)
    real = os.lstat

    def lstat(path: Any) -> os.stat_result:
        status = real(path)
        other = str(path).endswith("A.MP3")
        mode = stat.S_IFDIR if other and differs == "kind" else status.st_mode
        numbers = [mode, hash(str(path)), status.st_dev + (other and differs == "device"), *status[3:]]
        numbers[6] += other and differs == "size"
        late_ns = int(other and differs == "time")
        return os.stat_result(numbers, {"st_mtime_ns": status.st_mtime_ns + late_ns})

    monkeypatch.setattr(os, "lstat", lstat)
    listed = "A.MP3" if differs else "a.mp3"
    assert Spelling().of(f"{disk}/Beatles/Help!/A.MP3") == f"{disk}/Beatles/Help!/{listed}"


def test_two_files_whose_names_differ_in_capitals(disk: str) -> None:
    """Also where both are one file by its number."""
    Path(disk, "2004/A.mp3").touch()
    os.link(f"{disk}/2004/A.mp3", f"{disk}/2004/a.mp3")
    Path(disk, "2004/B.mp3").touch()
    Path(disk, "2004/b.mp3").touch()
    for name in ("A.mp3", "a.mp3", "B.mp3", "b.mp3"):
        assert Spelling().of(f"{disk}/2004/{name}") == f"{disk}/2004/{name}"


@pytest.mark.parametrize(("letter", "most"), [("x", 6), ("\xe9", 9), ("\uac00", 9)], ids=ascii)
def test_a_folder_is_asked_once(letter: str, most: int, disk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catalogues have 100,000 songs, and folders may be on a slow share."""
    for number in range(20):
        Path(disk, f"Beatles/{number} {letter}.mp3").touch()
    spelling, asked = Spelling(), []
    spelling.of(disk)
    for function in ("lstat", "stat", "scandir", "listdir"):
        monkeypatch.setattr(os, function, _counted(getattr(os, function), asked))
    for number in range(20):
        spelling.of(f"{disk}/Beatles/{number} {letter}.mp3")
    assert len(asked) <= most


def _counted(real: Any, asked: list[Any]) -> Any:
    def counted(*arguments: Any, **named: Any) -> Any:
        asked.append(arguments)
        return real(*arguments, **named)

    return counted


def test_a_mount_is_not_asked_for_in_other_capitals(disk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What mounts shares when they are looked at would mount it a second time."""
    asked: list[Any] = []
    real = os.lstat

    def lstat(path: Any) -> Any:
        asked.append(path)
        status = list(real(path))
        status[2] += path.endswith("/Beatles")  # another device
        return os.stat_result(status)

    monkeypatch.setattr(os, "lstat", lstat)
    assert Spelling().of(f"{disk}/Beatles") == f"{disk}/Beatles"
    assert f"{disk}/bEATLES" not in asked


def test_a_folder_of_such_a_disk_is_listed_once(disk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find_any_capitals(disk, monkeypatch)
    for number in range(20):
        Path(disk, f"Beatles/{number} x.mp3").touch()
    spelling, asked = Spelling(), []
    spelling.of(disk)
    for function in ("stat", "scandir", "listdir"):
        monkeypatch.setattr(os, function, _counted(getattr(os, function), asked))
    for number in range(20):
        assert spelling.of(f"{disk}/beatles/{number} X.mp3") == f"{disk}/Beatles/{number} x.mp3"
    looks = [arguments for arguments in asked if str(arguments[0]).lower().endswith("/beatles")]
    assert len(looks) <= 3


def test_the_same_way(disk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    song, other = f"{disk}/Beatles/a.mp3", f"{disk}/beatles/A.mp3"
    assert not is_same_way(song, other)
    find_any_capitals(disk, monkeypatch)
    Path(song).touch()
    assert is_same_way(song, other)
    assert not is_same_way(song, f"{disk}/Beatles/b.mp3")
