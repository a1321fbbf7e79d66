"""mer-label over a catalogue that is stopped, killed, hostile, or names its songs twice."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from audio_files import noise, write_audio
from child_processes import rest_of_output
from fake_labels import MODEL, OPTIONS, FakeBackend
from merkit.engine.catalogue.copied_rows import copy_rows
from merkit.engine.catalogue.expand import Sources
from merkit.engine.catalogue.folder_lock import FolderLock
from merkit.engine.catalogue.run import CatalogueRun
from merkit.engine.catalogue.shards import rows_in
from merkit.engine.errors import DeviceError
from merkit.engine.labelling.song_label import SongLabel

MER_LABEL = [sys.executable, "-m", "merkit.engine.cli"]
FILES = int(os.environ.get("MER_TEST_FILES", "300"))
KILLS = int(os.environ.get("MER_TEST_KILLS", "20"))
MUTATIONS = int(os.environ.get("MER_TEST_MUTATIONS", "500"))


def mer_label(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MER_LABEL, *map(str, arguments)], capture_output=True, text=True)


def rows(folder: Path) -> list[dict]:
    return [
        row
        for path in sorted(folder.glob("part-*.parquet"))
        for row in pq.ParquetFile(path).read().to_pylist()
    ]


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """300 short songs (MER_TEST_FILES changes that), one of thirty broken, in folders."""
    root = tmp_path / "music"
    for i in range(FILES):
        folder = root / f"album {i // 50:03}"
        folder.mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(i).standard_normal(4_000).astype(np.float32) / 10
        soundfile.write(folder / f"{i:05}.wav", samples, 16_000)
        if i % 30 == 7:
            (folder / f"{i:05}.wav").write_bytes(b"RIFF")
    return root


@pytest.mark.timeout(900 + 60 * KILLS)  # forty starts of the command, on a machine that may be busy
def test_killed_at_random_points(catalogue: Path, tmp_path: Path, tiny_model: Path) -> None:
    def command(name: str) -> list[str]:
        options = ["--model", str(tiny_model), "--shard-rows", "25", "-j", "1", "--out", str(tmp_path / name)]
        return [*MER_LABEL, str(catalogue), *options]

    began = time.monotonic()
    assert subprocess.run(command("whole"), capture_output=True).returncode == 4
    took = time.monotonic() - began
    whole = rows(tmp_path / "whole")
    assert len(whole) == FILES
    rng, kills, folder = random.Random(6), 0, 0
    while kills < KILLS:
        process = subprocess.Popen(
            command(f"killed{folder}"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            process.wait(rng.uniform(0.1 * took, took))
        except subprocess.TimeoutExpired:
            kills += 1
        finally:
            process.kill()
        errors = process.communicate()[1].decode()
        assert "Traceback" not in errors
        written = rows(tmp_path / f"killed{folder}")  # every shard is complete
        assert max(Counter(row["path"] for row in written).values(), default=1) == 1
        if process.returncode in (0, 4):
            assert sorted(written, key=lambda row: row["path"]) == whole
            folder += 1
    subprocess.run(command(f"killed{folder}"), capture_output=True)
    assert rows(tmp_path / f"killed{folder}") == whole


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_and_resumed(tmp_path: Path, tiny_model: Path, sent: int, code: int) -> None:
    song = write_audio(tmp_path / "song.ogg", noise(30, 48_000), 48_000)
    (tmp_path / "music").mkdir()
    for i in range(60):
        os.link(song, tmp_path / "music" / f"{i:02}.ogg")
    out = tmp_path / "labels"
    command = [*MER_LABEL, str(tmp_path / "music"), "--model", str(tiny_model), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    process.send_signal(sent)
    printed, errors = rest_of_output(process)
    assert process.returncode == code, errors
    assert "run the same command again to go on" in errors
    done = len(rows(out))
    assert done == len(printed.splitlines()) + 1
    assert 0 < done < 60
    held = FolderLock(out)
    second = mer_label(*command[3:])
    assert second.returncode == 1
    assert f"in use by another run (process {os.getpid()})" in second.stderr
    held.release()
    again = mer_label(*command[3:])
    assert again.returncode == 0, again.stderr
    assert f"{60 - done} labelled, {done} already done" in again.stderr
    assert [Path(row["path"]).name for row in rows(out)] == [f"{i:02}.ogg" for i in range(60)]


def test_a_file_has_one_row_and_equal_files_share_a_label(tmp_path: Path, tiny_model: Path) -> None:
    one, other = (write_audio(tmp_path / f"{i}.wav", noise(11, 16_000, i), 16_000) for i in range(2))
    os.link(one, tmp_path / "copy.wav")
    (tmp_path / "list.csv").write_text("id,path\n1,0.wav\n2,1.wav\n3,0.wav\n4,copy.wav\n5,0.wav\n")
    log = tmp_path / "out.jsonl"
    for more, repeats in (([], 2), (["--dedupe"], 3)):
        done = mer_label(tmp_path / "list.csv", "--model", tiny_model, "--out", log, *more)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [(Path(row["path"]).name, row["id"]) for row in lines] == [
            ("0.wav", "1"), ("1.wav", "2"), ("copy.wav", "4"),
        ]  # fmt: skip
        assert lines[0]["windows"] == lines[2]["windows"] != lines[1]["windows"]
        assert f"{repeats} repeat" in done.stderr
        assert "2 inputs name a file again with other columns" in done.stderr
    assert other.exists()


def test_a_changed_file_is_labelled_again(tmp_path: Path, tiny_model: Path) -> None:
    music, out = tmp_path / "music", tmp_path / "labels"
    music.mkdir()
    for i in range(4):
        write_audio(music / f"{i}.wav", noise(11, 16_000, i), 16_000)
    assert mer_label(music, "--model", tiny_model, "-o", out).returncode == 0
    before = {row["path"]: row for row in rows(out)}
    write_audio(music / "2.wav", noise(15, 16_000, 9), 16_000)
    write_audio(music / "4.wav", noise(11, 16_000, 4), 16_000)
    again = mer_label(music, "--model", tiny_model, "-o", out)
    assert "2 labelled, 3 already done" in again.stderr
    after = {row["path"]: row for row in rows(out)}
    assert len(rows(out)) == len(after) == 5
    assert {Path(path).name for path in before if before[path] != after[path]} == {"2.wav"}
    refused = mer_label(music, "--model", tiny_model, "-o", out, "--windows", "2")
    assert (refused.returncode, "windows 3, now 2" in refused.stderr) == (1, True)


def test_tags_and_stages(tmp_path: Path, tiny_model: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.flac", "w", 16_000, 1) as file:
        file.title, file.artist, file.album = "तेरे बिना", "Café", "="
        file.write(noise(11, 16_000))
    done = mer_label(tmp_path / "a.flac", "--model", tiny_model, "-o", tmp_path / "out.jsonl", "-v")
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert (row["title"], row["artist"], row["album"]) == ("तेरे बिना", "Café", "=")
    assert row["decoder"].startswith("libsndfile 1.")
    assert "CPU seconds: start" in done.stderr
    assert "the network waited" in done.stderr


def mutated(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Flipped bits, cut off, spliced with another file, or a hole."""
    content = bytearray(data)
    kind = rng.randrange(5)
    if kind in (0, 4):
        for _ in range(rng.choice((1, 5, 50, 500))):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    if kind == 1 or kind == 4:
        del content[rng.randrange(len(content)) :]
    if kind == 2:
        content[rng.randrange(len(content)) :] = other[rng.randrange(len(other)) :]
    if kind == 3:
        start = rng.randrange(len(content))
        content[start : start + rng.randrange(5_000)] = bytes(rng.randrange(5_000))
    for _ in range(rng.choice((0, 0, 8))):  # headers are where decoders believe most
        if content:
            content[rng.randrange(min(len(content), 200))] = rng.randrange(256)
    return bytes(content)


@pytest.mark.timeout(300 + 2 * MUTATIONS)
def test_mutated_files(tmp_path: Path, tiny_model: Path) -> None:
    whole = {}
    for suffix in (".mp3", ".m4a", ".flac", ".ogg", ".opus", ".wav", ".aiff", ".aac", ".wma", ".mkv"):
        with contextlib.suppress(Exception):  # an FFmpeg without this encoder
            rate = 48_000 if suffix == ".opus" else 22_050
            whole[suffix] = write_audio(tmp_path / f"a{suffix}", noise(3, rate), rate).read_bytes()
    assert len(whole) >= 6
    rng, music = random.Random(500), tmp_path / "music"
    music.mkdir()
    for i in range(MUTATIONS):
        suffix, other = rng.choice(list(whole)), rng.choice(list(whole))
        (music / f"{i:05}{suffix}").write_bytes(mutated(whole[suffix], whole[other], rng))
    began = time.monotonic()
    done = mer_label(music, "--model", tiny_model, "-o", tmp_path / "labels", "--timeout", 20)
    assert done.returncode in (0, 4), done.stderr
    assert "Traceback" not in done.stderr
    written = rows(tmp_path / "labels")
    assert [Path(row["path"]).name for row in written] == sorted(path.name for path in music.iterdir())
    assert not [row for row in written if "internal error" in (row["error"] or "")]
    assert all(row["error"] or row["emotion"] for row in written)
    assert time.monotonic() - began < max(120, MUTATIONS)


@pytest.mark.parametrize("length", [20, 250])
def test_a_file_of_rows_whose_name_is_long(tmp_path: Path, length: int) -> None:
    """The name of the partial file beside it would be longer than a disk takes."""
    (tmp_path / "song.wav").write_text("happy title")
    out = tmp_path / f"{'r' * (length - 4)}.csv"
    sources = Sources([str(tmp_path / "song.wav")])
    with CatalogueRun(sources, MODEL, FakeBackend(), OPTIONS, str(out)) as run:
        assert len(list(run.labels())) == 1
    assert (len(out.read_text().splitlines()), run.partial) == (2, None)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("error", [DeviceError, OSError, MemoryError])
def test_what_fails_in_the_morning_does_not_cost_the_rows_of_the_night(
    suffix: str, older: bool, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        Path(f"{number}.wav").write_text("happy title")
    out, kept = f"labels.{suffix}", Path(f"labels.partial.{suffix}" if older else f"labels.{suffix}")
    if older:
        with CatalogueRun(Sources(["0.wav"]), MODEL, FakeBackend(), OPTIONS, out) as run:
            list(run.labels())
    before = Path(out).read_bytes() if older else None

    def gone(number: int) -> None:
        if number == 2:
            raise error("it fell off the bus")

    def run_until_it_is_gone() -> None:
        with CatalogueRun(Sources(["."]), MODEL, FakeBackend(gone), OPTIONS, out) as run:
            list(run.labels())

    with pytest.raises(error, match="it fell off the bus") as caught:
        run_until_it_is_gone()
    assert caught.value.__notes__ == [f"the rows until then are in {os.path.realpath(kept)}"]
    assert before in (None, Path(out).read_bytes())
    assert copy_rows(str(kept), "copy.csv", print) == 2


@pytest.mark.parametrize("out", ["labels", "labels.jsonl"])
def test_a_stop_gives_no_line_without_a_path_the_columns_of_another(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the first song takes long, labels of those behind it are there."""
    monkeypatch.chdir(tmp_path)
    stop = threading.Event()

    class Slow(FakeBackend):
        def label_files(self, paths: Iterable[str], *_: Any, **__: Any) -> Iterator[SongLabel]:
            labels = [self._label(path) for path in paths]
            stop.set()
            yield from labels[1:]

    for name in ("slow.wav", "a.wav"):
        Path(name).write_text("happy title")
    Path("list.csv").write_text("id,path\n1,slow.wav\n2,\n3,\n4,a.wav\n")
    with CatalogueRun(Sources(["list.csv"]), MODEL, Slow(), OPTIONS, out) as run:
        list(run.labels(stop))
    if out == "labels":
        assert [row["id"] for row in rows_in(Path(out))] == ["4"]
        with CatalogueRun(Sources(["list.csv"]), MODEL, FakeBackend(), OPTIONS, out) as run:
            list(run.labels())
        assert sorted(row["id"] for row in rows_in(Path(out))) == ["1", "2", "3", "4"]
    else:
        assert [json.loads(line)["id"] for line in Path(out).read_text().splitlines()] == ["4"]
