"""What undo makes of random histories: moods, copies, moves, swaps and edits of small files without sound."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import shutil
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import pytest
from label_folders import row_of, write_labels
from merkit.engine.catalogue.shards import rows_in
from merkit.engine.files import Disk
from merkit.engine.outputs.tagging import undo_run
from merkit.engine.outputs.tagging.tag_run import Outcome
from merkit.engine.outputs.tagging.undo_file import Facts, Record, UndoFile
from merkit.engine.outputs.tagging.undo_run import undo_tags

MOODS = (b"", b"|MER_1", b"|MER_2", b"|MER_3")
BAD = {Outcome.MISSING, Outcome.CHANGED, Outcome.EARLIER, Outcome.FAILED}
State = tuple[bytes, int]


class FastDisk(Disk):
    def sync(self, file: IO[bytes]) -> None:
        file.flush()


@dataclass(frozen=True)
class Origin:
    """What a file was before it was tagged, and where it was tagged last.

    The time is None where a copy has lost it; ``others`` are bytes that it had once its record was dropped.
    """

    data: bytes
    time: int | None
    tagged_at: Path | None = None
    others: frozenset[bytes] = frozenset()


class World:
    """Files with what they were, rows of some of them, and the records of what was tagged."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random, self.music = random.Random(seed), folder / "music"
        self.labels = write_labels(folder / "labels", [])
        self.music.mkdir()
        self.clock, self.rows = 10**18, {}
        self.files: dict[Path, Origin] = {}
        for number, data in enumerate((b"one", b"one", b"two", b"other")):
            self.write(self.place(f"{number}.mp3"), data)
        self.label()

    def place(self, name: str = "") -> Path:
        return self.music / (name or f"{self.random.randrange(8)}.mp3")

    def write(self, path: Path, data: bytes) -> None:
        self.clock += self.random.randrange(2)
        path.write_bytes(data)
        os.utime(path, ns=(self.clock, self.clock))
        self.files[path] = Origin(data, self.clock)

    def label(self, share: float = 1) -> None:
        """Rows of today's files, of all or some."""
        self.rows = {path: row_of(path) for path in self.files if self.random.random() < share}

    def tag(self) -> None:
        for path, row in self.rows.items():
            if path in self.files and is_as(row, state(path)) and self.random.random() < 0.7:
                self.tag_one(path, self.random.choice(MOODS), self.random.random() < 0.2)

    def tag_one(self, path: Path, mood: bytes, touch: bool = False) -> None:
        old = path.read_bytes()
        new = old.partition(b"|")[0] + mood
        if new == old:
            return
        time = path.stat().st_mtime_ns
        self.clock += 1
        before, after = Facts(len(old), time, digest(old)), Facts(len(new), time, digest(new))
        after = Facts(after.size, self.clock, after.sha256) if touch else after
        pieces: Any = [base64.b64encode(zlib.compress(old)).decode()]
        UndoFile(self.labels, FastDisk()).append(Record(str(path), before, after, pieces))
        path.write_bytes(new)
        os.utime(path, ns=(after.mtime_ns, after.mtime_ns))
        self.rows[path] = row_of(path)
        self.files[path] = replace(self.files[path], tagged_at=path)

    def step(self) -> None:
        one, other = self.random.choice([*self.files]), self.place()
        match self.random.choice(("tag", "tag", "copy", "move", "swap", "edit", "remove", "label")):
            case "tag":
                self.tag()
            case "label":
                self.label(self.random.choice((0.7, 1)))
            case "copy" if one != other:
                keeps = self.random.random() < 0.7
                (shutil.copy2 if keeps else shutil.copy)(one, other)
                origin = self.files[one]
                self.files[other] = origin if keeps else replace(origin, time=None)
            case "move" if one != other:
                one.replace(other)
                self.files[other] = self.files.pop(one)
            case "swap" if other in self.files and one != other:
                for source, target in ((one, self.place("swapped")), (other, one)):
                    source.rename(target)
                self.place("swapped").rename(other)
                self.files[one], self.files[other] = self.files[other], self.files[one]
            case "edit":
                mood = b"".join(one.read_bytes().partition(b"|")[1:])
                self.write(one, b"edit%d" % self.random.randrange(10**6) + mood)
            case "remove" if len(self.files) > 2:
                one.unlink()
                del self.files[one]

    def states(self) -> dict[Path, State]:
        return {path: state(path) for path in self.files}

    def write_rows(self) -> None:
        write_labels(self.labels, [*self.rows.values()])

    def after(self) -> set[str]:
        return {record.after.sha256 for record in self.records()}

    def end_undo(self) -> None:
        """Files that have no record any more are as they are."""
        left = self.after()
        for path, origin in self.files.items():
            data = path.read_bytes()
            if data != origin.data and digest(data) not in left:
                self.files[path] = replace(origin, time=None, others=origin.others | {data})
        for row in rows_in(self.labels):
            self.rows[Path(row["path"])] = row

    def records(self) -> list[Record]:
        return [record for _, record in UndoFile(self.labels).records()]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def state(path: Path) -> State:
    return path.read_bytes(), path.stat().st_mtime_ns


def is_as(row: dict[str, Any], now: State) -> bool:
    return (row["size_bytes"], row["mtime_ns"]) == (len(now[0]), now[1])


def check(world: World) -> None:
    """Undoes all, and looks at what became of each file."""
    world.write_rows()
    places, after = {record.path for record in world.records()}, world.after()
    before = world.states()
    said = [(each.path, each.outcome) for each in undo_tags(world.labels)]
    assert world.states() == before
    assert [(each.path, each.outcome) for each in undo_tags(world.labels, True, disk=FastDisk())] == said
    assert len(said) == len({*said})
    now, left = world.states(), world.after()
    for path, origin in world.files.items():
        data, time = now[path]
        is_reached = str(path) in places or (path in world.rows and is_as(world.rows[path], before[path]))
        if is_reached and digest(before[path][0]) in after:
            assert data in {origin.data, *origin.others}
            assert origin.time in (None, time) or data == before[path][0]
            changed = {(str(path), Outcome.WRITTEN), (str(path), Outcome.EARLIER)}
            assert changed & {*said} or now[path] == before[path]
        elif path not in world.rows or digest(before[path][0]) not in after:
            assert now[path] == before[path]
        if str(path) in places and b"|" in data and now[path] == before[path]:
            assert {outcome for _, outcome in said} & BAD
        is_away = origin.tagged_at in world.rows and origin.tagged_at not in world.files
        if is_away and data not in {origin.data, *origin.others} and digest(data) in after:
            assert digest(data) in left
    for row in rows_in(world.labels):
        path = Path(row["path"])
        if path in before and is_as(world.rows[path], before[path]):
            assert is_as(row, now[path])
    list(undo_tags(world.labels, True, disk=FastDisk()))
    assert world.states() == now
    world.end_undo()


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_any_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    def read_moods(path: str) -> dict[str, str]:
        return {"MER_HAPPY": "1.000"} if b"|MER_" in Path(path).read_bytes() else {}

    monkeypatch.setattr(undo_run, "read_moods", read_moods)
    monkeypatch.setattr(undo_run, "require_mutagen", lambda: None)
    for seed in range(first, first + 10):
        world = World(tmp_path / str(seed), seed)
        for _ in range(2):
            for _ in range(world.random.randrange(2, 10)):
                world.step()
            check(world)
