"""Moods in the tags of every format: read back by other programs' libraries, and by the bytes."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from audio_files import noise
from merkit.engine.audio.tags.written import tags_from_file
from merkit.engine.errors import MerError
from merkit.engine.outputs.tagging.kinds import NoPlaceError
from merkit.engine.outputs.tagging.moods import (
    is_mood_ours,
    is_ours,
    read_moods,
    share_name,
    values_of,
    write_moods,
)
from merkit.engine.outputs.tagging.sound import sound_digest
from sound_formats import FORMATS
from tag_bytes import apev2, box, id3_frame, id3_text, id3v1, id3v2, wav

pytest.importorskip("mutagen")

LABELS = ("happy", "ख़ुश")
VALUES = values_of("ख़ुश", LABELS, (0.25, 0.75))
TAGGED = [each for each in FORMATS if each.container in ("MP3", "FLAC", "Ogg", "M4A", "MP4", "WMA", "AIFF")]
TAGGED += [each for each in FORMATS if each.name in ("WAV PCM, 16 bits", "3GP AAC", "MOV AAC")]
OTHERS = [
    each for each in FORMATS if each.name in ("Matroska FLAC", "CAF ALAC", "ADTS AAC", "W64 PCM, 16 bits")
]


def made(path: Path, sound_format) -> Path:
    rate, channels = sound_format.tried[0]
    sound_format.write(path, np.repeat(noise(1.2, rate)[:, None], channels, 1), rate)
    return path


def test_names_of_shares() -> None:
    assert share_name("happy") == "MER_HAPPY"
    assert share_name("a=b~\n") == "MER_A\\X3DB\\X7E\\X0A"
    assert len({share_name(label) for label in ("ख़ुश", "खुश", "उदास")}) == 3
    assert share_name("ख़ुश").isascii()
    assert list(VALUES.values()) == ["ख़ुश", "0.250", "0.750"]
    assert list(VALUES) == ["MOOD", "MER_HAPPY", share_name("ख़ुश")]


def test_whose_a_mood_is() -> None:
    assert is_mood_ours(VALUES)
    assert is_mood_ours({"MER_HAPPY": "0.250"})
    by_hand = {**VALUES, "MOOD": "Nostalgic"}  # since
    assert is_ours(by_hand)
    assert not is_mood_ours(by_hand)
    assert not is_mood_ours({"MOOD": "happy"})
    assert not is_mood_ours({**VALUES, "MOOD": "happy"})  # another of the labels, whose share is smaller
    assert is_mood_ours({"MOOD": "happy", "MER_HAPPY": "0.500", "MER_SAD": "0.500"})
    assert not is_mood_ours({"MOOD": "happy", "MER_HAPPY": "much", "MER_SAD": "0.500"})
    assert not is_mood_ours({**VALUES, "MOOD": "ख़ुश; Energetic"})
    assert not is_mood_ours({})


@pytest.mark.parametrize("sound_format", TAGGED, ids=lambda each: each.name)
def test_every_format(tmp_path: Path, sound_format) -> None:
    path = made(tmp_path / f"a{sound_format.suffix}", sound_format)
    sound = sound_digest(path)
    assert read_moods(path) == {}
    write_moods(path, VALUES)
    assert read_moods(path) == VALUES
    assert is_ours(read_moods(path))
    assert sound_digest(path) == sound
    write_moods(path, values_of("happy", ("happy",), (1.0,)))
    assert read_moods(path) == {"MOOD": "happy", "MER_HAPPY": "1.000"}  # the other label's share is gone
    assert sound_digest(path) == sound
    if sound_format.container not in ("MOV", "AIFF", "WMA", "3GP"):  # FFmpeg reads no such tag there
        with av.open(str(path)) as file:
            tags = {**file.metadata, **file.streams.audio[0].metadata}
        assert "happy" in {tags.get(name) for name in ("MOOD", "TMOO", "mood")} or "happy" in tags.values()


@pytest.mark.parametrize("sound_format", OTHERS, ids=lambda each: each.name)
def test_formats_without_a_place(tmp_path: Path, sound_format) -> None:
    path = made(tmp_path / f"a{sound_format.suffix}", sound_format)
    with pytest.raises(NoPlaceError, match="no place for a mood"):
        read_moods(path)


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".wav", ".m4a"])
def test_the_content_counts_and_not_the_name(tmp_path: Path, suffix: str) -> None:
    for sound_format in (*TAGGED, *OTHERS):
        path = made(tmp_path / f"a{sound_format.suffix}", sound_format).rename(tmp_path / f"a{suffix}")
        if sound_format in OTHERS:
            with pytest.raises(NoPlaceError, match="no place for a mood"):
                read_moods(path)
            continue
        sound = sound_digest(path)
        write_moods(path, VALUES)
        assert read_moods(path) == VALUES, sound_format.name
        assert sound_digest(path) == sound, sound_format.name


@pytest.mark.parametrize("suffix", [".mp3", ".m4a"])
def test_flac_behind_id3_under_another_name(tmp_path: Path, suffix: str) -> None:
    path = made(tmp_path / "a.flac", next(each for each in FORMATS if each.name == "FLAC 16 bits"))
    tag = id3v2(id3_frame("TIT2", id3_text(["t"], 0), 4), 4)
    path.write_bytes(tag + path.read_bytes())
    path = path.rename(tmp_path / f"a{suffix}")
    write_moods(path, VALUES)
    assert read_moods(path) == VALUES
    assert path.read_bytes().startswith(tag)


@pytest.mark.parametrize("tags", [1, 2])
@pytest.mark.parametrize("suffix", [".aac", ".mp3"])
def test_bare_aac_has_no_place_behind_tags_either(tmp_path: Path, suffix: str, tags: int) -> None:
    path = made(tmp_path / "a.aac", next(each for each in FORMATS if each.name == "ADTS AAC"))
    tag = id3v2(id3_frame("TIT2", id3_text(["t"], 0), 4), 4)
    path.write_bytes(tags * tag + path.read_bytes())
    path = path.rename(tmp_path / f"a{suffix}")
    with pytest.raises(NoPlaceError, match="no place for a mood"):
        read_moods(path)


@pytest.mark.parametrize("before", [0, 300])
def test_bare_aac_has_no_place_where_it_begins_within_a_frame(tmp_path: Path, before: int) -> None:
    """As a recording of a radio's stream does; some have zeros in front."""
    path = made(tmp_path / "a.aac", next(each for each in FORMATS if each.name == "ADTS AAC"))
    path.write_bytes(bytes(before) + path.read_bytes()[150:])
    with pytest.raises(NoPlaceError, match="no place for a mood"):
        read_moods(path)


@pytest.mark.parametrize("container", ["WAV", "AIFF", "Ogg", "WMA", "M4A"])
def test_id3_in_front_of_tags_of_another_kind(tmp_path: Path, container: str) -> None:
    """They have a place for a mood, which mutagen cannot reach."""
    sound_format = next(each for each in TAGGED if each.container == container)
    path = made(tmp_path / f"a{sound_format.suffix}", sound_format)
    path.write_bytes(id3v2(id3_frame("TIT2", id3_text(["t"], 0), 4), 4) + path.read_bytes())
    with pytest.raises(MerError, match=r"^an ID3v2 tag stands in front of its format's own: ") as error:
        read_moods(path)
    assert not isinstance(error.value, NoPlaceError)


def test_mp3_in_a_wav_behind_id3(tmp_path: Path) -> None:
    tag = id3v2(id3_frame("TIT2", id3_text(["t"], 0), 4), 4)
    path = mp3(tmp_path / "a.mp3")
    about = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 44_100, 16_000, 1, 0, 12, 1, 2, 417, 1, 1_393)
    sound = wav(about, path.read_bytes())
    path.write_bytes(tag + sound)
    write_moods(path, VALUES)
    assert read_moods(path) == VALUES
    assert path.read_bytes().endswith(sound)


@pytest.mark.parametrize("first", [b"pnot", b"uuid", b"wide"])
def test_mp4_by_any_first_box(tmp_path: Path, first: bytes) -> None:
    path = made(tmp_path / "a.mov", next(each for each in FORMATS if each.name == "MOV AAC"))
    data = bytearray(path.read_bytes())
    new = box(first, bytes(16))
    (count,) = struct.unpack_from(">I", data, place := data.index(b"stco") + 8)
    for chunk in range(place + 4, place + 4 + 4 * count, 4):
        struct.pack_into(">I", data, chunk, struct.unpack_from(">I", data, chunk)[0] + len(new))
    path.write_bytes(new + data)
    sound = sound_digest(path)
    write_moods(path, VALUES)
    assert read_moods(path) == VALUES
    assert sound_digest(path) == sound


@pytest.mark.parametrize("kind", [b"RF64", b"BW64", b"RIFX"])
def test_wavs_of_other_kinds_have_no_place(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(kind + b"\xff\xff\xff\xffWAVEds64" + bytes(100))
    with pytest.raises(NoPlaceError, match="no place for a mood"):
        read_moods(path)


def mp3(path: Path, before: bytes = b"", after: bytes = b"") -> Path:
    made(path, next(each for each in FORMATS if each.name == "MP3 constant rate"))
    data = path.read_bytes()
    assert data[:3] == b"ID3"
    size = 10 + int.from_bytes(data[6:10], "big")  # a short tag of FFmpeg's
    path.write_bytes(before + data[size:] + after)
    return path


def test_id3v2_3_stays_so(tmp_path: Path) -> None:
    frames = id3_frame("TIT2", id3_text(["तेरे बिना"], 1), 3) + id3_frame("TYER", id3_text(["1995"], 0), 3)
    path = mp3(tmp_path / "a.mp3", id3v2(frames + id3_frame("TPE1", id3_text(["A", "B"], 0), 3), 3))
    write_moods(path, VALUES)
    tag = path.read_bytes()[:2_000]
    assert tag[3] == 3
    assert b"TMOO" not in tag  # a frame of 2.4
    assert b"\1\xff\xfe" + "MOOD\0".encode("utf-16-le") + b"\xff\xfe" + "ख़ुश".encode("utf-16-le") in tag
    assert b"TYER" in tag
    assert b"TDRC" not in tag
    assert tags_from_file(path) == {"title": "तेरे बिना", "artist": "A; B"}
    assert read_moods(path) == VALUES


def test_id3v2_4_has_tmoo(tmp_path: Path) -> None:
    path = mp3(tmp_path / "a.mp3", id3v2(id3_frame("TIT2", id3_text(["title"]))))
    write_moods(path, VALUES)
    tag = path.read_bytes()[:2_000]
    assert tag[3] == 4
    assert id3_frame("TMOO", id3_text(["ख़ुश", ""])) in tag  # mutagen ends texts with a zero
    assert b"\3MER_HAPPY\x000.250\0" in tag


def test_several_moods_are_one_text(tmp_path: Path) -> None:
    from mutagen.flac import FLAC

    texts = [id3_frame("TMOO", id3_text(["happy", "Epic"])), id3_frame("TXXX", b"\0MOOD\0happy\0Energetic")]
    assert read_moods(mp3(tmp_path / "a.mp3", id3v2(b"".join(texts)))) == {"MOOD": "happy; Epic; Energetic"}
    path = made(tmp_path / "a.flac", next(each for each in FORMATS if each.name == "FLAC 16 bits"))
    file = FLAC(path)
    file["MOOD"] = ["happy", "Energetic", "happy"]
    file.save()
    assert read_moods(path) == {"MOOD": "happy; Energetic"}
    write_moods(path, VALUES)
    assert read_moods(path) == VALUES


def test_id3v1_stays_and_is_not_hidden(tmp_path: Path) -> None:
    old = id3v1("तेरे".encode(), b"someone", b"album")
    path = mp3(tmp_path / "a.mp3", after=old)
    before = tags_from_file(path)
    assert before["title"] == "तेरे"
    write_moods(path, VALUES)
    assert path.read_bytes()[-128:] == old
    assert path.read_bytes()[3] == 4
    assert tags_from_file(path) == before
    path.write_bytes(path.read_bytes()[:-128])
    assert tags_from_file(path) == before  # ID3v2 has it now


def test_an_apev2_tag_of_131_bytes_is_no_id3v1(tmp_path: Path) -> None:
    tag = apev2([("MP3GAIN_MINMAX", b"103,211", 0), ("REPLAYGAIN_TRACK_GAIN", b"+1.5 dB", 0)])
    tag = apev2([]) + tag  # with a header before it
    assert len(tag) == 131
    path = mp3(tmp_path / "a.mp3", after=tag)
    assert tags_from_file(path) == {}
    write_moods(path, VALUES)
    assert read_moods(path) == VALUES
    assert path.read_bytes().endswith(tag)


@pytest.mark.parametrize("stated", [0, 0xFFFFFFFF, 0x7FFFF024])
@pytest.mark.parametrize("name", ["a.wav", "a.aiff"])
def test_a_length_that_nobody_knew(tmp_path: Path, name: str, stated: int) -> None:
    """As it stands in what was written to a pipe."""
    kind = "WAV PCM, 16 bits" if name == "a.wav" else "AIFF PCM, 16 bits"
    path = made(tmp_path / name, next(each for each in FORMATS if each.name == kind))
    data = path.read_bytes()
    path.write_bytes(data[:4] + stated.to_bytes(4, "little" if name == "a.wav" else "big") + data[8:])
    said = rf"^its header does not say how long it is: save it anew \(ffmpeg -i FILE -c copy OUT{name[1:]}\)$"
    with pytest.raises(MerError, match=said):
        read_moods(path)
    assert path.stat().st_size == len(data)


def test_any_error_of_writing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise ValueError("no\nway")

    monkeypatch.setattr("merkit.engine.outputs.tagging.moods.other_frames", fail)
    with pytest.raises(MerError, match=r"^mutagen cannot write its tags: no way$"):
        write_moods(mp3(tmp_path / "a.mp3"), VALUES)


def test_what_no_one_can_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(b"fLaC" + bytes(range(256)))
    with pytest.raises(MerError, match=r"^mutagen cannot read it: ") as error:
        read_moods(path)
    assert "\n" not in str(error.value)
