"""What arguments name: files, folders and patterns."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from merkit.engine.catalogue.expand import Sources, inputs_from_paths, words_of_skipped
from merkit.engine.catalogue.source import Source
from merkit.engine.signals import Stop, StoppedError


def names(sources: Sources) -> list[str]:
    return [Path(source.path).name for source in sources]


def test_folders_files_and_what_is_skipped(tmp_path: Path) -> None:
    for name in (
        "b.MP3",
        "a.wav",
        "notes.txt",
        "list.m3u8",
        "sub/c.Opus",
        "sub/clip.mp4",
        "गीत.flac",
        "cover.jpg",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    odd = tmp_path / "notes.txt"
    inputs = inputs_from_paths([odd, tmp_path, "missing.mp3"])
    names = [Path(path).name for path in inputs.paths]
    assert names == ["notes.txt", "a.wav", "b.MP3", "गीत.flac", "c.Opus", "clip.mp4", "missing.mp3"]
    assert inputs.skipped == 3


def test_loops_of_links_end(tmp_path: Path) -> None:
    inner = tmp_path / "albums" / "one"
    inner.mkdir(parents=True)
    (inner / "a.mp3").touch()
    (inner / "up").symlink_to(tmp_path / "albums")
    (tmp_path / "albums" / "again").symlink_to(inner)
    (tmp_path / "albums" / "dangling.mp3").symlink_to(tmp_path / "nowhere")
    inputs = inputs_from_paths([tmp_path])
    assert sorted(Path(path).name for path in inputs.paths) == ["a.mp3", "dangling.mp3"]


def test_patterns(music: Path) -> None:
    assert names(Sources([music / "*.mp3"])) == ["a.mp3", "b.mp3", "odd [1].mp3"]
    assert names(Sources([music / "**" / "*.*"])) == ["a.mp3", "b.mp3", "odd [1].mp3", "c.ogg", "d.flac"]
    assert names(Sources([music / "s*"])) == ["c.ogg", "d.flac"]  # a folder that matches is searched
    assert names(Sources([music / "odd [1].mp3"])) == ["odd [1].mp3"]  # a name that stands is no pattern
    for litter in (".git", "@eaDir"):
        (music / litter).mkdir()
    assert names(Sources([music / "*" / "x.wma", music / "**" / "y.wma"])) == ["x.wma", "y.wma"]
    nothing = Sources([music / "*.wma", music / "a.mp3", music / "gone [live].mp3"])
    assert names(nothing) == ["*.wma", "a.mp3", "gone [live].mp3"]  # a row that fails, and no end of the run
    assert names(Sources([music / "*.jpg"])) == []  # there is something, and it is counted
    (music / "odd 1.mp3").touch()
    (music / "[a].mp3").symlink_to("nowhere")
    assert names(Sources([music / "odd [1].mp3", music / "[a].mp3"])) == ["odd [1].mp3", "[a].mp3"]
    (music / "Live [2]").mkdir()
    (music / "Live [2]" / "e.mp3").touch()
    assert names(Sources([music / "Live [2]"])) == ["e.mp3"]


def test_patterns_of_lists_are_patterns(music: Path) -> None:
    """What matches is taken as if a folder were searched; a list is read where it is named."""
    (music / "one.m3u").write_text("a.mp3\n")
    (music / "one.csv").write_text("path\na.mp3\n")
    sources = Sources([music / "*.m3u", music / "*.csv"])
    assert (names(sources), sources.skipped, sources.columns) == ([], 2, {})
    (music / "tables.csv").mkdir()
    assert names(Sources([music / "tables.csv"])) == []


def test_size_and_time_tell_a_changed_file(music: Path) -> None:
    (source,) = Sources([music / "a.mp3"])
    status = (music / "a.mp3").stat()
    assert (source.size_bytes, source.mtime_ns) == (5, status.st_mtime_ns)
    assert next(iter(Sources(["missing.mp3"]))) == Source("missing.mp3")


def test_a_closed_folder_is_an_input_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/1.mp3", "b/2.mp3"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    real = os.scandir

    def scandir(path: Any) -> Any:
        if os.path.basename(path) == "a":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [source.path for source in Sources([tmp_path])] == [f"{tmp_path}/a", f"{tmp_path}/b/2.mp3"]
    assert [source.path for source in Sources([tmp_path / "a"])] == [f"{tmp_path}/a"]


def test_litter_is_taken_where_it_is_named(music: Path) -> None:
    for name in ("._a.mp3", ".hidden/e.mp3", "#recycle/f.mp3"):
        (music / name).parent.mkdir(exist_ok=True)
        (music / name).touch()
    sources = Sources([music])
    assert names(sources) == ["a.mp3", "b.mp3", "odd [1].mp3", "c.ogg", "d.flac"]
    assert sources.skipped == 4  # with cover.jpg
    assert len(names(sources)) == 5
    assert sources.skipped == 4  # of one iteration
    named = [music / "._a.mp3", music / ".hidden", music / "#recycle"]
    assert names(Sources(named)) == ["._a.mp3", "e.mp3", "f.mp3"]
    assert "e.mp3" in names(Sources([music], hidden=True))


def test_the_commonest_suffixes_that_are_skipped_are_named(tmp_path: Path) -> None:
    kinds = {"dat": 3, "JPG": 2, "jpg": 2, "ts": 2, "db": 1, "txt": 1, "nfo": 1, "log": 1}
    for i, suffix in enumerate(suffix for suffix, count in kinds.items() for _ in range(count)):
        (tmp_path / f"{i:02}.{suffix}").touch()
    for name in (
        "README",
        ".hidden.dat",
        "._a.dat",
        "Vol. 1 with more",
        "a.of_a_very_long_title",
        "trailing.",
    ):
        (tmp_path / name).touch()
    sources = Sources([tmp_path])
    for _ in range(2):
        assert not list(sources)
        said = words_of_skipped(sources.skipped, sources.skipped_suffixes)
        assert said == "19 other files skipped (.jpg, .dat, .ts, .db, .txt, .nfo, ...)"
    assert words_of_skipped(2, Counter({".a\u2028b": 1})) == "2 other files skipped (.a\\u2028b)"
    assert words_of_skipped(1, Counter()) == "1 other file skipped"


def test_suffixes_that_players_write(tmp_path: Path) -> None:
    suffixes = ["ogv", "ogx", "mpga", "mp2", "m4r", "m4p", "3g2", "f4a", "snd", "voc", "3gpp", "spx", "weba"]
    for suffix in suffixes:
        (tmp_path / f"a.{suffix}").touch()
    assert sorted(names(Sources([tmp_path]))) == sorted(f"a.{suffix}" for suffix in suffixes)


@pytest.mark.parametrize("argument", [".", "*", "**/*.mp3", "list.m3u", "list.csv"])
def test_every_listing_ends_at_once(music: Path, argument: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (music / "list.m3u").write_text("a.mp3\n" * 20)
    (music / "list.csv").write_text("path\n" + "a.mp3\n" * 20)
    monkeypatch.chdir(music)
    sources = Sources([argument])
    stop = Stop(threading.Event())
    sources.check = stop.check
    listing = iter(sources)
    next(listing)
    stop.code = 143
    with pytest.raises(StoppedError, match="stopped while inputs were listed") as raised:
        next(listing)
    assert raised.value.exit_code == 143
