import json
import multiprocessing
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from failing_disk import FailingDisk
from merkit.engine.artifact import Artifact, open_artifact
from merkit.engine.catalogue import replacements
from merkit.engine.catalogue import shards as shards_module
from merkit.engine.catalogue.copied_rows import copy_rows
from merkit.engine.catalogue.input_store import InputStore
from merkit.engine.catalogue.resume import Resume
from merkit.engine.catalogue.row_file import RowFile
from merkit.engine.catalogue.rows import columns_of_rows, row_from_label, size_of_row
from merkit.engine.catalogue.run_info import KEY, RunInfo, run_info
from merkit.engine.catalogue.shards import ShardFolder, fields_of_folder, shards_in
from merkit.engine.catalogue.source import Place, Source
from merkit.engine.errors import MerError
from merkit.engine.files import Disk
from merkit.engine.labelling.file_windows import WindowOptions
from merkit.engine.labelling.song_label import SongLabel
from merkit.engine.signals import sigterm_interrupts

SONGS = [Source(f"{i:03}.mp3", 1_000 + i, 10**18 + i) for i in range(95)]


@pytest.fixture
def artifact(tiny_model: Path) -> Artifact:
    return open_artifact(str(tiny_model))


@pytest.fixture
def info(artifact: Artifact) -> RunInfo:
    return run_info(artifact, "null", WindowOptions(artifact.spec.audio))


def row(source: Source, artifact: Artifact) -> dict:
    share = (sum(os.fsencode(source.path)) % 97) / 97
    windows = ((0.0, (share, 1 - share, 0.0, 0.0)),)
    error = "no song" if source.path.startswith("bad") else None
    label = SongLabel(source.path, error, None if error else "happy", windows[0][1], 12.3, windows)
    return row_from_label(label, artifact, source)


def run(
    folder: Path, info: RunInfo, artifact: Artifact, sources: list[Source], disk: Disk | None = None, **more
) -> tuple[int, int]:
    """(rows written, those of them in the place of an earlier one)"""
    with ShardFolder(folder, info, disk, rows_a_shard=10) as shards, InputStore(sources) as inputs:
        shards.resume(Resume(inputs, own=frozenset(columns_of_rows(info.labels)), **more))
        places = []
        for item in inputs.pending():
            shards.write(row(item.source, artifact), item.place)
            places.append(item.place)
    return len(places), sum(place is not None for place in places)


def paths(folder: Path) -> list[str]:
    return [row["path"] for path in shards_in(folder) for row in pq.ParquetFile(path).read().to_pylist()]


def test_same_inputs_same_bytes(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    for name in ("a", "b"):
        assert run(tmp_path / name, info, artifact, SONGS) == (95, 0)
        assert paths(tmp_path / name) == [source.path for source in SONGS]
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert not (tmp_path / "a" / ".lock").read_bytes()  # polars reads a folder whose other files are empty
    assert names == [".lock", *(f"part-{i:06}.parquet" for i in range(10))]
    for name in names[1:]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert pq.ParquetFile(tmp_path / "a" / names[1]).metadata.row_group(0).column(0).compression == "ZSTD"


def test_resuming_skips_redoes_and_adds(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    run(tmp_path / "a", info, artifact, SONGS[:30])
    assert run(tmp_path / "a", info, artifact, SONGS[:30]) == (0, 0)
    changed = [Source("000.mp3", 5, 6), Source("011.mp3", 1_011, 7), *SONGS[2:11], *SONGS[12:50]]
    assert run(tmp_path / "a", info, artifact, changed) == (22, 2)
    assert Counter(paths(tmp_path / "a")) == Counter(source.path for source in [*changed, SONGS[1]])
    rows = {row["path"]: row for path in shards_in(tmp_path / "a") for row in pq.read_table(path).to_pylist()}
    assert (rows["000.mp3"]["size_bytes"], rows["011.mp3"]["mtime_ns"]) == (5, 7)


def test_rows_of_changed_files_are_replaced_where_they_are(
    tmp_path: Path, info: RunInfo, artifact: Artifact
) -> None:
    run(tmp_path / "a", info, artifact, SONGS[:20])
    changed = [*(Source(source.path, 1, 2) for source in SONGS[:10]), *SONGS[10:20]]
    assert run(tmp_path / "a", info, artifact, changed) == (10, 10)
    assert paths(tmp_path / "a") == [source.path for source in SONGS[:20]]
    assert len(shards_in(tmp_path / "a")) == 2


def test_small_runs_do_not_leave_a_shard_each(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    for end in range(1, 26):
        assert run(tmp_path / "a", info, artifact, SONGS[:end]) == (1, 0)
        assert paths(tmp_path / "a") == [source.path for source in SONGS[:end]]
    run(tmp_path / "b", info, artifact, SONGS[:25])
    assert [path.name for path in shards_in(tmp_path / "a")] == [
        path.name for path in shards_in(tmp_path / "b")
    ]
    for path in shards_in(tmp_path / "a"):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    full = [path.stat().st_ino for path in shards_in(tmp_path / "a")[:2]]
    run(tmp_path / "a", info, artifact, SONGS[:45])  # a shard of ten, and one of the rest
    assert [pq.ParquetFile(path).metadata.num_rows for path in shards_in(tmp_path / "a")] == [
        10,
        10,
        5,
        10,
        10,
    ]
    assert [path.stat().st_ino for path in shards_in(tmp_path / "a")[:2]] == full


def test_rows_that_join_a_shard_of_which_some_are_replaced_or_go(
    tmp_path: Path, info: RunInfo, artifact: Artifact
) -> None:
    with ShardFolder(tmp_path / "a", info, rows_a_shard=10) as shards:
        for source in SONGS[:4]:
            shards.write(row(source, artifact))
    with ShardFolder(tmp_path / "a", info, rows_a_shard=10) as shards:
        shards._superseded[shards_in(tmp_path / "a")[0]].add(1)
        shards.write(row(SONGS[4], artifact))
        shards.write({"size_bytes": 7}, Place(0, 3))
        shards.write({"size_bytes": 8}, Place(0, 0))
    (path,) = shards_in(tmp_path / "a")
    assert [(row["path"], row["size_bytes"]) for row in pq.ParquetFile(path).read().to_pylist()] == [
        ("000.mp3", 8), ("002.mp3", 1_002), ("003.mp3", 7), ("004.mp3", 1_004),
    ]  # fmt: skip


@pytest.mark.parametrize("why", ["linked", "of other options", "damaged", "long", "away"])
def test_a_last_shard_that_takes_no_rows(
    why: str, tmp_path: Path, info: RunInfo, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "a", info, artifact, SONGS[:12])
    last = shards_in(tmp_path / "a")[1]
    if why == "of other options":
        other = run_info(artifact, "null", WindowOptions(artifact.spec.audio, windows="all"))
        run(tmp_path / "b", other, artifact, SONGS[10:12])
        (tmp_path / "b" / "part-000000.parquet").rename(last)
    elif why == "linked":
        last.rename(tmp_path / "elsewhere")
        last.symlink_to(tmp_path / "elsewhere")
    elif why == "long":
        monkeypatch.setattr(shards_module, "MOST_BYTES", 3 * size_of_row(row(SONGS[0], artifact)))
    with ShardFolder(tmp_path / "a", info, rows_a_shard=10) as shards:
        if why == "damaged":
            last.write_bytes(b"PAR1" + bytes(99))
        elif why == "away":
            last.unlink()
        before = last.read_bytes() if why != "away" else b""
        shards.write(row(SONGS[12], artifact))
    assert not last.exists() if why == "away" else last.read_bytes() == before
    assert last.is_symlink() == (why == "linked")
    assert pq.ParquetFile(tmp_path / "a" / "part-000002.parquet").read()["path"].to_pylist() == ["012.mp3"]


def test_a_disk_that_fails_keeps_the_shard_that_new_rows_join(
    tmp_path: Path, info: RunInfo, artifact: Artifact
) -> None:
    run(tmp_path / "a", info, artifact, SONGS[:3])
    (path,) = shards_in(tmp_path / "a")
    before = path.read_bytes()
    for kind in ("create", "write", "sync", "replace"):
        with pytest.raises(MerError, match=r"part-000001\.parquet cannot be written"):
            run(tmp_path / "a", info, artifact, SONGS[:4], FailingDisk(kind, 1, always=True))
        assert path.read_bytes() == before
        assert shards_in(tmp_path / "a") == [path]
    assert run(tmp_path / "a", info, artifact, SONGS[:4]) == (1, 0)
    assert paths(tmp_path / "a") == [source.path for source in SONGS[:4]]


@pytest.mark.parametrize("kind", ["create", "write", "sync", "replace"])
def test_rows_that_cannot_join_the_last_shard_get_one_of_their_own(
    kind: str, tmp_path: Path, info: RunInfo, artifact: Artifact
) -> None:
    """A disk has no room for a shard twice; in a shared, sticky folder another user's cannot be replaced."""
    run(tmp_path / "a", info, artifact, SONGS[:3])
    (path,) = shards_in(tmp_path / "a")
    before = path.read_bytes()
    assert run(tmp_path / "a", info, artifact, SONGS[:4], FailingDisk(kind, 1)) == (1, 0)
    assert (path.read_bytes(), len(shards_in(tmp_path / "a"))) == (before, 2)
    assert paths(tmp_path / "a") == [source.path for source in SONGS[:4]]
    assert run(tmp_path / "a", info, artifact, SONGS[:4]) == (0, 0)


def test_errors_are_tried_again_when_asked(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    sources = [*SONGS[:12], Source("bad.mp3", 3, 4), Source("bad missing.mp3")]
    run(tmp_path / "a", info, artifact, sources)
    assert run(tmp_path / "a", info, artifact, sources) == (0, 0)
    assert run(tmp_path / "a", info, artifact, SONGS[:12], retry_errors=True) == (0, 0)  # not named now
    assert paths(tmp_path / "a") == [source.path for source in sources]
    assert run(tmp_path / "a", info, artifact, sources, retry_errors=True) == (2, 2)
    assert Counter(paths(tmp_path / "a")) == Counter(source.path for source in sources)


def test_one_file_is_one_row(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    assert run(tmp_path / "a", info, artifact, [SONGS[0], SONGS[1]]) == (2, 0)
    again = [SONGS[0], SONGS[1], SONGS[0], Source(os.path.abspath("001.mp3"), 1_001, 10**18 + 1)]
    assert run(tmp_path / "a", info, artifact, again) == (0, 0)
    assert paths(tmp_path / "a") == ["000.mp3", "001.mp3"]


def test_names_that_are_no_utf8_resume(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    odd = [Source(os.fsdecode(b"caf\xe9.mp3"), 1, 2), Source("caf\\xe9.mp3", 1, 3)]
    assert run(tmp_path / "a", info, artifact, odd) == (2, 0)
    assert run(tmp_path / "a", info, artifact, odd) == (0, 0)


def test_other_options_are_refused(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    run(tmp_path / "a", info, artifact, SONGS[:3])
    before = (tmp_path / "a" / "part-000000.parquet").read_bytes()
    other = run_info(artifact, "null", WindowOptions(artifact.spec.audio, windows="all"), {"isrc": "string"})
    with pytest.raises(
        MerError, match=r"columns of the table.*; windows 3, now all\. Write to another folder, or delete"
    ):
        ShardFolder(tmp_path / "a", other)
    assert (tmp_path / "a" / "part-000000.parquet").read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(MerError, match="holds other files"):
        ShardFolder(tmp_path / "mine", info)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_damaged_shard_is_named(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    run(tmp_path / "a", info, artifact, SONGS[:30])
    shard = tmp_path / "a" / "part-000001.parquet"
    shard.write_bytes(shard.read_bytes()[:500])
    with pytest.raises(MerError, match=r"part-000001\.parquet is damaged .*delete it and run again"):
        run(tmp_path / "a", info, artifact, SONGS[:30])
    shard.unlink()
    assert run(tmp_path / "a", info, artifact, SONGS[:30]) == (10, 0)
    assert Counter(paths(tmp_path / "a")) == Counter(source.path for source in SONGS[:30])


def _hold(folder: Path, info: RunInfo, ready, leave) -> None:
    with ShardFolder(folder, info):
        ready.set()
        leave.wait(60)


def test_two_runs_at_once_and_a_killed_one(tmp_path: Path, info: RunInfo) -> None:
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    info = RunInfo(info.labels, {}, dict(info.decides))  # a mappingproxy cannot be sent
    other = context.Process(target=_hold, args=(tmp_path / "a", info, ready, leave))
    other.start()
    assert ready.wait(60)
    with pytest.raises(MerError, match=rf"in use by another run \(process {other.pid}\)"):
        ShardFolder(tmp_path / "a", info)
    other.kill()
    other.join()
    (tmp_path / "a" / ".part-000000.parquet.77.part").touch()
    with ShardFolder(tmp_path / "a", info):
        assert not list((tmp_path / "a").glob(".part*"))


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("kind", ["create", "write", "sync", "replace"])
@pytest.mark.parametrize("nth", [1, 2, 4])
def test_a_failing_disk(
    tmp_path: Path, info: RunInfo, artifact: Artifact, kind: str, nth: int, always: bool
) -> None:
    folder = tmp_path / "a"
    with pytest.raises(MerError, match=r"cannot be written: No space left on device.* run the same command"):
        run(folder, info, artifact, SONGS, FailingDisk(kind, nth, always))
    assert paths(folder) == [source.path for source in SONGS[: 10 * (nth - 1)]]
    assert [path.name for path in folder.iterdir() if path.name.endswith(".part")] == []
    run(folder, info, artifact, SONGS)
    assert paths(folder) == [source.path for source in SONGS]


@pytest.mark.parametrize("kind", ["create", "write", "sync", "replace"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_disk_that_fails_while_rows_are_replaced(
    tmp_path: Path, info: RunInfo, artifact: Artifact, kind: str, nth: int
) -> None:
    run(tmp_path / "a", info, artifact, SONGS[:30])
    again = [Source("000.mp3", 1, 1), *SONGS[1:20], Source("020.mp3", 1, 1), *SONGS[21:31]]
    with pytest.raises(MerError, match=r"part-00000\d\.parquet cannot be written"):
        run(tmp_path / "a", info, artifact, again, FailingDisk(kind, nth))
    written = paths(tmp_path / "a")
    assert written[:30] == [source.path for source in SONGS[:30]]
    assert len(written) in (30, 31)
    run(tmp_path / "a", info, artifact, again)
    assert paths(tmp_path / "a") == [source.path for source in SONGS[:31]]
    assert run(tmp_path / "a", info, artifact, again) == (0, 0)


def test_a_folder_that_goes_away_in_a_run(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    class Leaving(Disk):
        def create(self, path: Path) -> IO[bytes]:
            if path.parent.exists():
                path.parent.rename(tmp_path / "away")
            return super().create(path)

    with pytest.raises(
        MerError, match=r"/a cannot be written \(No such file or directory\), nor listed now: is"
    ):
        run(tmp_path / "a", info, artifact, SONGS, Leaving())


def test_a_folder_that_cannot_be_written(tmp_path: Path, info: RunInfo) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MerError, match=r"cannot be made: (File exists|Not a directory)"):
        ShardFolder(tmp_path / "file" / "a", info)
    if os.path.isdir("/proc"):
        with pytest.raises(MerError, match="cannot be made"):
            ShardFolder("/proc/labels", info)


def test_rows_outlive_a_failure_of_what_follows(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    def fail() -> None:
        with ShardFolder(tmp_path / "a", info) as shards:
            shards.write(row(SONGS[0], artifact))
            raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        fail()
    assert paths(tmp_path / "a") == ["000.mp3"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_an_export_equals_what_a_run_writes(
    tmp_path: Path, info: RunInfo, artifact: Artifact, suffix: str
) -> None:
    def rounded(source: Source) -> dict:
        changed = row(source, artifact)
        for name in ("confidence", "p_happy", "p_tense", "p_sad", "p_calm"):
            changed[name] = round(changed[name], 6)
        changed["windows"] = [{"start_s": 0.0, "p": [round(p, 6) for p in changed["windows"][0]["p"]]}]
        return changed

    with ShardFolder(tmp_path / "a", info, rows_a_shard=10) as shards:
        for source in SONGS:
            shards.write(rounded(source))
    with RowFile(tmp_path / f"direct.{suffix}", info) as direct:
        for source in SONGS:
            direct.write(rounded(source))
    assert copy_rows(tmp_path / "a", tmp_path / f"out.{suffix}") == 95
    if suffix == "parquet":
        assert pq.read_table(tmp_path / "out.parquet").equals(pq.read_table(tmp_path / "direct.parquet"))
    else:
        assert (tmp_path / f"out.{suffix}").read_bytes() == (tmp_path / f"direct.{suffix}").read_bytes()


def test_every_shard_says_what_decides(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    run(tmp_path / "a", info, artifact, SONGS)
    for path in shards_in(tmp_path / "a"):
        fields = json.loads((pq.read_schema(path).metadata or {})[KEY])
        assert fields["model_sha256"] == artifact.sha256
        assert (fields["windows"], fields["hop_s"], fields["runtime"]) == (3, None, "null")
    with pytest.raises(MerError, match="is no folder of labels: it holds no shards"):
        copy_rows(tmp_path, tmp_path / "out.csv")


@pytest.mark.parametrize("name", ["_run.json", "run.json"])
def test_folders_that_say_it_in_a_file(tmp_path: Path, info: RunInfo, artifact: Artifact, name: str) -> None:
    folder = tmp_path / "a"
    run(folder, info, artifact, SONGS[:40])
    for path in shards_in(folder):
        pq.write_table(pq.ParquetFile(path).read().replace_schema_metadata(None), path)
    (folder / name).write_text(info.to_json())
    assert copy_rows(folder, tmp_path / "out.csv") == 40
    other = RunInfo(info.labels, {}, {**info.decides, "windows": 9})
    with pytest.raises(MerError, match="begun with other options: windows 3, now 9"):
        run(folder, other, artifact, SONGS)
    assert run(folder, info, artifact, SONGS) == (55, 0)
    assert len(paths(folder)) == 95
    assert not (folder / name).exists()
    assert all(KEY in (pq.read_schema(path).metadata or {}) for path in shards_in(folder))


def test_a_shard_of_others_among_ours(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    """It is named, and nothing is touched."""
    folder, foreign = tmp_path / "a", tmp_path / "a" / "part-000001.parquet"
    other = RunInfo(info.labels, {"isrc": "string"}, {**info.decides, "windows": 9})
    run(tmp_path / "other", other, artifact, SONGS[:3])
    pq.write_table(pa.table({"path": ["x.mp3"], "rating": [5]}), tmp_path / "theirs.parquet")
    for content, said in (
        ((tmp_path / "theirs.parquet").read_bytes(), "is no shard of these labels: move it"),
        ((tmp_path / "other" / "part-000000.parquet").read_bytes(), "windows 9, now 3"),
        (b"PAR1 nonsense PAR1", "is damaged"),
    ):
        run(folder, info, artifact, SONGS[:3])
        foreign.write_bytes(content)
        for read in (lambda: run(folder, info, artifact, SONGS[:9]), lambda: copy_rows(folder, "-")):
            with pytest.raises(MerError, match=rf"part-000001\.parquet .*{said}"):
                read()
        assert foreign.read_bytes() == content
        foreign.unlink()
    pq.write_table(pa.table({"path": ["x.mp3"]}), folder / "part-0000001.parquet")  # not a name of ours
    assert run(folder, info, artifact, SONGS[:9]) == (6, 0)


@pytest.mark.parametrize("content", ["", "{}", "[1]", "\0", "[" * 100_000, '{"format": 1}', '{"format": 2}'])
def test_a_run_file_of_any_content(tmp_path: Path, info: RunInfo, artifact: Artifact, content: str) -> None:
    run(tmp_path / "a", info, artifact, SONGS[:3])
    (tmp_path / "a" / "run.json").write_text(content)
    for read in (
        lambda: run(tmp_path / "a", info, artifact, SONGS),
        lambda: copy_rows(tmp_path / "a", "-"),
    ):
        with pytest.raises(MerError, match=r"run\.json "):
            read()
    (tmp_path / "a" / "run.json").unlink()
    os.mkfifo(tmp_path / "a" / "run.json")
    with pytest.raises(MerError, match="not a regular file"):
        run(tmp_path / "a", info, artifact, SONGS)


@pytest.mark.parametrize(("name", "decoder"), [("libsndfile 1.2", "auto"), ("dali 2.4", "dali")])
def test_folders_that_do_not_say_the_decoder(
    tmp_path: Path, artifact: Artifact, name: str, decoder: Literal["auto", "dali"]
) -> None:
    """Their rows do. Rows of both never stand in one folder."""
    both: dict[str, RunInfo] = {
        each: run_info(artifact, "null", WindowOptions(artifact.spec.audio, decoder=each))
        for each in ("auto", "dali")
    }
    old = both[decoder]
    fields = {key: value for key, value in old.fields().items() if key != "decoder"} | {"format": 1}
    folder = tmp_path / "a"
    with ShardFolder(folder, old) as shards:
        shards.write({**row(Source("bad.mp3"), artifact), "decoder": None})
        shards.write({**row(SONGS[0], artifact), "decoder": name})
    (path,) = shards_in(folder)
    table = pq.ParquetFile(path).read()
    pq.write_table(table.replace_schema_metadata({KEY: json.dumps(fields)}), path)
    other = both["dali" if decoder == "auto" else "auto"]
    with pytest.raises(MerError, match=f"decoder {decoder}, now"):
        ShardFolder(folder, other)
    assert run(folder, old, artifact, SONGS[:2]) == (1, 0)
    assert json.loads(pq.read_schema(path).metadata[KEY]) == old.fields()  # sealed, and says it now
    assert copy_rows(folder, tmp_path / "out.csv") == 3


def test_shards_are_bounded_in_bytes(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    """Rows with long texts, or with the timeline of a day, do not wait in memory for the shard's end."""
    long = {"title": "x" * (8 << 20)}
    with ShardFolder(tmp_path / "a", info, rows_a_shard=1_000) as shards:
        for source in SONGS[:10]:
            shards.write({**row(source, artifact), **long})
        assert len(shards_in(tmp_path / "a")) == 2
    assert paths(tmp_path / "a") == [source.path for source in SONGS[:10]]
    with ShardFolder(tmp_path / "a", info, rows_a_shard=1_000) as shards, InputStore(SONGS[:10]) as inputs:
        shards.resume(Resume(inputs, own=frozenset(columns_of_rows(info.labels)), retry_errors=True))
        before = [path.stat().st_mtime_ns for path in shards_in(tmp_path / "a")]
        for number in range(5):
            shards.write({**row(SONGS[number], artifact), **long}, Place(0, number % 4))
        after = [path.stat().st_mtime_ns for path in shards_in(tmp_path / "a")]
    assert (before[0] != after[0], before[1:] == after[1:]) == (True, True)


class Counting(Disk):
    def __init__(self) -> None:
        self.files = 0

    def create(self, path: Path) -> IO[bytes]:
        self.files += 1
        return super().create(path)


@pytest.mark.parametrize("what", ["labels", "tags", "labels in order"])
def test_rows_are_replaced_many_a_shard(what: str, tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    """A shard was written again for nearly each row, where rows come in another order than shards have."""
    folder, sources = tmp_path / "a", [Source(f"{i:03}.mp3", 1, 1) for i in range(400)]
    run(folder, info, artifact, sources)
    places = [Place(i // 10, i % 10) for i in range(400)]
    if "order" not in what:
        random.Random(1).shuffle(places)
    disk = Counting()
    with ShardFolder(folder, info, disk, rows_a_shard=10) as shards:
        for shard, number in places:
            new = row(sources[shard * 10 + number], artifact) if "labels" in what else {}
            shards.write({**new, "title": "new"}, Place(shard, number))
    assert disk.files <= {"labels": 400 / 10 + 40, "tags": 40, "labels in order": 40}[what]
    assert paths(folder) == [source.path for source in sources]
    titles = [each["title"] for path in shards_in(folder) for each in pq.read_table(path).to_pylist()]
    assert titles == ["new"] * 400


def test_a_kill_leaves_each_row_once_while_some_wait(
    tmp_path: Path, info: RunInfo, artifact: Artifact
) -> None:
    class Killed(BaseException): ...

    def killed(songs: list[int]) -> None:
        with ShardFolder(tmp_path / "a", info, rows_a_shard=10) as shards:
            for number in songs:
                shards.write(row(changed[number], artifact), Place(number // 10, number % 10))
            raise Killed

    run(tmp_path / "a", info, artifact, SONGS)
    changed = [Source(source.path, 1, 2) for source in SONGS]
    order = [*random.Random(2).sample(range(40), 40), *range(40, 95, 6)]
    for kill in (3, 39, 45):
        with pytest.raises(Killed):
            killed(order[:kill])
        assert paths(tmp_path / "a") == [source.path for source in SONGS]
    assert run(tmp_path / "a", info, artifact, changed) == (55, 55)
    assert run(tmp_path / "a", info, artifact, changed) == (0, 0)


class Killed(BaseException): ...


def killed_after(folder: Path, info: RunInfo, changes: Iterable[tuple[dict, Place]]) -> list[str]:
    """The titles in a folder after a run that was killed when it had written these rows."""

    def work() -> None:
        with ShardFolder(folder, info, rows_a_shard=10) as shards:
            for change, place in changes:
                shards.write(change, place)
            raise Killed

    with pytest.raises(Killed):
        work()
    return [each["title"] for path in shards_in(folder) for each in pq.read_table(path).to_pylist()]


def test_tags_do_not_make_labels_wait(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    """Nor rows whose file went away again: there are ten labels for each shard that has some."""
    sources = [Source(f"{i:03}.mp3", 1, 1) for i in range(400)]
    run(tmp_path / "a", info, artifact, sources)
    tags = [({"title": "tags"}, Place(shard, 9)) for shard in range(2, 40)]
    away = [({"real_path": "/away"}, Place(shard, 8)) for shard in range(2, 40)]
    labels = [({**row(SONGS[i], artifact), "title": "new"}, Place(i // 10, i % 10)) for i in range(20)]
    titles = killed_after(tmp_path / "a", info, [*tags, *away, *labels])
    assert Counter(titles) == {None: 342, "new": 20, "tags": 38}


def test_labels_wait_ten_minutes_at_most(
    tmp_path: Path, info: RunInfo, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or runs that are killed every hour would never get on."""
    now = [0.0]
    monkeypatch.setattr(replacements.time, "monotonic", lambda: now[0])

    def changes() -> Iterator[tuple[dict, Place]]:
        for minute in range(25):
            now[0] = 60 * minute
            yield {**row(SONGS[minute], artifact), "title": str(minute)}, Place(minute % 5, minute // 5)

    run(tmp_path / "a", info, artifact, SONGS)
    titles = killed_after(tmp_path / "a", info, changes())
    assert {int(title) for title in titles if title} == set(range(22))  # at 10 and, from 11 on, 21


def test_a_signal_is_heard_between_two_shards(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    """2,000 of them take 40 s. What is finished is written all the same, whatever a second signal ends."""
    heard: list[int] = []

    class Interrupted(Counting):
        def create(self, path: Path) -> IO[bytes]:
            file = super().create(path)
            if self.files == 2:
                signal.raise_signal(signal.SIGINT)
            return file

    def work() -> None:
        with sigterm_interrupts(), ShardFolder(tmp_path / "a", info, disk, rows_a_shard=10) as shards:
            for number in range(50):
                place = Place(number % 5, number // 5)
                changed = {**row(SONGS[10 * place.shard + place.row], artifact), "title": "new"}
                try:
                    shards.write(changed, place)
                except KeyboardInterrupt:
                    heard.append(disk.files)
                    raise

    run(tmp_path / "a", info, artifact, SONGS)
    disk = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        work()
    assert (heard, disk.files) == ([2], 5)
    titles = [each["title"] for path in shards_in(tmp_path / "a") for each in pq.read_table(path).to_pylist()]
    assert Counter(titles) == {"new": 50, None: 45}


def test_a_shard_that_is_damaged_in_the_run_keeps_no_other_from_its_rows(
    tmp_path: Path, info: RunInfo, artifact: Artifact
) -> None:
    folder, disk = tmp_path / "a", Counting()
    run(folder, info, artifact, SONGS)

    def work() -> None:
        with ShardFolder(folder, info, disk, rows_a_shard=10) as shards:
            for number in (1, 3):
                (folder / f"part-00000{number}.parquet").write_bytes(b"PAR1 nonsense PAR1")
            for number in range(50):
                place = Place(number % 5, number // 5)
                shards.write({**row(SONGS[10 * place.shard + place.row], artifact), "title": "new"}, place)

    with pytest.raises(MerError, match=r"part-000001\.parquet is damaged"):
        work()
    assert disk.files == 3  # each once
    for number in (0, 2, 4):
        table = pq.read_table(folder / f"part-00000{number}.parquet")
        assert table["title"].to_pylist() == ["new"] * 10


def test_only_our_unfinished_files_are_removed(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    run(tmp_path / "a", info, artifact, SONGS[:3])
    for name in (".mine.part", ".part-000001.parquet.0a1b2c3d.part"):
        (tmp_path / "a" / name).touch()
    run(tmp_path / "a", info, artifact, SONGS[:3])
    assert sorted(path.name for path in (tmp_path / "a").glob(".*.part")) == [".mine.part"]


def test_a_folder_of_a_failed_run_can_be_used(tmp_path: Path, info: RunInfo, artifact: Artifact) -> None:
    def fail() -> None:
        with ShardFolder(tmp_path / "a", info):
            raise MerError("no audio")

    with pytest.raises(MerError, match="no audio"):
        fail()
    other = RunInfo(info.labels, {}, {**info.decides, "windows": 9})  # nothing was begun
    assert run(tmp_path / "a", other, artifact, SONGS[:3]) == (3, 0)


def test_a_folder_that_may_not_be_entered_is_named_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    monkeypatch.setattr(os, "stat", denied)
    with pytest.raises(MerError, match=f"^{re.escape(str(tmp_path))} cannot be read: Permission denied$"):
        fields_of_folder(tmp_path)
