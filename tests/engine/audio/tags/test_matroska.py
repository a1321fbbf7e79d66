"""Tags of Matroska: the song's, whatever else of the file has tags."""

from __future__ import annotations

from pathlib import Path

import pytest
import tag_bytes as made
from audio_files import noise
from ffmpeg_files import copied, write
from merkit.engine.audio.tags.written import tags_from_file

TRACK, CHAPTER = "63C5", "63C4"  # what a tag can be of
TITLE_OF_FILE = made.element("1549A966", made.element("7BA9", b"File"))
SOUND = made.element("1F43B675", bytes(2_000))


def tag(level: int, name: str, *pairs: tuple[str, str], of: str = "") -> bytes:
    """A tag of a level by its number, its name or both, of number 7 of something or of the file."""
    targets = made.element("68CA", bytes([level])) if level else b""
    targets += made.element("63CA", name.encode()) if name else b""
    targets += made.element(of, b"\7") if of else b""
    texts = b"".join(made.simple_tag(*pair) for pair in pairs)
    return made.element("7373", made.element("63C0", targets) + texts)


def tags(*content: bytes) -> bytes:
    return made.element("1254C367", b"".join(content))


def track(number: int, name: str) -> bytes:
    entry = made.element("73C5", bytes([number])) + made.element("536E", name.encode())
    return made.element("1654AE6B", made.element("AE", entry))


def read(folder: Path, *content: bytes) -> dict[str, str]:
    path = folder / "song.mka"
    path.write_bytes(made.matroska(b"".join(content)))
    return tags_from_file(path)


@pytest.mark.parametrize(
    "levels", [((50, ""), (30, "")), ((0, "ALBUM"), (0, "TRACK")), ((50, "ALBUM"), (30, "SONG"))]
)
@pytest.mark.parametrize("album_first", [True, False])
def test_the_album_is_not_the_song(
    tmp_path: Path, levels: tuple[tuple[int, str], tuple[int, str]], album_first: bool
) -> None:
    album = tag(*levels[0], ("TITLE", "Album"), ("ARTIST", "Band"))
    song = tag(*levels[1], ("TITLE", "Song"), ("ARTIST", "One"), ("Artist", "Two"))
    both = tags(album, song) if album_first else tags(song, album)
    expected = {"artist": "One; Two", "title": "Song", "album": "Album"}
    assert read(tmp_path, TITLE_OF_FILE, both, SOUND) == expected
    of_album = {"artist": "Band", "title": "File", "album": "Album"}
    assert read(tmp_path, TITLE_OF_FILE, tags(album), SOUND) == of_album


def test_a_title_of_the_whole_is_that_of_a_file_without_another(tmp_path: Path) -> None:
    for level, name in ((50, ""), (50, "CONCERT"), (0, "MOVIE")):
        whole = tag(level, name, ("TITLE", "Whole"))
        assert read(tmp_path, tags(whole), SOUND) == {"title": "Whole"}
    assert read(tmp_path, tags(tag(50, "ALBUM", ("TITLE", "Whole"))), SOUND) == {"album": "Whole"}


def test_chapters_have_titles_of_their_own(tmp_path: Path) -> None:
    plain = tag(0, "", ("TITLE", "Song"), ("ARTIST", "Artist"), ("ALBUM", "Album"))
    chapter = tag(30, "", ("TITLE", "Chapter"), ("ARTIST", "Guest"), of=CHAPTER)
    expected = {"artist": "Artist", "title": "Song", "album": "Album"}
    assert read(tmp_path, tags(chapter, plain), SOUND) == expected


def test_a_track_has_the_tags_of_the_song_where_it_has_an_artist(tmp_path: Path) -> None:
    song = tag(0, "", ("ARTIST", "Artist"), of=TRACK)
    assert read(tmp_path, track(7, "Song"), tags(song), SOUND) == {"artist": "Artist", "title": "Song"}
    assert read(tmp_path, track(8, "Song"), tags(song), SOUND) == {}
    stereo = tag(0, "", ("TITLE", "Stereo 2.0"), of=TRACK)
    assert read(tmp_path, track(7, "Deutsch"), tags(stereo), SOUND) == {}
    file = tag(0, "", ("ARTIST", "Whose file it is"))
    named = read(tmp_path, track(7, "Deutsch"), tags(song, file), SOUND)
    assert named == {"artist": "Whose file it is"}


def test_tags_behind_the_sound(tmp_path: Path) -> None:
    behind = tags(tag(30, "", ("TITLE", "Song")))
    position = (len(made.element("114D9B74", made.element("4DBB", bytes(32)))) + len(SOUND)).to_bytes(
        8, "big"
    )
    seek = made.element("53AB", bytes.fromhex("1254C367")) + made.element("53AC", position)
    index = made.element("114D9B74", made.element("4DBB", seek.ljust(32, b"\0")))
    assert len(seek) == 32
    assert read(tmp_path, index, SOUND, behind) == {"title": "Song"}
    assert read(tmp_path, index, SOUND) == {}


@pytest.mark.parametrize("kind", ["matroska", "webm"])
def test_what_ffmpeg_keeps_of_an_ogg_file(tmp_path: Path, kind: str) -> None:
    song = write(tmp_path / "a", "ogg", "libopus", noise(1, 48_000), rate=48_000)
    of_track = {"title": "Song", "artist": "Artist", "album": "Album"}
    assert tags_from_file(copied(song, tmp_path / "b", kind, of_track=of_track)) == {
        "title": "Song", "artist": "Artist", "album": "Album",
    }  # fmt: skip
    stereo = copied(song, tmp_path / "c", kind, of_track={"title": "Stereo 2.0"})
    assert tags_from_file(stereo) == {}
    tagged = copied(song, tmp_path / "d", kind, of_file=of_track, of_track={"title": "Stereo 2.0"})
    assert tags_from_file(tagged) == of_track
