"""mer-label while an input hangs, and a signal that comes: rows that are finished are written."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from audio_files import noise, write_audio
from child_processes import rest_of_output
from http_folder import Answers, answered_by
from merkit.engine.catalogue.row_file import RowFile
from merkit.engine.catalogue.run_info import RunInfo
from merkit.engine.catalogue.shards import ShardFolder
from merkit.engine.catalogue.terminal import View
from merkit.engine.signals import StoppedAtOnce, stop_event

MER_LABEL = [sys.executable, "-m", "merkit.engine.cli"]
FINISHING = "finishing the files under way; the same signal again stops at once\n"


def names(out: Path) -> list[str]:
    """Of the files that have a row."""
    if out.is_dir():
        paths = pq.read_table(out)["path"].to_pylist() if list(out.glob("part-*")) else []
    else:
        with out.open(newline="", encoding="utf-8") as file:
            paths = [row["path"] for row in csv.DictReader(file)]
    return [Path(path).name for path in paths]


@pytest.mark.parametrize("signals", [[signal.SIGINT, signal.SIGTERM], [signal.SIGTERM]])
@pytest.mark.parametrize("name", ["labels", "labels.csv"])
def test_a_server_that_hangs_costs_no_finished_row(
    name: str, signals: list[int], tmp_path: Path, tiny_model: Path
) -> None:
    pytest.importorskip("aiohttp")
    out = tmp_path / name
    songs = [str(write_audio(tmp_path / f"{i}.wav", noise(11, 16_000, i), 16_000)) for i in range(4)]
    with answered_by(Answers) as root:
        command = [*MER_LABEL, *songs, f"{root}/silent.wav", "--model", str(tiny_model), "--out", str(out)]
        process = subprocess.Popen(command, stdout=-1, stderr=-1, text=True)
        assert process.stdout
        for _ in songs:
            process.stdout.readline()
        began = time.monotonic()
        for number in signals:
            process.send_signal(number)
            time.sleep(1)
        _, errors = rest_of_output(process)
    assert process.returncode == 128 + signals[-1], errors
    assert time.monotonic() - began < 10  # docker kills then
    assert names(out) == [f"{i}.wav" for i in range(4)]
    assert errors.startswith(FINISHING)
    assert "Traceback" not in errors


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_file_of_rows_is_whole_at_a_second_signal_that_comes_between_rows(
    suffix: str, tmp_path: Path, rows: list[dict]
) -> None:
    out = tmp_path / "out" / f"a.{suffix}"
    out.parent.mkdir()
    for error, is_kept in ((KeyboardInterrupt, False), (StoppedAtOnce, True)):
        with (
            suppress(KeyboardInterrupt, StoppedAtOnce),
            RowFile(out, RunInfo(("happy", "tense", "sad", "calm"), {}, {})) as file,
        ):
            for row in rows:
                file.write(row)
            raise error(130)
        assert [path.name for path in out.parent.iterdir()] == ([out.name] if is_kept else [])
    with RowFile(tmp_path / f"b.{suffix}", RunInfo(("happy", "tense", "sad", "calm"), {}, {})) as file:
        for row in rows:
            file.write(row)
    assert out.read_bytes() == file.path.read_bytes()


@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet", "labels.jsonl"])
def test_a_run_that_is_stopped_leaves_an_older_file_of_rows(
    name: str, tmp_path: Path, tiny_model: Path
) -> None:
    """Its own rows go beside it."""
    out, partial = tmp_path / name, tmp_path / name.replace(".", ".partial.")
    song = write_audio(tmp_path / "a.wav", noise(11, 16_000), 16_000)
    for number in range(1_000):
        (tmp_path / f"{number}.wav").hardlink_to(song)
    options = ["--model", str(tiny_model), "--out", str(out)]
    done = subprocess.run([*MER_LABEL, str(song), *options, "-q"])
    assert (done.returncode, partial.exists()) == (0, False)
    older = out.read_bytes()
    command = [*MER_LABEL, str(tmp_path), *options, "--runtime", "null"]
    process = subprocess.Popen(command, stdout=-1, stderr=-1, text=True)
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = rest_of_output(process)
    assert process.returncode == 130
    assert out.read_bytes() == older
    assert partial.stat().st_size
    assert f"written to {partial}\n" in errors
    assert f"{out} stays as it was: it has the rows of an earlier run\n" in errors
    assert "is there still" not in errors
    done = subprocess.run([*MER_LABEL, str(tmp_path / "7.wav"), *options], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.endswith(f"{partial} is there still: this run's rows are all in {out}\n")
    assert out.read_bytes() != older
    partial.unlink()
    done = subprocess.run([*MER_LABEL, str(tmp_path / "7.wav"), *options], capture_output=True, text=True)
    assert "is there still" not in done.stderr


@pytest.mark.parametrize("error", [StoppedAtOnce, KeyboardInterrupt])
def test_a_folder_keeps_its_rows_whatever_ends_the_run(
    error: type[BaseException], tmp_path: Path, rows: list[dict]
) -> None:
    info = RunInfo(("happy", "tense", "sad", "calm"), {}, {"runtime": "null"})
    with suppress(KeyboardInterrupt, StoppedAtOnce), ShardFolder(tmp_path / "out", info) as shards:
        shards.write(rows[0])
        raise error(130)
    assert names(tmp_path / "out") == [Path(rows[0]["path"]).name]


def test_what_a_signal_means_is_said_but_not_with_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet, said in ((True, ""), (False, FINISHING)):
        with stop_event(), View(quiet):
            signal.raise_signal(signal.SIGINT)
        assert capsys.readouterr() == ("", said)
    with stop_event():
        signal.raise_signal(signal.SIGINT)
    assert capsys.readouterr().err == ""


def test_two_signals_while_nothing_is_finished_leave_a_file_as_it_was(
    tmp_path: Path, tiny_model: Path
) -> None:
    pytest.importorskip("aiohttp")
    out = tmp_path / "labels.csv"
    out.write_text("path,status,error,emotion\nof an earlier run\n")
    with answered_by(Answers) as root:
        command = [*MER_LABEL, f"{root}/silent.wav", "--model", str(tiny_model), "--out", str(out), "-v"]
        process = subprocess.Popen(command, stdout=-1, stderr=-1, text=True)
        assert process.stderr
        assert "device" in process.stderr.readline() + process.stderr.readline()
        time.sleep(3)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(1)
        rest_of_output(process)
    assert process.returncode == 130
    assert out.read_text() == "path,status,error,emotion\nof an earlier run\n"
