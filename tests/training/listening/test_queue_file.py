"""The queue: which rows are songs to listen to."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from labelled_files import write_files
from merkit.engine.errors import MerError
from merkit.training.listening.queue_file import QueuedSong, read_queue, write_queue


def test_comes_back_as_written(tmp_path: Path):
    write_files(tmp_path, "गीत.mp3", "=x.ogg", "in/a;b.wav")
    songs = [
        QueuedSong(str(tmp_path / "गीत.mp3"), "लता, M.", "आज"),
        QueuedSong(str(tmp_path / "=x.ogg"), "-M-"),
        QueuedSong(str(tmp_path / "in/a;b.wav")),
    ]
    write_queue(tmp_path / "queue.csv", songs)
    assert read_queue(tmp_path / "queue.csv") == (tuple(songs), ())
    assert "\nin/a;b.wav," in (tmp_path / "queue.csv").read_text()


def test_only_local_audio_files_that_are_there(tmp_path: Path):
    write_files(tmp_path, "a.mp3", "notes.txt")
    (tmp_path / "folder.mp3").mkdir()
    rows = ["a.mp3", "./a.mp3", "/etc/passwd", "../../etc/passwd", "notes.txt", "http://x.org/a.mp3"]
    rows += ["gone.mp3", "folder.mp3", ""]
    (tmp_path / "queue.csv").write_text("\n".join(["path", *rows]))
    songs, left_out = read_queue(tmp_path / "queue.csv")
    assert [song.path for song in songs] == [str(tmp_path / "a.mp3")]
    assert [line.split(": ")[1] for line in left_out] == rows[2:-1]


def test_paths_are_read_as_those_of_other_lists(tmp_path: Path):
    write_files(tmp_path, "in/a.mp3", "in/b c.mp3")
    (tmp_path / "queue.csv").write_text(f"path\nin\\a.mp3\n{(tmp_path / 'in/b c.mp3').as_uri()}\n")
    songs, left_out = read_queue(tmp_path / "queue.csv")
    assert [song.path for song in songs] == [str(tmp_path / name) for name in ("in/a.mp3", "in/b c.mp3")]
    assert left_out == ()


def test_tags_say_who_sings_where_the_queue_does_not(tmp_path: Path):
    for name, artist in (("a.flac", "लता"), ("b.flac", "")):
        with soundfile.SoundFile(tmp_path / name, "w", 8_000, 1, format="FLAC") as file:
            if artist:
                file.artist = artist
            file.write(np.zeros(8_000, np.float32))
    (tmp_path / "queue.csv").write_text("path\na.flac\nb.flac\n")
    songs, _ = read_queue(tmp_path / "queue.csv")
    assert [song.artist for song in songs] == ["लता", ""]


def test_a_link_is_the_file_that_it_leads_to(tmp_path: Path):
    write_files(tmp_path, "store/12ab.mp3")
    os.symlink("store/12ab.mp3", tmp_path / "song.mp3")
    (tmp_path / "queue.csv").write_text("path\nsong.mp3\nstore/12ab.mp3\n")
    songs, _ = read_queue(tmp_path / "queue.csv")
    assert [song.path for song in songs] == [str(tmp_path / "store/12ab.mp3")]


def test_what_a_link_leads_to_needs_no_name_of_audio(tmp_path: Path):
    """As in stores that name files by their content, such as git-annex."""
    write_files(tmp_path, tone="a")
    sounds = {"wav": (tmp_path / "tone.wav").read_bytes(), "mp3": b"\xff\xfb\x90\0", "id3": b"ID3\4\0"}
    for name, content in {**sounds, "text": b"root:x:0:0", "utf16": b"\xff\xfeh\0", "none": b""}.items():
        (tmp_path / "store" / f"12ab-{name}").parent.mkdir(exist_ok=True)
        (tmp_path / "store" / f"12ab-{name}").write_bytes(content)
    store = sorted((tmp_path / "store").iterdir())
    write_queue(tmp_path / "queue.csv", [QueuedSong(str(path)) for path in store])
    songs, left_out = read_queue(tmp_path / "queue.csv")
    assert [Path(song.path).name for song in songs] == ["12ab-id3", "12ab-mp3", "12ab-wav"]
    assert [line.split(": ")[1] for line in left_out] == [
        f"store/12ab-{n}" for n in ("none", "text", "utf16")
    ]
    assert "neither its name nor its first bytes are those of an audio file" in left_out[0]


def test_a_name_that_is_not_utf_8_is_left_out(tmp_path: Path):
    for name in (b"a\xff.mp3", b"b.mp3"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"")
    os.symlink(b"a\xff.mp3", os.fsencode(tmp_path / "link.mp3"))
    (tmp_path / "queue.csv").write_bytes(b"path,artist\na\xff.mp3,\nlink.mp3,\nb.mp3,Beyonc\xe9\n")
    songs, left_out = read_queue(tmp_path / "queue.csv")
    assert songs == (QueuedSong(str(tmp_path / "b.mp3"), "Beyonc\\xe9"),)
    reason = "its name is not UTF-8: rename it"
    assert left_out == (f"left out: a\udcff.mp3: {reason}", f"left out: link.mp3: {reason}")
    with pytest.raises(MerError, match=reason):
        write_queue(tmp_path / "new.csv", [QueuedSong(str(tmp_path / "a\udcff.mp3"))])
    inside = tmp_path / "in\udcff"  # a folder's name does not matter to what lies with the songs
    inside.mkdir()
    write_queue(inside / "queue.csv", [QueuedSong(str(inside / "b.mp3"))])
    assert (inside / "queue.csv").read_text() == "path,artist,title\nb.mp3,,\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [("file,artist\na.mp3,A\n", "no column 'path'"), ("path\n/etc/passwd\n", "names no audio file"),
     ("path\n", "names no audio file"), ("", "no column 'path'"), ("path,artist\na.mp3,b,c\n", "line 2")],
)  # fmt: skip
def test_what_is_no_queue(tmp_path: Path, text: str, reason: str):
    (tmp_path / "queue.csv").write_text(text)
    with pytest.raises(MerError, match=reason):
        read_queue(tmp_path / "queue.csv")


def test_a_missing_queue(tmp_path: Path):
    with pytest.raises(MerError, match="cannot be read"):
        read_queue(tmp_path / "queue.csv")
    with pytest.raises(MerError, match="cannot be written"):
        write_queue(tmp_path / "none" / "queue.csv", [])
