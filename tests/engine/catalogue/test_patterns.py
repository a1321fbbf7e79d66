"""Patterns against Python's glob, and where links go in circles."""

from __future__ import annotations

import glob
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.catalogue.patterns import pattern_below
from merkit.engine.catalogue.walk import Walk


def nothing(*_: str) -> None:
    pass


def matches(text: str, hidden: bool = False) -> list[str]:
    folder, pattern = pattern_below(text)
    return list(Walk(nothing, nothing, hidden).audio(folder, pattern)) if os.path.isdir(folder or ".") else []


def song(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"sound")
    return path


def by_glob(text: str) -> set[str]:
    """The audio files that glob matches and, for a pattern without ``**``, those below its folders."""
    files = set()
    for path in glob.glob(text, recursive=True):
        below = {
            os.path.join(folder, name)
            for folder, _, names in os.walk(path, followlinks=True)
            for name in names
            if "**" not in text
        }
        files |= below if os.path.isdir(path) else {path}
    return {os.path.realpath(path) for path in files if path.endswith(".wav")}


_parts = st.sampled_from(["*", "a*", "?", "**", "a", "[ab]", "*.wav", "a.wav", "[!a]*", "..", ".", "l"])
_files = st.sets(
    st.lists(st.sampled_from(["a", "b", "ab"]), max_size=3).map("/".join), min_size=1, max_size=6
)


@given(_files, st.lists(_parts, min_size=1, max_size=4), st.sets(st.sampled_from(["", "a", "b/a"])))
def test_patterns_match_what_glob_matches(folders: set[str], parts: list[str], links: set[str]) -> None:
    parts = ["*", *parts] if ".." in parts else parts  # no way out of the tree
    if parts.count("..") > 1 or ("**" in parts and (".." in parts or parts[-1] == ".")):
        return
    if not any(map(glob.has_magic, parts)):
        return
    with tempfile.TemporaryDirectory() as name:
        for folder in folders:
            for song_name in ("a.wav", "b.wav", "a.txt"):
                song(Path(name, "m", folder, song_name))
        song(Path(name, "out/a/a.wav"))
        song(Path(name, "out/b.wav"))
        for folder in links:
            Path(name, "m", folder).mkdir(parents=True, exist_ok=True)
            Path(name, "m", folder, "l").symlink_to(Path(name, "out"))
        pattern = os.path.join(name, "m", *parts)
        ours = matches(pattern)
        assert len(ours) == len(set(ours))
        assert {os.path.realpath(path) for path in ours} == by_glob(pattern)


@pytest.mark.parametrize("pattern", ["m/**/*.wav", "m/**", "m/**/**/*.wav", "**/*.wav", "**/s0.wav", "*/**/"])
def test_links_in_circles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    song(tmp_path / "m/real/s0.wav")
    (tmp_path / "m/self").symlink_to(".")
    (tmp_path / "m/real/up").symlink_to("..")
    monkeypatch.chdir(tmp_path)
    assert matches(pattern) == ["m/real/s0.wav"]


def test_a_link_added_later_changes_nothing(tmp_path: Path) -> None:
    song(tmp_path / "m/zreal/1.wav")
    before = {pattern: matches(f"{tmp_path}/{pattern}") for pattern in ("m/*", "m/**/*.wav", "*/*", "**")}
    (tmp_path / "m/alink").symlink_to("zreal")
    assert {pattern: matches(f"{tmp_path}/{pattern}") for pattern in before} == before
    assert before["m/*"] == [f"{tmp_path}/m/zreal/1.wav"]


def test_wildcards_leave_out_what_walks_leave_out(tmp_path: Path) -> None:
    for name in ("a.wav", ".b.wav", "._a.wav", "#recycle/c.wav", ".x/d.wav", "x/e.wav", "...x/f.wav"):
        song(tmp_path / name)

    def names(pattern: str, hidden: bool = False) -> list[str]:
        return [os.path.relpath(path, tmp_path) for path in matches(f"{tmp_path}/{pattern}", hidden)]

    assert names("*.wav") == ["a.wav"]
    assert names("**/*.wav") == names("**") == ["a.wav", "...x/f.wav", "x/e.wav"]
    assert names("*/*.wav") == ["...x/f.wav", "x/e.wav"]
    assert names("#recycle/*.wav") == ["#recycle/c.wav"]
    assert names("**/#recycle/*.wav") == ["#recycle/c.wav"]
    assert names(".?.wav") == [".b.wav"]
    assert names(".x/**") == names("**/.x/*") == [".x/d.wav"]
    assert names("**/*.wav", hidden=True) == [".b.wav", "a.wav", "...x/f.wav", ".x/d.wav", "x/e.wav"]


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("live 1/a.wav", "live 1/b/c.wav", "live.wav", "x/live 2/d.wav"):
        song(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert matches("live*") == ["live.wav", "live 1/a.wav", "live 1/b/c.wav"]
    assert matches("live*/") == ["live 1/a.wav", "live 1/b/c.wav"]
    assert matches("**/live*") == ["live.wav"]
    assert matches("**/live*/") == ["live 1/a.wav", "live 1/b/c.wav", "x/live 2/d.wav"]
    assert matches("[x]/live 2/../live*/d.wav") == ["x/live 2/../live 2/d.wav"]
    assert matches(f"{tmp_path}//[x]//") == [f"{tmp_path}/x/live 2/d.wav"]


def test_brackets_in_the_name_of_a_folder_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("[2001] Album/a.wav", "[2]/b.wav", "2/c.wav", "[2]/d [1]/e.wav", "[2].wav"):
        song(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert matches("[2001] Album/*.wav") == ["[2001] Album/a.wav"]
    assert matches("[2]/*") == ["[2]/b.wav", "[2]/d [1]/e.wav"]
    assert matches("[2]/d [1]/*") == ["[2]/d [1]/e.wav"]
    assert matches("[2]/[bc].wav") == ["[2]/b.wav"]
    assert matches("[2-3]/*") == ["2/c.wav"]
    assert matches("[2].wav/") == []


def test_folders_that_may_be_entered_and_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    song(tmp_path / "a/closed/b/1.wav")
    listed, real = [], os.scandir

    def scandir(path: str) -> object:
        listed.append(os.path.relpath(path, tmp_path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert matches(f"{tmp_path}/*/closed/b/*.wav") == [f"{tmp_path}/a/closed/b/1.wav"]
    assert listed == [".", "a/closed/b"]
