"""What a new tag takes over from an older one: by FFmpeg, which shows the newest alone, and by mutagen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from audio_files import noise
from label_folders import row_of, write_labels
from merkit.engine.audio.tags.written import tags_from_file
from merkit.engine.outputs.tagging.older import hidden_names
from merkit.engine.outputs.tagging.tag_run import Outcome, TagOptions, tag_songs
from sound_formats import FORMATS
from tag_bytes import apev2, chunk, flac, id3_frame, id3_text, id3v1, id3v2

pytest.importorskip("mutagen")

TITLE = "तेरे बिना, a title that is longer than thirty bytes"
TEXTS = {"title": TITLE, "artist": "A; B", "album": "album"}
MORE = {"date": "2013", "track": "3", "genre": "Filmi", "comment": "mine"}
V1 = id3v1(b"old", b"someone", b"older")[:93] + b"1999" + b"noted".ljust(28, b"\0") + b"\0\5\x11"
OF_V1 = {"title": "old", "artist": "someone", "album": "older", "date": "1999", "track": "5"}
OF_V1 |= {"genre": "Rock", "comment": "noted"}
ALL = {**TEXTS, **MORE}
APE = apev2([("Year" if name == "date" else name, text.encode(), 0) for name, text in ALL.items()])
INFO_NAMES = {"title": b"INAM", "artist": b"IART", "album": b"IPRD", "date": b"ICRD", "track": b"IPRT"}
INFO_NAMES |= {"genre": b"IGNR", "comment": b"ICMT"}
PRIVATE = id3_frame("PRIV", b"XMP\0abc", 3)
SONG_FRAMES = {
    "TIT2": TITLE,
    "TPE1": "A",
    "TALB": "album",
    "TPE2": "all",
    "TPOS": "2",
    "TRCK": "3",
    "TCON": "17",
}


def sound(folder: Path, kind: str) -> tuple[Path, bytes]:
    """A file's name, and its bytes without tags."""
    sound_format = next(each for each in FORMATS if each.name == kind)
    rate, channels = sound_format.tried[0]
    path = folder / f"a{sound_format.suffix}"
    sound_format.write(path, np.repeat(noise(1.2, rate)[:, None], channels, 1), rate)
    data = path.read_bytes()
    if data[:3] == b"ID3":
        data = data[10 + int.from_bytes(data[6:10], "big") :]
    if data[:4] == b"fLaC":
        place, blocks, last = 4, [], False
        while not last:
            size = int.from_bytes(data[place + 1 : place + 4], "big")
            blocks.append((data[place] & 127, data[place + 4 : place + 4 + size]))
            last = bool(data[place] & 128)
            place += 4 + size
        data = flac([block for block in blocks if block[0] != 4]) + data[place:]
    return path, data


def tagged(path: Path, data: bytes) -> dict[str, str]:
    """The tags of a file that got a mood, as FFmpeg shows them."""
    path.write_bytes(data)
    before = tags_from_file(path)
    (said,) = tag_songs(write_labels(path.parent / "labels", [row_of(path)]), TagOptions(write=True))
    assert (said.outcome, said.reason) == (Outcome.WRITTEN, None)
    assert tags_from_file(path) == before
    with av.open(str(path)) as file:
        shown = {name.lower(): text for name, text in file.metadata.items()}
    assert "happy" in shown.values()
    return shown


def mutagen_texts(path: Path) -> dict[str, Any]:
    import mutagen

    file: Any = mutagen.File(path)
    return {key.upper(): [str(text) for text in file.tags[key].text] for key in file.tags if key[0] == "T"}


@pytest.mark.parametrize("before", [b"", id3v2(b"", 3), id3v2(PRIVATE, 3), id3v2(b"", 4)])
@pytest.mark.parametrize("kind", ["ID3v1", "APEv2", "both"])
def test_mp3(tmp_path: Path, before: bytes, kind: str) -> None:
    path, data = sound(tmp_path, "MP3 constant rate")
    after = {"ID3v1": V1, "APEv2": APE, "both": APE + V1}[kind]
    shown = tagged(path, before + data + after)
    expected = OF_V1 if kind == "ID3v1" else ALL
    assert {name: shown.get(name) for name in expected} == expected
    assert path.read_bytes().endswith(after)
    assert path.read_bytes()[3] == (before[3] if before else 4)
    assert (PRIVATE in path.read_bytes()) == (PRIVATE in before)


def test_a_tag_that_names_the_song_takes_nothing_over(tmp_path: Path) -> None:
    path, data = sound(tmp_path, "MP3 constant rate")
    tagged(path, id3v2(id3_frame("TIT2", id3_text(["title"]))) + data + APE + V1)
    assert {"TIT2", "TMOO"} <= set(mutagen_texts(path))
    path.write_bytes(path.read_bytes()[: -len(APE + V1)])
    assert set(mutagen_texts(path)) & {"TPE1", "TALB", "TDRC", "TRCK", "TCON"} == set()


def test_a_date_stays_the_one_it_was(tmp_path: Path) -> None:
    path, data = sound(tmp_path, "MP3 constant rate")
    shown = tagged(path, id3v2(id3_frame("TYER", id3_text(["1987"], 0), 3), 3) + data + V1)
    assert (shown["date"], shown["title"]) == ("1987", "old")
    assert path.read_bytes().count(b"TYER") == 1


@pytest.mark.parametrize("after", [b"", V1])
def test_wav_with_info(tmp_path: Path, after: bytes) -> None:
    path, data = sound(tmp_path, "WAV PCM, 16 bits")
    texts = b"".join(chunk(INFO_NAMES[name], text.encode() + b"\0") for name, text in ALL.items())
    data += chunk(b"LIST", b"INFO" + texts)
    shown = tagged(path, data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:] + after)
    assert {name: shown.get(name) for name in ALL} == ALL
    texts_now = mutagen_texts(path)
    assert (texts_now["TIT2"], texts_now["TPE1"], texts_now["TDRC"]) == ([TITLE], ["A; B"], ["2013"])


def test_flac(tmp_path: Path) -> None:
    path, data = sound(tmp_path, "FLAC 16 bits")
    shown = tagged(path, data + V1)
    assert {name: shown.get(name) for name in OF_V1} == OF_V1
    frames = b"".join(id3_frame(name, id3_text([text])) for name, text in SONG_FRAMES.items())
    frames += id3_frame("TXXX", id3_text(["Label", "T-Series"])) + id3_frame("TXXX", id3_text(["MER_X", "1"]))
    shown = tagged(path, id3v2(frames) + data)
    more = {"album_artist": "all", "disc": "2", "track": "3", "genre": "Rock", "label": "T-Series"}
    assert {name: shown.get(name) for name in more} == more
    assert "mer_x" not in shown


def test_hidden_names() -> None:
    before = {"TITLE": "a", "TYE": "1999", "TMOO": "sad", "mood": "sad", "MER_SAD": "1", "WM/Mood": "sad"}
    assert list(hidden_names(before, {"title": "b", "date": "1999"})) == []
    assert list(hidden_names({**before, "genre": "Rock"}, {"title": "b", "date": "1999"})) == ["genre"]
    assert list(hidden_names(before, {"TITLE": "b", "date": "1999"}, is_exact=True)) == ["TITLE"]
    assert list(hidden_names({"tmoo": "sad"}, {"TMOO": "calm"}, is_exact=True)) == []
