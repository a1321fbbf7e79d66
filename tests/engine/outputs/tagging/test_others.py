"""Tags of others keep their bytes, or the file is left alone: tags made by hand, and read by hand again."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from audio_files import noise
from label_folders import row_of, write_labels
from merkit.engine.errors import MerError
from merkit.engine.outputs.tagging import tag_run
from merkit.engine.outputs.tagging.moods import read_moods, values_of, write_moods
from merkit.engine.outputs.tagging.others import other_entries, other_frames
from merkit.engine.outputs.tagging.sound import sound_digest
from merkit.engine.outputs.tagging.tag_run import Outcome, TagOptions, tag_songs
from merkit.engine.outputs.tagging.undo_run import undo_tags
from sound_formats import FORMATS
from tag_bytes import chunk, id3_frame, id3_text, id3v2, syncsafe, unsynchronised

pytest.importorskip("mutagen")

VALUES = values_of("sad", ("happy", "sad"), (0.25, 0.75))
COVER = b"\xff\xd8\xff\xe0 a cover \xff\x00\x00" + bytes(200)


def made(path: Path, kind: str) -> Path:
    sound_format = next(each for each in FORMATS if each.name == kind)
    rate, channels = sound_format.tried[0]
    sound_format.write(path, np.repeat(noise(1.2, rate)[:, None], channels, 1), rate)
    return path


def mp3(path: Path, tag: bytes) -> Path:
    data = made(path, "MP3 constant rate").read_bytes()
    path.write_bytes(tag + data[10 + int.from_bytes(data[6:10], "big") :])  # FFmpeg's tag is short
    return path


def frames_of(version: int) -> dict[str, list[bytes]]:
    """Frames that mutagen cannot read, cannot tell apart, or would write otherwise."""
    contents = {
        "dates": [("TDRC", b"\x0015/08/1975"), ("TDRC", b"\0August 1975"), ("TDOR", b"\0c. 1975")],
        "lyrics": [("USLT", b"\0eng\0first"), ("USLT", b"\0eng\0second"),
                   ("COMM", b"\0hin\0a"), ("COMM", b"\0hin\0b")],
        "one key": [("POPM", b"a@b\0\x80\0\0\0\1"), ("POPM", b"a@b\0\xff\0\0\0\2"),
                    ("UFID", b"x\0one"), ("UFID", b"x\0two")],
        "objects": [("GEOB", b"\0t/x\0f\0d\0one"), ("GEOB", b"\0t/x\0f\0d\0two"),
                    ("WXXX", b"\0d\0u1"), ("WXXX", b"\0d\0u2")],
        "unknown": [("XYZW", b"\0\1\2"), ("NCON", b"MusicMatch"), ("PRIV", b"a\0" + bytes(range(256)))],
        "own names": [("TXXX", b"\0MOOD2\0x"), ("TXXX", b"\0My MER_\0y"), ("TXXX", b"\0MOO\0one"),
                      ("TXXX", b"\0MOO\0two"), ("TXXX", b"\1\xff\xfea\0\0\0\xff\xfeb\0"), ("TXXX", b"")],
        "covers": [("APIC", b"\0JPG\0\3\0" + COVER), ("APIC", b"\0image/jpeg\0\3\0" + COVER)],
    }  # fmt: skip
    return {kind: [id3_frame(name, data, version) for name, data in each] for kind, each in contents.items()}


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("kind", list(frames_of(4)))
def test_id3_frames_keep_their_bytes(tmp_path: Path, kind: str, version: int) -> None:
    frames = frames_of(version)[kind]
    path = mp3(tmp_path / "a.mp3", id3v2(b"".join(frames), version))
    sound = sound_digest(path)
    for values in (VALUES, values_of("happy", ("happy",), (1.0,)), {}):  # also in the place of earlier ones
        write_moods(path, values)
        assert read_moods(path) == values
        assert path.read_bytes()[3] == version
        assert b"".join(frames) in path.read_bytes()  # in their order too
        assert [other_frames(path)] == other_entries(path) == [frames]
        assert sound_digest(path) == sound


@pytest.mark.parametrize("version", [2, 3, 4])
def test_undo_gives_the_bytes_of_every_version_back(tmp_path: Path, version: int) -> None:
    name = "ULT" if version == 2 else "USLT"
    frames = [id3_frame(name, b"\0eng\0" + text, version) for text in (b"first", b"second")]
    path = mp3(tmp_path / "a.mp3", id3v2(b"".join(frames), version))
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    assert [each.outcome for each in tag_songs(labels, TagOptions(write=True))] == [Outcome.WRITTEN]
    assert [frame.split(b"\0")[-1] for frame in other_frames(path) or ()] == [b"first", b"second"]
    assert [each.outcome for each in undo_tags(labels, write=True)] == [Outcome.WRITTEN]
    assert path.read_bytes() == before


def test_a_mood_of_ours_is_found_in_every_encoding(tmp_path: Path) -> None:
    frames = [
        id3_frame("TXXX", data)
        for data in (b"\0Mood\0a", b"\3mer_x\0b", b"\1" + "\ufeffMOOD\0c".encode("utf-16-le"),
                     b"\2" + "MER_A\0d".encode("utf-16-be"))
    ]  # fmt: skip
    flagged = id3_frame(
        "TXXX", syncsafe(7) + unsynchronised(b"\1\xff\xfeM\0O\0O\0D\0\0\0\xff\xfed\0"), flags=3
    )
    title = id3_frame("TIT2", id3_text(["title"]))
    path = mp3(tmp_path / "a.mp3", id3v2(b"".join([*frames, title, flagged])))
    assert other_frames(path) == [title]
    write_moods(path, VALUES)
    assert read_moods(path) == VALUES
    assert other_frames(path) == [title]


def test_what_is_no_frame_stays_behind_the_frames(tmp_path: Path) -> None:
    empty, title = id3_frame("TIT3", b""), id3_frame("TIT2", b"\0title")
    for parts in ([b"junk"], [empty], [empty, title, empty], [title, b"\0\0more than ten bytes"]):
        path = mp3(tmp_path / "a.mp3", id3v2(b"".join(parts)))
        write_moods(path, VALUES)
        assert (other_frames(path), read_moods(path)) == (parts, VALUES)


def test_packed_and_encrypted_frames_stay(tmp_path: Path) -> None:
    frames = [
        id3_frame("APIC", b"packed", 4, 0x09),
        id3_frame("TXXX", b"locked", 4, 0x04),
        id3_frame("TPE2", b"\1\0who", 4, 0x40),
    ]
    path = mp3(tmp_path / "a.mp3", id3v2(b"".join(frames)))
    write_moods(path, VALUES)
    assert other_frames(path) == frames


def test_unsynchronised_tags_keep_their_content(tmp_path: Path) -> None:
    whole = id3_frame("APIC", b"\0image/jpeg\0\3\0" + COVER, 3) + id3_frame("TIT2", b"\0title", 3)
    path = mp3(tmp_path / "a.mp3", id3v2(whole, 3, 0x80))
    write_moods(path, VALUES)
    assert whole in path.read_bytes()
    # Of ID3v2.4 each frame is; where only the tag's head says so, the new one's cannot.
    content = unsynchronised(b"\0image/jpeg\0\3\0" + COVER)
    path = mp3(tmp_path / "b.mp3", id3v2(id3_frame("APIC", content) + id3_frame("TPE2", b"\0x"), 4, 0x80))
    write_moods(path, VALUES)
    assert id3_frame("APIC", content, 4, 0x02) + id3_frame("TPE2", b"\0x") in path.read_bytes()
    from mutagen.id3 import ID3

    assert ID3(path).getall("APIC")[0].data == COVER


def test_plain_numbers_of_old_itunes(tmp_path: Path) -> None:
    frames = [id3_frame("COMM", b"\0eng\0" + b"x" * 300, 3), id3_frame("TALB", b"\0album", 3)]
    path = mp3(tmp_path / "a.mp3", id3v2(b"".join(frames), 4))
    write_moods(path, VALUES)
    assert other_frames(path) == frames
    assert read_moods(path) == VALUES


@pytest.mark.parametrize("kind", ["WAV PCM, 16 bits", "AIFF PCM, 16 bits"])
def test_tags_in_chunks(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path / ("a.wav" if kind.startswith("WAV") else "a.aiff"), kind)
    assert other_frames(path) is None
    frames = frames_of(3)["lyrics"]
    order = "<" if path.suffix == ".wav" else ">"
    data = path.read_bytes() + chunk(b"ID3 ", id3v2(b"".join(frames), 3), order)
    path.write_bytes(data[:4] + struct.pack(f"{order}I", len(data) - 8) + data[8:])
    write_moods(path, VALUES)
    assert (read_moods(path), other_frames(path)) == (VALUES, frames)


def test_id3v2_2_becomes_2_3_whole(tmp_path: Path) -> None:
    old = [("TT2", b"\0title"), ("TYE", b"\x00197?"), ("ULT", b"\0eng\0one"), ("ULT", b"\0eng\0two"),
           ("PIC", b"\0JPG\3cover\0" + COVER), ("PIC", b"\0PNG\4\0\x89PNG"),
           ("TXX", b"\0MOOD\0Epic")]  # fmt: skip
    new = [("TIT2", b"\0title"), ("TYER", b"\x00197?"), ("USLT", b"\0eng\0one"), ("USLT", b"\0eng\0two"),
           ("APIC", b"\0image/jpeg\0\3cover\0" + COVER), ("APIC", b"\0image/png\0\4\0\x89PNG")]  # fmt: skip
    path = mp3(tmp_path / "a.mp3", id3v2(b"".join(id3_frame(*each, 2) for each in old), 2))
    assert read_moods(path) == {"MOOD": "Epic"}
    write_moods(path, VALUES)
    assert path.read_bytes()[3] == 3
    assert b"".join(id3_frame(*each, 3) for each in new) in path.read_bytes()
    assert read_moods(path) == VALUES


FOOTER = id3v2(id3_frame("TIT2", b"\0t"), 4, 0x10, padding=0)
REFUSED = {
    "CM1": id3v2(id3_frame("CM1", b"x", 2), 2),
    "XYZ": id3v2(id3_frame("TT2", b"\0t", 2) + id3_frame("XYZ", b"x", 2), 2),
    "LNK": id3v2(id3_frame("LNK", b"TT2http://x\0", 2), 2),
    "no frame": id3v2(id3_frame("TT2", b"\0t", 2) + b"junk", 2),
    "footer": FOOTER + b"3DI" + FOOTER[3:10],
}


@pytest.mark.parametrize("says", list(REFUSED))
def test_what_has_no_place_in_a_new_tag_is_refused(tmp_path: Path, says: str) -> None:
    path = mp3(tmp_path / "a.mp3", REFUSED[says])
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    (said,) = tag_songs(labels, TagOptions(write=True))
    assert said.outcome is Outcome.FAILED
    assert says in str(said.reason)
    assert "\n" not in str(said.reason)
    assert path.read_bytes() == before


def test_a_compressed_tag_is_refused(tmp_path: Path) -> None:
    path = mp3(tmp_path / "a.mp3", id3v2(id3_frame("TT2", b"\0t", 2), 2, 0x40))
    with pytest.raises(MerError, match="is compressed"):
        other_frames(path)


def with_comments(path: Path, *wanted: bytes) -> Path:
    """A FLAC with these comments."""
    data = made(path, "FLAC 16 bits").read_bytes()
    body = struct.pack("<I", 3) + b"lib" + struct.pack("<I", len(wanted))
    body += b"".join(struct.pack("<I", len(each)) + each for each in wanted)
    place, blocks = 4, []
    while not blocks or not blocks[-1][0] & 0x80:
        size = 4 + int.from_bytes(data[place + 1 : place + 4], "big")
        blocks.append(data[place : place + size])
        place += size
    kept = [block for block in blocks if block[0] & 0x7F == 0]
    path.write_bytes(
        b"fLaC" + b"".join(bytes([block[0] & 0x7F]) + block[1:] for block in kept)
        + bytes([0x84]) + len(body).to_bytes(3, "big") + body + data[place:]
    )  # fmt: skip
    return path


COMMENTS = [
    b"Title=t",
    b"GENRE=Caf\xe9",
    b"no sign",
    "आ=x".encode(),
    b"=no key",
    b"\x7e=x",
    b"",
    b"ARTIST=a",
    b"artist=b",
]


def test_comments_keep_their_bytes_and_are_undone(tmp_path: Path) -> None:
    path = with_comments(tmp_path / "a.flac", *COMMENTS, b"mood=", b"MER_X=1")
    before, sound = path.read_bytes(), sound_digest(path)
    assert other_entries(path) == [[b"lib", *COMMENTS]]
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    assert [each.outcome for each in tag_songs(labels, TagOptions(write=True))] == [Outcome.WRITTEN]
    assert other_entries(path) == [[b"lib", *COMMENTS]]
    assert b"GENRE=Caf\xe9" in path.read_bytes()
    assert read_moods(path)["MOOD"] == "happy"
    assert sound_digest(path) == sound
    assert [each.outcome for each in undo_tags(labels, write=True)] == [Outcome.WRITTEN]
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", [each.name for each in FORMATS if each.container == "Ogg"])
def test_ogg_comments(tmp_path: Path, kind: str) -> None:
    from mutagen import File  # pyright: ignore[reportPrivateImportUsage]

    path = made(tmp_path / "a.ogg", kind)
    file = File(path)
    assert file is not None
    file["genre"] = ["Cafe"]
    file["lyrics"] = ["x" * 200_000]  # over several pages
    file["Mood"] = ["Epic"]
    file.save()
    Path(path).write_bytes(with_latin_1(path.read_bytes()))
    ((_, *entries),) = all_entries = other_entries(path)
    assert {b"genre=Caf\xe9", b"lyrics=" + b"x" * 200_000} < {*entries}
    assert not any(b"Epic" in entry for entry in entries)
    sound = sound_digest(path)
    for values in (VALUES, {}):
        write_moods(path, values)
        assert other_entries(path) == all_entries
        assert (read_moods(path), sound_digest(path)) == (values, sound)


def with_latin_1(data: bytes) -> bytes:
    """An Ogg file whose genre is no UTF-8; the checksum of its page too."""
    from mutagen.ogg import OggPage

    at = data.index(b"genre=Cafe")
    start = data.rindex(b"OggS", 0, at)
    page = OggPage(io.BytesIO(data[start:]))
    page.packets[0] = page.packets[0].replace(b"genre=Cafe", b"genre=Caf\xe9")
    return data[:start] + page.write() + data[start + page.size :]


def test_the_last_guard_sees_what_a_writer_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mp3(tmp_path / "a.mp3", id3v2(b"".join(frames_of(4)["dates"])))

    def careless(copy: Path, values: dict[str, str]) -> list[bytes]:
        from mutagen.id3 import ID3

        added = write_moods(copy, values)
        ID3(copy).save(copy)  # it cannot read the dates
        return added

    monkeypatch.setattr(tag_run, "write_moods", careless)
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    (said,) = tag_songs(labels, TagOptions(write=True))
    assert said.outcome is Outcome.FAILED
    assert str(said.reason).startswith("its other tags would not stay as they are")


def test_damaged_comments_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(b"fLaC\x84\0\0\4\xff\xff\xff\x7f")
    with pytest.raises(MerError, match=r"^its comments are damaged$"):
        other_entries(tmp_path / "a.flac")
