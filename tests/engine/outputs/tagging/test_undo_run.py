"""Undo where files have moved, have become links, or are two of one text."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import IO, Any

import pytest
from audio_files import noise, write_audio
from label_folders import row_of, write_labels
from merkit.engine.catalogue.reconcile import RealPaths
from merkit.engine.catalogue.shards import rows_in
from merkit.engine.errors import MerError
from merkit.engine.files import Disk
from merkit.engine.outputs.tagging.tag_run import Outcome, TagOptions, tag_songs
from merkit.engine.outputs.tagging.undo_file import Facts, Record, UndoFile
from merkit.engine.outputs.tagging.undo_run import undo_tags

pytest.importorskip("mutagen")


class FastDisk(Disk):
    def sync(self, file: IO[bytes]) -> None:
        file.flush()


def song(path: Path, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = write_audio(path.parent / "plain.flac", noise(seconds, 16_000), 16_000)
    plain.rename(path)
    return path


def swap(one: Path, other: Path) -> None:
    between = one.with_name("swapped")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def tag(labels: Path, **options: Any) -> list[Outcome]:
    return [each.outcome for each in tag_songs(labels, TagOptions(**{"write": True, **options}))]


def undo(labels: Path) -> list[Outcome]:
    said = [each.outcome for each in undo_tags(labels)]
    assert [each.outcome for each in undo_tags(labels, write=True)] == said
    return said


def has_undo(labels: Path) -> bool:
    return (labels / ".undo.jsonl").exists()


@pytest.mark.parametrize("touch", [False, True])
def test_a_time_that_rows_cannot_hold(tmp_path: Path, touch: bool) -> None:
    """After 2262: rows have the last nanosecond of 64 bits."""
    path, most = song(tmp_path / "a.flac"), (1 << 63) - 1
    os.utime(path, ns=(10**19, 10**19))
    if path.stat().st_mtime_ns != 10**19:
        pytest.skip("this disk has no such time either")
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path, mtime_ns=most)])
    assert tag(labels, touch=touch) == [Outcome.WRITTEN]
    (row,) = rows_in(labels)
    assert (row["size_bytes"], row["mtime_ns"] == most) == (path.stat().st_size, not touch)
    assert tag(labels) == [Outcome.SAME]
    assert undo(labels) == [Outcome.WRITTEN]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, 10**19)
    (row,) = rows_in(labels)
    assert (row["size_bytes"], row["mtime_ns"]) == (len(before), most)


def test_what_failed_once_is_undone_by_the_next(tmp_path: Path) -> None:
    """Of a file that has its first bytes again the time is left, which its records know."""
    from mutagen.flac import FLAC

    path = song(tmp_path / "a.flac")
    FLAC(path).save(padding=lambda _: 4_096)
    os.utime(path, ns=(10**18, 10**18))
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    assert tag(labels, touch=True) == [Outcome.WRITTEN]
    write_labels(labels, [row_of(path, None, verdict="not_music")])
    assert tag(labels) == [Outcome.REMOVED]
    assert path.read_bytes() == before
    path.chmod(0o444)
    assert [each.outcome for each in undo_tags(labels, write=True)] == [Outcome.FAILED]
    path.chmod(0o644)
    assert undo(labels) == [Outcome.WRITTEN]
    assert path.stat().st_mtime_ns == 10**18
    assert not has_undo(labels)


def test_a_link_that_came_since_stays_one(tmp_path: Path) -> None:
    path = song(tmp_path / "music" / "a.flac")
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    other = tmp_path / "disk2" / "a.flac"
    other.parent.mkdir()
    path.rename(other)
    path.symlink_to(other)
    assert undo(labels) == [Outcome.WRITTEN]
    assert path.is_symlink()
    assert other.read_bytes() == before
    assert not has_undo(labels)


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Two files whose paths are the same text in rows."""
    names = [os.fsdecode(b"a\xe9.flac"), "a\\xe9.flac"]
    return [song(tmp_path / "music" / name, number + 1) for number, name in enumerate(names)]


def test_two_files_of_one_text(two: list[Path], tmp_path: Path) -> None:
    before = [path.read_bytes() for path in two]
    labels = write_labels(tmp_path / "labels", [row_of(path) for path in two])
    assert tag(labels) == [Outcome.WRITTEN] * 2
    assert undo(labels) == [Outcome.WRITTEN] * 2
    assert [path.read_bytes() for path in two] == before
    assert not has_undo(labels)
    assert [row["size_bytes"] for row in rows_in(labels)] == [len(each) for each in before]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("is_away", [False, True])
def test_of_two_files_of_one_text_one_is_restored(
    two: list[Path], tmp_path: Path, number: int, is_away: bool
) -> None:
    before = [path.read_bytes() for path in two]
    labels = write_labels(tmp_path / "labels", [row_of(path) for path in two])
    tag(labels)
    tagged = two[number].read_bytes()
    if is_away:
        two[number].unlink()
    else:
        two[number].write_bytes(tagged + b"more")
    assert undo(labels) == [Outcome.WRITTEN, Outcome.MISSING if is_away else Outcome.CHANGED]
    assert two[1 - number].read_bytes() == before[1 - number]
    two[number].write_bytes(tagged)
    assert undo(labels) == [Outcome.WRITTEN]
    assert [path.read_bytes() for path in two] == before
    assert not has_undo(labels)


def test_what_was_changed_between_two_tags_keeps_the_first_record(tmp_path: Path) -> None:
    path = song(tmp_path / "a.flac")
    first = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    tagged = path.read_bytes()
    path.write_bytes(changed := song(tmp_path / "b.flac", 0.7).read_bytes())
    write_labels(labels, [row_of(path, "sad")])
    tag(labels)
    assert undo(labels) == [Outcome.EARLIER]
    assert path.read_bytes() == changed
    assert undo(labels) == [Outcome.CHANGED]
    path.write_bytes(tagged)
    assert undo(labels) == [Outcome.WRITTEN]
    assert path.read_bytes() == first


@pytest.mark.parametrize("rows", ["the old ones", "new ones", "both"])
def test_songs_that_moved_with_their_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str
) -> None:
    paths = [song(tmp_path / "old" / name, 0.5 + 0.1 * len(name)) for name in ("a.flac", "bb.flac")]
    before = [path.read_bytes() for path in paths]
    labels = write_labels(
        tmp_path / "old" / "labels", [{**row_of(path), "path": path.name} for path in paths]
    )
    tag(labels)
    old = [{**row, "path": f"old/{row['path']}"} for row in rows_in(labels)]
    (tmp_path / "old").rename(tmp_path / "new")
    labels = tmp_path / "new" / "labels"
    paths = [tmp_path / "new" / path.name for path in paths]
    if rows != "the old ones":
        new = [{**row_of(path), "path": f"new/{path.name}"} for path in paths]
        write_labels(labels, new, old if rows == "both" else [])
    monkeypatch.chdir(tmp_path / "new")
    assert undo(labels) == [Outcome.WRITTEN] * 2
    assert [path.read_bytes() for path in paths] == before
    assert [row["size_bytes"] for row in rows_in(labels)][:2] == [len(each) for each in before]
    assert has_undo(labels) == (rows == "both")  # what has moved may be a copy


@pytest.mark.parametrize("copy", [shutil.copy, shutil.copy2])
@pytest.mark.parametrize("beside", [False, True])
def test_a_copy_with_its_labels_is_undone_and_the_first_disk_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy: Any, beside: bool
) -> None:
    """Songs lie beside the labels, or in a folder of their own. One of the copies has changed, one went."""
    first, second = tmp_path / "first", tmp_path / "second"
    names = [name if beside else f"m/{name}" for name in ("a.flac", "bb.flac", "ccc.flac")]
    paths = [song(first / name, 0.5 + 0.1 * len(name)) for name in names]
    before = [path.read_bytes() for path in paths]
    monkeypatch.chdir(first)
    tag(write_labels(Path("labels"), [row_of(name) for name in names]))
    tagged = [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths]
    shutil.copytree(first, second, copy_function=copy)
    left = paths[0].with_name(f".{paths[0].name}.0.part")
    left.write_text("of a run on the first disk")
    monkeypatch.chdir(second)
    (second / names[1]).write_bytes(tagged[1][0] + b"more")
    (second / names[2]).unlink()
    assert undo(Path("labels")) == [Outcome.WRITTEN, Outcome.CHANGED, Outcome.MISSING]
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths] == tagged
    assert (second / names[0]).read_bytes() == before[0]
    assert left.exists()
    assert has_undo(second / "labels")
    monkeypatch.chdir(first)
    assert undo(Path("labels")) == [Outcome.WRITTEN] * 3
    assert [path.read_bytes() for path in paths] == before
    assert not has_undo(first / "labels")
    assert not left.exists()


def test_a_working_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = song(tmp_path / "here" / "m" / "a.flac")
    before = path.read_bytes()
    monkeypatch.chdir(tmp_path / "here")
    labels = write_labels(tmp_path / "labels", [row_of("m/a.flac")])
    tag(labels)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert undo(labels) == [Outcome.WRITTEN]
    assert path.read_bytes() == before


@pytest.mark.parametrize("is_copy", [False, True])
def test_a_folder_below_with_labels_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_copy: bool
) -> None:
    """It is part of the library, or what the library was copied from."""
    path = song(tmp_path / "below" / "a.flac")
    before = path.read_bytes()
    monkeypatch.chdir(path.parent)
    own = write_labels(Path("labels"), [row_of("a.flac")])
    if is_copy:
        tag(own)
        shutil.copytree(path.parent, tmp_path, dirs_exist_ok=True)
    else:
        (own / ".undo.jsonl").touch()
        tag(write_labels(tmp_path / "labels", [row_of(path)]))
        write_labels(tmp_path / "labels", [row_of(tmp_path / "below" / "away.flac")])
    tagged = path.read_bytes()
    monkeypatch.chdir(tmp_path)
    assert undo(Path("labels")) == [Outcome.WRITTEN]
    assert path.read_bytes() == (tagged if is_copy else before)
    assert not is_copy or Path("a.flac").read_bytes() == before


@pytest.mark.parametrize("same_time", [False, True])
def test_equal_files_that_moved_get_their_own_times_back(tmp_path: Path, same_time: bool) -> None:
    """They are told from each other by their times, or else by their names."""
    paths = [song(tmp_path / "old" / name) for name in ("one/a.flac", "two/b.flac")]
    paths[1].write_bytes(paths[0].read_bytes())
    times = [10**18, 10**18 if same_time else 2 * 10**18]
    for path, time in zip(paths, times, strict=True):
        os.utime(path, ns=(time, time))
    before = paths[0].read_bytes()
    labels = write_labels(
        tmp_path / "labels", [row_of(path, mtime_ns=path.stat().st_mtime_ns) for path in paths]
    )
    tag(labels)
    (tmp_path / "old").rename(tmp_path / "new")
    paths = [tmp_path / "new" / path.relative_to(tmp_path / "old") for path in paths]
    write_labels(labels, [row_of(path, mtime_ns=path.stat().st_mtime_ns) for path in paths])
    assert undo(labels) == [Outcome.WRITTEN] * 2
    assert [path.read_bytes() for path in paths] == [before] * 2
    assert [path.stat().st_mtime_ns for path in paths] == times
    assert not has_undo(labels)


def test_a_file_that_is_away_keeps_its_record(tmp_path: Path) -> None:
    path = song(tmp_path / "share" / "a.flac")
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    copy = tmp_path / "copy.flac"
    copy.write_bytes(path.read_bytes())
    write_labels(labels, [row_of(path), row_of(copy)])
    (tmp_path / "share").rename(tmp_path / "away")
    assert undo(labels) == [Outcome.WRITTEN]
    assert copy.read_bytes() == before
    assert undo(labels) == [Outcome.MISSING]
    (tmp_path / "away").rename(tmp_path / "share")
    assert undo(labels) == [Outcome.WRITTEN]
    assert path.read_bytes() == before
    assert [row["size_bytes"] for row in rows_in(labels)] == [len(before)] * 2
    assert not has_undo(labels)


def test_a_copy_that_never_was_tagged_drops_no_record(tmp_path: Path) -> None:
    from mutagen.flac import FLAC

    path = song(tmp_path / "a.flac")
    FLAC(path).save(padding=lambda _: 4_096)
    copy = tmp_path / "copy.flac"
    copy.write_bytes(path.read_bytes())
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    assert path.stat().st_size == copy.stat().st_size
    write_labels(labels, [row_of(copy)])
    path.rename(away := tmp_path / "away")
    assert undo(labels) == [Outcome.MISSING]
    away.rename(path)
    assert undo(labels) == [Outcome.WRITTEN]
    assert path.read_bytes() == copy.read_bytes()


def test_a_file_with_a_record_of_its_own_is_not_taken(tmp_path: Path) -> None:
    path = song(tmp_path / "a.flac")
    same = tmp_path / "b.flac"
    same.write_bytes(path.read_bytes())
    labels = write_labels(tmp_path / "labels", [row_of(path), row_of(same)])
    tag(labels)
    path.rename(away := tmp_path / "away")
    assert undo(labels) == [Outcome.WRITTEN, Outcome.MISSING]
    away.rename(path)
    assert undo(labels) == [Outcome.WRITTEN]


@pytest.mark.parametrize("same", ["nothing", "times", "sizes and times"])
def test_songs_that_got_the_names_of_others(tmp_path: Path, same: str) -> None:
    """As of an album into which a track was put, or of which two were swapped."""
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        write_audio(path, noise(0.5 + 0.1 * number * (same == "times"), 16_000, number), 16_000)
        time = 10**18 + (number if same == "nothing" else 0)
        os.utime(path, ns=(time, time))
    before = [path.read_bytes() for path in paths]
    labels = write_labels(tmp_path / "labels", [row_of(path) for path in paths])
    assert tag(labels) == [Outcome.WRITTEN] * 3
    paths[2].rename(tmp_path / "3.wav")
    paths[1].rename(tmp_path / "swapped")
    paths[0].rename(paths[1])
    (tmp_path / "swapped").rename(paths[2])
    write_audio(paths[0], noise(0.5, 16_000, seed=9), 16_000)
    new, now = paths[0].read_bytes(), [*paths, tmp_path / "3.wav"]
    write_labels(labels, [row_of(path) for path in now])
    assert undo(labels) == [Outcome.WRITTEN] * 3
    assert [path.read_bytes() for path in now] == [new, *before]
    for row, path in zip(rows_in(labels), now, strict=True):
        assert (row["size_bytes"], row["mtime_ns"]) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert undo(labels) == [Outcome.SAME] * 3
    assert tag(labels) == [Outcome.WRITTEN] * 4
    assert undo(labels) == [Outcome.WRITTEN] * 4
    assert [path.read_bytes() for path in now] == [new, *before]


def test_no_file_gets_the_bytes_of_another(tmp_path: Path) -> None:
    """A file of the size and time of one that is looked for, with its name."""
    path = song(tmp_path / "a.flac")
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    status = path.stat()
    path.unlink()
    other = tmp_path / "other" / "a.flac"
    other.parent.mkdir()
    other.write_bytes(os.urandom(status.st_size))
    os.utime(other, ns=(status.st_mtime_ns, status.st_mtime_ns))
    before = other.read_bytes()
    write_labels(labels, [row_of(other)])
    assert undo(labels) == [Outcome.MISSING]
    assert other.read_bytes() == before


def test_files_of_one_size_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from merkit.engine.outputs.tagging import undo_run

    paths = [song(tmp_path / f"{number}.flac") for number in range(4)]
    labels = write_labels(tmp_path / "labels", [row_of(path) for path in paths])
    tag(labels)
    size = paths[0].stat().st_size
    others = [tmp_path / f"other{number}" for number in range(3)]
    for path in paths:
        path.unlink()
    for path in others:
        path.write_bytes(os.urandom(size))
    write_labels(labels, [row_of(path) for path in others])
    read = []
    digest_of = undo_run.digest_of
    monkeypatch.setattr(undo_run, "digest_of", lambda file: read.append(file.name) or digest_of(file))
    assert [each.outcome for each in undo_tags(labels)] == [Outcome.MISSING] * 4
    assert sorted(read) == [str(path) for path in others]


@pytest.mark.parametrize("is_back", [False, True])
def test_a_file_that_was_tagged_in_two_places_gets_all_back(tmp_path: Path, is_back: bool) -> None:
    old, new = tmp_path / "old" / "a.flac", tmp_path / "new" / "a.flac"
    before, time = song(old).read_bytes(), old.stat().st_mtime_ns
    labels = write_labels(tmp_path / "labels", [row_of(old)])
    tag(labels, touch=True)
    (tmp_path / "old").rename(tmp_path / "new")
    write_labels(labels, [row_of(new, "sad")])
    tag(labels, touch=True)
    if is_back:
        (tmp_path / "new").rename(tmp_path / "old")
        write_labels(labels, [row_of(old, "angry")])
        tag(labels, touch=True)
    assert undo(labels) == [Outcome.WRITTEN]
    now = old if is_back else new
    assert (now.read_bytes(), now.stat().st_mtime_ns) == (before, time)
    assert [(row["size_bytes"], row["mtime_ns"]) for row in rows_in(labels)] == [(len(before), time)]
    assert not has_undo(labels)


def test_a_mood_that_came_again_in_another_place(tmp_path: Path) -> None:
    """The bytes that the first record is of are also those of the last one, which is undone by then."""
    old, new = tmp_path / "old.wav", tmp_path / "new.wav"
    before = write_audio(old, noise(0.5, 16_000), 16_000).read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(old)])
    tag(labels)
    tagged = old.read_bytes()
    old.rename(new)
    for emotion in ("sad", "happy"):
        write_labels(labels, [row_of(new, emotion)])
        assert tag(labels) == [Outcome.WRITTEN]
    assert new.read_bytes() == tagged
    assert undo(labels) == [Outcome.WRITTEN]
    assert new.read_bytes() == before
    assert not has_undo(labels)


def test_what_other_labels_wrote_meanwhile_is_told(tmp_path: Path) -> None:
    path = song(tmp_path / "a.flac")
    before = path.read_bytes()
    labels, others = (write_labels(tmp_path / name, [row_of(path, name)]) for name in ("happy", "sad"))
    tag(labels)
    write_labels(others, [row_of(path, "sad")])
    tag(others)
    write_labels(labels, [row_of(path)])
    tag(labels)
    assert undo(labels) == [Outcome.EARLIER]
    assert undo(labels) == [Outcome.CHANGED]
    assert undo(others) == [Outcome.WRITTEN]
    assert undo(labels) == [Outcome.WRITTEN]
    assert path.read_bytes() == before


def test_a_record_goes_once_no_row_names_the_old_place(tmp_path: Path) -> None:
    path = song(tmp_path / "old" / "a.flac")
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    (row,) = rows_in(labels)
    (tmp_path / "old").rename(tmp_path / "new")
    path = tmp_path / "new" / "a.flac"
    write_labels(labels, [row, row_of(path)])
    assert undo(labels) == [Outcome.WRITTEN]
    assert path.read_bytes() == before
    assert undo(labels) == [Outcome.MISSING]
    write_labels(labels, [row_of(path)])
    assert undo(labels) == [Outcome.SAME]
    assert not has_undo(labels)


def test_no_shards_are_needed(tmp_path: Path) -> None:
    paths = [song(tmp_path / "a.flac"), song(tmp_path / "b.flac", 0.7)]
    before = paths[0].read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path) for path in paths])
    tag(labels)
    (labels / "part-000000.parquet").unlink()
    paths[1].unlink()
    assert undo(labels) == [Outcome.WRITTEN, Outcome.MISSING]
    assert paths[0].read_bytes() == before
    assert has_undo(labels)


def test_the_line_of_a_damaged_record_is_said(tmp_path: Path) -> None:
    paths = [song(tmp_path / "a.flac"), song(tmp_path / "b.flac", 0.7)]
    labels = write_labels(tmp_path / "labels", [row_of(path) for path in paths])
    tag(labels)
    file = labels / ".undo.jsonl"
    first, second = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(first + second[:20] + b"\n")
    with pytest.raises(MerError, match=r"is damaged in line 2: .*\. Move that line to a file elsewhere: "):
        list(undo_tags(labels, write=True))
    file.write_bytes(first)
    assert undo(labels) == [Outcome.WRITTEN]
    file.write_bytes(first.replace(b'"format": 1', b'"format": 9'))
    with pytest.raises(MerError, match="was written by another version of merkit"):
        list(undo_tags(labels))


@pytest.mark.parametrize("what", ["damaged", "gone"])
def test_without_all_rows_no_record_goes(tmp_path: Path, what: str) -> None:
    path = song(tmp_path / "share" / "a.flac")
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    copy = tmp_path / "copy.flac"
    copy.write_bytes(path.read_bytes())
    write_labels(labels, [row_of(copy)], [row_of(path)])
    (tmp_path / "share").rename(tmp_path / "away")
    assert undo(labels) == [Outcome.WRITTEN]
    shards = {shard: shard.read_bytes() for shard in labels.glob("*.parquet")}
    for shard, data in shards.items():
        if what == "gone":
            shard.unlink()
        elif shard.name.endswith("1.parquet"):
            shard.write_bytes(data[: len(data) // 2])
    assert undo(labels) == [Outcome.MISSING]
    for shard, data in shards.items():
        shard.write_bytes(data)
    (tmp_path / "away").rename(tmp_path / "share")
    assert undo(labels) == [Outcome.WRITTEN]
    assert path.read_bytes() == before
    assert not has_undo(labels)


def test_a_later_step_that_fails_is_told(tmp_path: Path) -> None:
    """The first step of the same file was done: it is told once, as what is left to do."""
    old, new = song(tmp_path / "old" / "a.flac"), tmp_path / "new" / "a.flac"
    before = old.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(old)])
    tag(labels)
    file = labels / ".undo.jsonl"
    record = json.loads(file.read_bytes())
    file.write_text(json.dumps({**record, "pieces": record["pieces"][:-1]}) + "\n")
    (tmp_path / "old").rename(tmp_path / "new")
    write_labels(labels, [row_of(new, "sad")])
    tag(labels)
    assert [each.outcome for each in undo_tags(labels, write=True)] == [Outcome.FAILED]
    assert [each.outcome for each in undo_tags(labels, write=True)] == [Outcome.FAILED]
    file.write_text(json.dumps(record) + "\n" + file.read_text().partition("\n")[2])
    assert undo(labels) == [Outcome.WRITTEN]
    assert new.read_bytes() == before


def test_what_was_changed_is_told_though_a_copy_of_before_it_is_restored(tmp_path: Path) -> None:
    from mutagen.flac import FLAC

    path, copy = song(tmp_path / "a.flac"), tmp_path / "backup" / "a.flac"
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    tagged = path.read_bytes()
    copy.parent.mkdir()
    copy.write_bytes(tagged)
    changed = FLAC(path)
    changed["comment"] = "mine"
    changed.save()
    write_labels(labels, [row_of(path), row_of(copy)])
    assert undo(labels) == [Outcome.WRITTEN, Outcome.CHANGED]
    assert copy.read_bytes() == before
    assert undo(labels) == [Outcome.CHANGED]
    write_labels(labels, [row_of(copy)])
    assert undo(labels) == [Outcome.CHANGED]
    path.write_bytes(tagged)
    assert undo(labels) == [Outcome.WRITTEN]
    assert path.read_bytes() == before
    assert not has_undo(labels)


def test_the_newest_file_goes_before_a_likelier_one(tmp_path: Path) -> None:
    """A backup of before the last mood has the old name still."""
    path, copy = song(tmp_path / "m" / "a.flac"), tmp_path / "backup" / "a.flac"
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    copy.parent.mkdir()
    shutil.copy2(path, copy)
    write_labels(labels, [row_of(path, "sad")])
    tag(labels)
    path = path.rename(path.with_name("01 a.flac"))
    write_labels(labels, [row_of(path, "sad"), row_of(copy)])
    assert undo(labels) == [Outcome.WRITTEN] * 2
    assert [path.read_bytes(), copy.read_bytes()] == [before] * 2
    assert not has_undo(labels)


def test_equal_songs_of_two_moods_that_were_swapped(tmp_path: Path) -> None:
    """One that was restored has the bytes of before of the other's record."""
    paths = [song(tmp_path / f"{number}.flac") for number in range(2)]
    before = paths[0].read_bytes()
    paths[1].write_bytes(before)
    emotions = ("happy", "sad")
    rows = [row_of(path, emotion) for path, emotion in zip(paths, emotions, strict=True)]
    labels = write_labels(tmp_path / "labels", rows)
    tag(labels)
    swap(paths[0], paths[1])
    write_labels(labels, [row_of(path) for path in paths])
    assert undo(labels) == [Outcome.WRITTEN] * 2
    assert [path.read_bytes() for path in paths] == [before] * 2


def test_a_stop_keeps_what_another_file_of_the_same_bytes_needs(tmp_path: Path) -> None:
    path, copies = song(tmp_path / "a.flac"), [tmp_path / "m" / "a.flac", tmp_path / "m" / "b.flac"]
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    copies[0].parent.mkdir()
    for copy in copies:
        shutil.copy2(path, copy)
    path.unlink()
    write_labels(labels, [row_of(copy) for copy in copies])
    steps = undo_tags(labels, write=True)
    assert next(steps).path == str(copies[0])
    steps.close()
    assert [each.path for each in undo_tags(labels, write=True)] == [str(copies[1])]
    assert [copy.read_bytes() for copy in copies] == [before] * 2
    assert not has_undo(labels)


@pytest.mark.parametrize("count", [50, 200])
def test_the_search_looks_at_each_file_of_a_size_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    paths = [tmp_path / f"{number}.mp3" for number in range(count)]
    labels = tmp_path / "labels"
    labels.mkdir()
    records = UndoFile(labels, FastDisk())
    for number, path in enumerate(paths):
        path.write_bytes(f"{number:09}".encode())
        after = Facts(9, path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        records.append(Record(f"/old/{number}.mp3", Facts(0, 0, hashlib.sha256().hexdigest()), after, []))
    write_labels(labels, [row_of(path) for path in paths])
    asked = []
    of = RealPaths.of
    monkeypatch.setattr(RealPaths, "of", lambda self, path: asked.append(path) or of(self, path))
    done = undo_tags(labels, write=True, disk=FastDisk())
    assert {each.path for each in done if each.outcome is Outcome.WRITTEN} == {*map(str, paths)}
    assert not has_undo(labels)
    assert len(asked) <= 2 * count


def test_equal_files_that_swapped_names_get_their_own_times_back(tmp_path: Path) -> None:
    paths = [song(tmp_path / name) for name in ("a.flac", "b.flac")]
    for path, time in zip(paths, (10**18, 2 * 10**18), strict=True):
        os.utime(path, ns=(time, time))
    labels = write_labels(tmp_path / "labels", [row_of(path) for path in paths])
    tag(labels)
    swap(paths[0], paths[1])
    write_labels(labels, [row_of(path) for path in paths])
    assert undo(labels) == [Outcome.WRITTEN] * 2
    assert [path.stat().st_mtime_ns for path in paths] == [2 * 10**18, 10**18]
    assert not has_undo(labels)


def test_a_copy_that_is_away_keeps_the_records_that_lead_on(tmp_path: Path) -> None:
    path, copy = song(tmp_path / "a.flac"), tmp_path / "share" / "a.flac"
    before = path.read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    copy.parent.mkdir()
    shutil.copy2(path, copy)
    write_labels(labels, [row_of(copy, "sad"), row_of(path)])
    tag(labels)
    copy.parent.rename(away := tmp_path / "away")
    assert undo(labels) == [Outcome.WRITTEN, Outcome.MISSING]
    away.rename(copy.parent)
    assert undo(labels) == [Outcome.WRITTEN, Outcome.SAME]
    assert [path.read_bytes(), copy.read_bytes()] == [before] * 2
    assert not has_undo(labels)


def test_a_mood_that_went_is_no_past_of_an_equal_file(tmp_path: Path) -> None:
    """A file with room for tags gets its bytes back when its mood goes: they are those of its copies, too."""
    from mutagen.flac import FLAC

    paths, times = [song(tmp_path / name) for name in ("a.flac", "b.flac")], [10**18, 2 * 10**18]
    for path, time in zip(paths, times, strict=True):
        file = FLAC(path)
        file["title"] = "a song"
        file.save(padding=lambda _: 4_096)
        os.utime(path, ns=(time, time))
    before = paths[0].read_bytes()
    labels = write_labels(tmp_path / "labels", [row_of(paths[0])])
    tag(labels)
    write_labels(labels, [row_of(paths[0], None, verdict="not_music")])
    tag(labels, touch=True)
    assert paths[0].read_bytes() == before
    write_labels(labels, [row_of(paths[0], None, verdict="not_music"), row_of(paths[1])])
    tag(labels)
    assert undo(labels) == [Outcome.WRITTEN] * 2
    assert [path.read_bytes() for path in paths] == [before] * 2
    assert [path.stat().st_mtime_ns for path in paths] == times
    assert not has_undo(labels)
