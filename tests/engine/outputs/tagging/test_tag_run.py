"""Files before, after and restored: by their bytes, and by what other programs say of their sound."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from audio_files import noise
from failing_disk import FailingDisk
from label_folders import row_of, write_labels
from merkit.engine.catalogue.folder_lock import FolderLock
from merkit.engine.catalogue.shards import rows_in
from merkit.engine.errors import MerError
from merkit.engine.outputs.tagging import tag_run
from merkit.engine.outputs.tagging.moods import read_moods
from merkit.engine.outputs.tagging.sound import sound_digest
from merkit.engine.outputs.tagging.tag_run import Outcome, TagOptions, tag_songs
from merkit.engine.outputs.tagging.undo_run import undo_tags
from sound_formats import FORMATS
from tag_bytes import apev2, id3_frame, id3_text, id3v1, id3v2

pytest.importorskip("mutagen")

WRITE = TagOptions(write=True)
KINDS = (
    "MP3 constant rate",
    "FLAC 16 bits",
    "Ogg Vorbis",
    "Ogg Opus",
    "M4A AAC",
    "WMA version 2",
    "WAV PCM, 16 bits",
)
OLD = 1_400_000_000_123_456_789  # a file's time


def song(folder: Path, kind: str = KINDS[0], name: str = "तेरे बिना 💔") -> Path:
    sound_format = next(each for each in FORMATS if each.name == kind)
    rate, channels = sound_format.tried[0]
    path = folder / f"{name}{sound_format.suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    sound_format.write(path, np.repeat(noise(1.0, rate)[:, None], channels, 1), rate)
    os.utime(path, ns=(OLD, OLD))
    return path


def outcomes(songs: Iterator[Any]) -> list[Outcome]:
    return [each.outcome for each in songs]


def tag(labels: Path, **options: Any) -> list[Outcome]:
    return outcomes(tag_songs(labels, TagOptions(**{"write": True, **options})))


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def facts(labels: Path) -> list[tuple]:
    return [(row["size_bytes"], row["mtime_ns"], row["ctime_ns"]) for row in rows_in(labels)]


def facts_on_disk(*paths: Path) -> list[tuple]:
    return [(s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in map(os.stat, paths)]


def test_every_format_there_and_back(tmp_path: Path) -> None:
    paths = [song(tmp_path / "music", kind, f"{number} ग") for number, kind in enumerate(KINDS)]
    before = [path.read_bytes() for path in paths]
    sounds = [sound_digest(path) for path in paths]
    for path in paths:
        path.chmod(0o640)
    has_attributes = True
    try:
        os.setxattr(paths[0], "user.note", b"mine")
    except OSError:
        has_attributes = False
    labels = write_labels(
        tmp_path / "labels", [row_of(path) for path in paths[:3]], [row_of(p) for p in paths[3:]]
    )
    names = files_in(tmp_path / "music")

    assert outcomes(tag_songs(labels, TagOptions())) == [Outcome.WRITTEN] * len(KINDS)
    assert [path.read_bytes() for path in paths] == before  # it was only said
    assert files_in(labels) == ["part-000000.parquet", "part-000001.parquet"]

    assert tag(labels) == [Outcome.WRITTEN] * len(KINDS)
    for path, sound in zip(paths, sounds, strict=True):
        shares = {"MER_HAPPY": "0.700", **dict.fromkeys(("MER_TENSE", "MER_SAD", "MER_CALM"), "0.100")}
        assert read_moods(path) == {"MOOD": "happy", **shares}
        assert sound_digest(path) == sound
        status = path.stat()
        assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o640, OLD)
    if has_attributes:
        assert os.getxattr(paths[0], "user.note") == b"mine"
    assert files_in(tmp_path / "music") == names
    assert facts(labels) == facts_on_disk(*paths)  # a later run labels none of them again
    assert tag(labels) == [Outcome.SAME] * len(KINDS)

    assert outcomes(undo_tags(labels)) == [Outcome.WRITTEN] * len(KINDS)
    assert [path.read_bytes() for path in paths] != before
    assert outcomes(undo_tags(labels, write=True)) == [Outcome.WRITTEN] * len(KINDS)
    assert [path.read_bytes() for path in paths] == before
    assert {path.stat().st_mtime_ns for path in paths} == {OLD}
    assert facts(labels) == facts_on_disk(*paths)
    assert files_in(labels) == [".lock", "part-000000.parquet", "part-000001.parquet"]


def test_who_is_left_alone(tmp_path: Path) -> None:
    paths = [song(tmp_path / "music", name=name) for name in "abcdef"]
    rows = [
        row_of(paths[0], verdict="unsure"),
        row_of(paths[1], None, verdict="not_music"),
        row_of(paths[2]),
        row_of(paths[3]),
        row_of(paths[4], share=0.5),
        row_of("https://x.example/f.mp3"),
        row_of(song(tmp_path / "music", "Matroska FLAC", "g")),
    ]
    labels = write_labels(tmp_path / "labels", rows)
    paths[2].write_bytes(paths[2].read_bytes() + b"\0")
    paths[3].unlink()
    before = {path: path.read_bytes() for path in paths if path.exists()}
    assert tag(labels, min_confidence=0.6) == [
        Outcome.UNSURE,
        Outcome.NO_LABEL,
        Outcome.CHANGED,
        Outcome.MISSING,
        Outcome.UNSURE,
        Outcome.REMOTE,
        Outcome.NO_PLACE,
    ]
    assert all(path.read_bytes() == data for path, data in before.items())
    assert tag(labels, unsure=True)[:1] == [Outcome.WRITTEN]


@pytest.mark.parametrize("verdict", ["sure", "unsure"])
@pytest.mark.parametrize("when", ["after it was found", "while it is read"])
def test_a_file_that_goes_meanwhile_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, verdict: str
) -> None:
    """Before its size is asked for again, as of a file that a kill kept from its row."""
    paths = [song(tmp_path / "music", name=name) for name in "ab"]
    rows = [row_of(paths[0], verdict=verdict), row_of(paths[1])]
    labels = write_labels(tmp_path / "labels", rows)
    assert tag(labels, unsure=True) == [Outcome.WRITTEN] * 2
    write_labels(labels, rows)  # as before it was told

    def going(function: Callable[..., Any]) -> Callable[..., Any]:
        def went(*arguments: Any) -> Any:
            result = function(*arguments)
            paths[0].unlink(missing_ok=True)
            return result

        return went

    name = "find" if when == "after it was found" else "read_moods"
    monkeypatch.setattr(tag_run, name, going(getattr(tag_run, name)))
    first, second = tag_songs(labels, WRITE)
    lost = Outcome.MISSING if name == "find" else Outcome.FAILED
    assert first.outcome is (Outcome.UNSURE if verdict == "unsure" else lost)
    assert second.outcome is Outcome.SAME


def test_the_moods_of_others_stay(tmp_path: Path) -> None:
    from mutagen.flac import FLAC

    path = song(tmp_path, "FLAC 16 bits")
    file: Any = FLAC(path)
    file["Mood"] = ["Epic"]
    file.save()
    os.utime(path, ns=(OLD, OLD))
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    said = list(tag_songs(labels, WRITE))
    assert [(each.outcome, each.before) for each in said] == [(Outcome.OTHERS, "Epic")]
    assert tag(labels, replace=True) == [Outcome.WRITTEN]
    assert FLAC(path)["mood"] == ["happy"]


def test_the_end_of_an_apev2_tag_is_no_id3v1(tmp_path: Path) -> None:
    path = song(tmp_path)
    data = path.read_bytes()
    gains = apev2([("MP3GAIN_MINMAX", b"103,211", 0), ("REPLAYGAIN_TRACK_GAIN", b"+1.5 dB", 0)])
    path.write_bytes(data[10 + int.from_bytes(data[6:10], "big") :] + apev2([]) + gains)
    assert path.read_bytes()[-128:-125] == b"TAG"
    assert tag(write_labels(tmp_path / "labels", [row_of(path)])) == [Outcome.WRITTEN]


def test_what_a_new_tag_would_hide_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = song(tmp_path)
    data = path.read_bytes()
    old = id3v1(b"song", b"someone")
    path.write_bytes(data[10 + int.from_bytes(data[6:10], "big") :] + old)
    before = path.read_bytes()
    monkeypatch.setattr("merkit.engine.outputs.tagging.moods.older_frames", lambda *_: [])
    (said,) = tag_songs(write_labels(tmp_path / "labels", [row_of(path)]), WRITE)
    assert said.outcome is Outcome.FAILED
    reason = "players would no longer show its title, artist, genre: save its tags anew first"
    assert said.reason == reason
    assert path.read_bytes() == before


def test_an_index_of_fragments_is_not_made_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    rate = 44_100
    options = {"movflags": "empty_moov+default_base_moof", "frag_duration": "200000"}
    with av.open(str(path), "w", format="mp4", options=options) as file:
        stream: Any = file.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise(1.0, rate)[None], "fltp", "mono")
        frame.sample_rate = rate
        for each in (frame, None):
            file.mux(stream.encode(each))
    before = path.read_bytes()
    assert b"mfra" in before
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    for write in (False, True):
        (said,) = tag_songs(labels, TagOptions(write=write))
        assert said.outcome is Outcome.FAILED
        assert str(said.reason).startswith("the index of its fragments would not fit: save it anew (ffmpeg")
    assert path.read_bytes() == before


def test_a_mood_in_an_apev2_tag_stays(tmp_path: Path) -> None:
    """It is not written anew, and a second one in ID3 is not to stand beside it."""
    from mutagen.apev2 import APEv2

    path = song(tmp_path)
    ape: Any = APEv2()
    ape["Mood"] = "Dark"
    ape.save(path)
    os.utime(path, ns=(OLD, OLD))
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    said = list(tag_songs(labels, WRITE))
    assert [(each.outcome, each.before) for each in said] == [(Outcome.OTHERS, "Dark")]
    for write in (False, True):
        (said,) = tag_songs(labels, TagOptions(write=write, replace=True))
        assert (said.outcome, "mood in its APEv2 tag" in (said.reason or "")) == (Outcome.FAILED, True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", [KINDS[0], "FLAC 16 bits"])
@pytest.mark.parametrize("version", [3, 4])
def test_a_mood_in_a_further_id3v2_tag_stays(tmp_path: Path, kind: str, version: int) -> None:
    path = song(tmp_path, kind)
    texts = [id3_frame("TIT2", id3_text(["t"], 0), version), id3_frame("TXXX", b"\0Mood\0Dark", version)]
    further = id3v2(b"".join(texts), version)
    data = path.read_bytes()
    size = 10 + int.from_bytes(data[6:10], "big") if kind == KINDS[0] else 0
    path.write_bytes(data[:size] + further + data[size:])
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    said = list(tag_songs(labels, WRITE))
    assert [(each.outcome, each.before) for each in said] == [(Outcome.OTHERS, "Dark")]
    for write in (False, True):
        (said,) = tag_songs(labels, TagOptions(write=write, replace=True))
        reason = (
            "a mood in an ID3v2 tag beside its own would stay: take that tag away with a tag editor first"
        )
        assert (said.outcome, said.reason) == (Outcome.FAILED, reason)
    assert path.read_bytes() == before


def test_a_mood_from_here_stays_beside_one_in_an_apev2_tag(tmp_path: Path) -> None:
    from mutagen.apev2 import APEv2

    path = song(tmp_path)
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    ape: Any = APEv2()
    ape["Mood"] = "happy"
    ape.save(path)
    write_labels(labels, [row_of(path)])
    assert tag(labels) == [Outcome.SAME]
    ape["Mood"] = ["happy", "Dark"]
    ape.save(path)
    before = path.read_bytes()
    write_labels(labels, [row_of(path, None, verdict="not_music")])
    assert tag(labels) == [Outcome.NO_LABEL]
    assert path.read_bytes() == before


def test_a_mood_that_was_set_by_hand_since_stays(tmp_path: Path) -> None:
    from mutagen.flac import FLAC

    path = song(tmp_path, "FLAC 16 bits")
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    file: Any = FLAC(path)
    file["MOOD"] = ["Nostalgic"]
    file.save()
    write_labels(labels, [row_of(path, "sad")])
    assert tag(labels) == [Outcome.OTHERS]
    write_labels(labels, [row_of(path, verdict="unsure")])
    assert tag(labels) == [Outcome.UNSURE]
    assert FLAC(path)["mood"] == ["Nostalgic"]
    write_labels(labels, [row_of(path, "sad")])
    assert tag(labels, replace=True) == [Outcome.WRITTEN]


@pytest.mark.parametrize("by_hand", [["calm"], ["happy", "Energetic"]])
def test_another_label_or_a_second_mood_set_by_hand_stays(tmp_path: Path, by_hand: list[str]) -> None:
    from mutagen.flac import FLAC

    path = song(tmp_path, "FLAC 16 bits")
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    file: Any = FLAC(path)
    file["MOOD"] = by_hand  # its shares stand there too
    file.save()
    write_labels(labels, [row_of(path)])
    (said,) = tag_songs(labels, WRITE)
    assert (said.outcome, said.before) == (Outcome.OTHERS, "; ".join(by_hand))
    write_labels(labels, [row_of(path, None, verdict="not_music")])
    assert tag(labels) == [Outcome.NO_LABEL]
    assert FLAC(path)["mood"] == by_hand
    write_labels(labels, [row_of(path)])
    assert tag(labels, replace=True) == [Outcome.WRITTEN]
    assert FLAC(path)["mood"] == ["happy"]


@pytest.mark.parametrize(("emotion", "verdict"), [("sad", "unsure"), (None, "not_music"), (None, "silence")])
def test_the_mood_of_an_earlier_model_goes(tmp_path: Path, emotion: str | None, verdict: str) -> None:
    path = song(tmp_path)
    before, sound = path.read_bytes(), sound_digest(path)
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    tagged = path.read_bytes()
    write_labels(labels, [row_of(path, emotion, verdict=verdict)])
    (said,) = tag_songs(labels, TagOptions())
    assert (said.outcome, said.before, said.after) == (Outcome.REMOVED, "happy", None)
    assert path.read_bytes() == tagged
    assert tag(labels) == [Outcome.REMOVED]
    assert (read_moods(path), sound_digest(path)) == ({}, sound)
    assert facts(labels) == facts_on_disk(path)
    again = tag(labels)
    assert again == [Outcome.UNSURE if emotion else Outcome.NO_LABEL]
    assert outcomes(undo_tags(labels, write=True)) == [Outcome.WRITTEN]
    assert path.read_bytes() == before
    assert not (labels / ".undo.jsonl").exists()


def test_what_these_labels_say_themselves_stays(tmp_path: Path) -> None:
    """Of a run that took less certain songs too; and of a song that now is an error."""
    path = song(tmp_path)
    labels = write_labels(tmp_path / "labels", [row_of(path, verdict="unsure")])
    assert tag(labels, unsure=True) == [Outcome.WRITTEN]
    assert tag(labels) == tag(labels, min_confidence=0.9) == [Outcome.UNSURE]
    write_labels(labels, [row_of(path, None)])
    assert tag(labels) == [Outcome.NO_LABEL]
    assert read_moods(path)["MOOD"] == "happy"


def test_two_labels_are_undone_to_the_first_bytes(tmp_path: Path) -> None:
    path = song(tmp_path)
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    assert tag(labels) == [Outcome.WRITTEN]
    write_labels(labels, [row_of(path, "sad")])
    assert tag(labels, touch=True) == [Outcome.WRITTEN]
    assert path.stat().st_mtime_ns > OLD
    assert read_moods(path)["MOOD"] == "sad"
    assert outcomes(undo_tags(labels, write=True)) == [Outcome.WRITTEN]
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == OLD


def test_what_was_changed_since_is_not_undone(tmp_path: Path) -> None:
    paths = [song(tmp_path, name="a"), song(tmp_path, name="b")]
    before = paths[1].read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path) for path in paths])
    tag(labels)
    paths[0].write_bytes(changed := paths[0].read_bytes() + b"more")
    assert outcomes(undo_tags(labels, write=True)) == [Outcome.WRITTEN, Outcome.CHANGED]
    assert paths[0].read_bytes() == changed
    assert paths[1].read_bytes() == before
    paths[0].write_bytes(changed[:-4])  # and back: its record has stayed
    assert outcomes(undo_tags(labels, write=True)) == [Outcome.WRITTEN]
    assert not (labels / ".undo.jsonl").exists()


def test_a_run_that_is_stopped_has_told_the_rows(tmp_path: Path) -> None:
    paths = [song(tmp_path, name="a"), song(tmp_path, name="b")]
    labels = write_labels(tmp_path / "labels", [row_of(path) for path in paths])
    answers = iter([False, True])
    done = list(tag_songs(labels, WRITE, is_stopped=lambda: next(answers)))
    assert [each.path for each in done] == [str(paths[0])]
    assert facts(labels) == facts_on_disk(*paths)
    assert tag(labels) == [Outcome.SAME, Outcome.WRITTEN]


def test_a_sound_that_would_change_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = song(tmp_path)
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    before, write = path.read_bytes(), tag_run.write_moods

    def spoil(copy: Path, *rest: Any, **more: Any) -> None:
        write(copy, *rest, **more)
        data = bytearray(copy.read_bytes())
        data[-500] ^= 1
        copy.write_bytes(data)

    monkeypatch.setattr(tag_run, "write_moods", spoil)
    (said,) = tag_songs(labels, WRITE)
    assert (said.outcome, said.reason) == (Outcome.FAILED, "its sound would not stay as it is")
    assert path.read_bytes() == before
    assert files_in(tmp_path) == ["labels", path.name]


def test_a_tag_of_wma_that_would_change_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mutagen.asf import ASF

    path = song(tmp_path, "WMA version 2")
    file: Any = ASF(path)
    file["WM/Genre"] = ["Filmi"]
    file.save()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    before, write = path.read_bytes(), tag_run.write_moods

    def spoil(copy: Path, values: Any, **more: Any) -> list[bytes]:
        added = write(copy, values, **more)
        changed: Any = ASF(copy)
        changed["WM/Genre"] = ["Rock"]
        changed.save()
        return added

    monkeypatch.setattr(tag_run, "write_moods", spoil)
    (said,) = tag_songs(labels, WRITE)
    reason = "players would no longer show its genre: save its tags anew first"
    assert (said.outcome, said.reason) == (Outcome.FAILED, reason)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["create", "write", "sync", "replace"])
def test_a_full_disk_leaves_files_as_they_were(tmp_path: Path, kind: str) -> None:
    path = song(tmp_path / "music")
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    before = path.read_bytes()
    (said,) = tag_songs(labels, WRITE, disk=FailingDisk(kind, 1))
    assert said.outcome is Outcome.FAILED
    assert "No space left" in (said.reason or "")
    assert path.read_bytes() == before
    assert files_in(tmp_path / "music") == [path.name]
    assert tag(labels) == [Outcome.WRITTEN]
    assert outcomes(undo_tags(labels, write=True)) == [Outcome.WRITTEN]
    assert path.read_bytes() == before


_KILLED = """
import os, signal, sys
from pathlib import Path
from merkit.engine.files import Disk
from merkit.engine.outputs.tagging.tag_run import TagOptions, tag_songs
from merkit.engine.outputs.tagging.undo_run import undo_tags

what, kind, nth, labels = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])

class Killer(Disk):
    def __init__(self): self.calls = 0
    def count(self, name):
        self.calls += name == kind
        if name == kind and self.calls == nth: os.kill(os.getpid(), signal.SIGKILL)
    def sync(self, file): self.count("sync"); super().sync(file)
    def replace(self, source, target):
        self.count("before"); super().replace(source, target); self.count("after")

if what == "tag": list(tag_songs(labels, TagOptions(write=True), disk=Killer()))
else: list(undo_tags(labels, True, disk=Killer()))
"""


@pytest.mark.parametrize(
    ("what", "kind", "nth"),
    [
        ("tag", "sync", 1),  # before the record is on the disk
        ("tag", "before", 1),  # before the file has its place
        ("tag", "after", 1),  # before the row is told
        ("undo", "before", 1),
        ("undo", "after", 1),
    ],
)
def test_kill_9(tmp_path: Path, what: str, kind: str, nth: int) -> None:
    path = song(tmp_path / "music")
    before, sound = path.read_bytes(), sound_digest(path)
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    if what == "undo":
        tag(labels)
    command = [sys.executable, "-c", _KILLED, what, kind, str(nth), str(labels)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert sound_digest(path) == sound
    assert (path.read_bytes() == before) == (kind in ("sync", "before") if what == "tag" else kind == "after")
    again = tag(labels)
    assert again == [
        Outcome.SAME if (what, kind) in (("tag", "after"), ("undo", "before")) else Outcome.WRITTEN
    ]
    assert read_moods(path)["MOOD"] == "happy"
    assert facts(labels) == facts_on_disk(path)
    assert files_in(tmp_path / "music") == [path.name]  # what the kill left is gone
    assert outcomes(undo_tags(labels, write=True)) == [Outcome.WRITTEN]
    assert path.read_bytes() == before
    assert files_in(labels) == [".lock", "part-000000.parquet"]


def test_links_and_rights(tmp_path: Path) -> None:
    path = song(tmp_path / "pool")
    (tmp_path / "music").mkdir()
    link, other = tmp_path / "music" / "link.mp3", tmp_path / "pool" / "other.mp3"
    link.symlink_to(path)
    other.hardlink_to(path)
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(link)])
    assert tag(labels) == [Outcome.WRITTEN]
    assert link.is_symlink()
    assert path.read_bytes() != before == other.read_bytes()
    assert outcomes(undo_tags(labels, write=True)) == [Outcome.WRITTEN]
    path.chmod(0o444)
    write_labels(labels, [row_of(link)])
    for options in (WRITE, TagOptions()):  # a dry run says what would come of it
        (said,) = tag_songs(labels, options)
        assert (said.outcome, said.reason) == (Outcome.FAILED, "it is read-only")


def test_a_long_name_and_one_that_is_no_text(tmp_path: Path) -> None:
    """85 letters of Devanagari are 255 bytes, as long as a name can be."""
    first = song(tmp_path / "music")
    names = ["ग" * 83 + ".mp3", os.fsdecode(b"caf\xe9.mp3")]
    paths = [first.with_name(name) for name in names]
    for path in paths:
        path.write_bytes(first.read_bytes())
    labels = write_labels(tmp_path / "labels", [row_of(path) for path in paths])
    assert tag(labels) == [Outcome.WRITTEN] * 2
    assert outcomes(undo_tags(labels, write=True)) == [Outcome.WRITTEN] * 2
    assert {path.read_bytes() for path in paths} == {first.read_bytes()}


def test_a_cut_record_and_a_damaged_one(tmp_path: Path) -> None:
    paths = [song(tmp_path, name="a"), song(tmp_path, name="b")]
    before = paths[0].read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path) for path in paths])
    undo = labels / ".undo.jsonl"
    undo.write_bytes(b'{"format": 1, "path": "/of/a/run/that/was/kil')
    tag(labels)
    assert len(undo.read_bytes().splitlines()) == 2
    assert undo.stat().st_mode & 0o777 == 0o600
    lines = undo.read_bytes()
    undo.write_bytes(lines.replace(b'"sha256"', b'"sha255"', 1))
    with pytest.raises(MerError, match=r"\.undo\.jsonl is damaged"):
        list(undo_tags(labels, write=True))
    assert paths[0].read_bytes() != before
    undo.write_bytes(lines)
    assert outcomes(undo_tags(labels, write=True)) == [Outcome.WRITTEN] * 2
    assert paths[0].read_bytes() == before


@pytest.mark.parametrize(
    "go", [lambda labels: tag_songs(labels, WRITE), lambda labels: undo_tags(labels, True)]
)
def test_not_while_a_run_writes(tmp_path: Path, go: Callable[[Path], Iterator]) -> None:
    labels = write_labels(tmp_path / "labels", [row_of(song(tmp_path))])
    lock = FolderLock(labels)
    with pytest.raises(MerError, match="in use by another run"):
        list(go(labels))
    lock.release()
    with pytest.raises(MerError, match="no folder of labels"):
        list(go(tmp_path))
