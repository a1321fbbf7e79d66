"""mer-label as a user runs it: as a process, with real exit codes."""

import csv
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from audio_files import noise, write_audio
from child_processes import rest_of_output
from http_folder import Answers, answered_by, served
from merkit.engine.spec import ModelSpec
from merkit.engine.spectrogram.presets import PRESETS
from onnx_files import tiny_onnx

MER_LABEL = [sys.executable, "-m", "merkit.engine.cli"]


def mer_label(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MER_LABEL, *map(str, arguments)], capture_output=True, text=True, **options)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "songs"
    folder.mkdir()
    for i, name in enumerate(["a.mp3", "b.wav", "तेरे बिना 💔.flac", "d.m4a"]):
        write_audio(folder / name, noise(12, 22_050, i), 22_050)
    (folder / "cover.jpg").write_bytes(b"\xff\xd8")
    return folder


def test_a_folder_with_the_bundled_model(music: Path) -> None:
    done = mer_label(music)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [Path(line[0]).name for line in lines] == ["a.mp3", "b.wav", "d.m4a", "तेरे बिना 💔.flac"]
    assert {line[1] for line in lines} == {"not_music"}  # it is noise
    assert "0 labelled, 4 no music, 1 other file skipped (.jpg) in " in done.stderr
    assert "songs/s" in done.stderr
    assert "x realtime" in done.stderr


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_out(music: Path, tmp_path: Path, tiny_model: Path, suffix: str) -> None:
    out = tmp_path / f"labels.{suffix}"
    done = mer_label(
        music, "missing.mp3", "--model", tiny_model, "--out", out, "--windows", "all", "--hop", 2
    )
    assert done.returncode == 4, done.stderr
    if suffix == "parquet":
        rows = pq.read_table(out).to_pylist()
    elif suffix == "csv":
        with out.open(newline="", encoding="utf-8") as text:
            rows = [{**row, "windows": json.loads(row["windows"])} for row in csv.DictReader(text)]
    else:
        rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["status"] for row in rows] == ["ok"] * 4 + ["error"]
    assert rows[-1]["error"] == "no such file"
    assert [window["start_s"] for window in rows[0]["windows"]] == [0.0, 2.0]


def test_bad_input_gets_rows_not_tracebacks(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "zero.mp3").touch()
    (folder / "text.mp3").write_text("this is not music\n" * 300)
    whole = write_audio(tmp_path / "whole.mp3", noise(30, 44_100), 44_100).read_bytes()
    (folder / "truncated.mp3").write_bytes(whole[: len(whole) // 3])
    (folder / "tags only.mp3").write_bytes(b"ID3\x04\x00\x00\x00\x00\x0f\x76" + bytes(2_038))
    for name, samples, rate in (
        ("one sample", np.ones(1), 44_100),
        ("nan", np.full(200_000, np.nan), 16_000),
        ("low rate", noise(12, 8_000), 8_000),
        ("high rate", noise(12, 192_000), 192_000),
        ("surround", np.repeat(noise(12, 48_000)[:, None], 6, 1), 48_000),
    ):
        soundfile.write(folder / f"{name}.wav", samples.astype(np.float32), rate, subtype="FLOAT")
    done = mer_label(folder, "--model", tiny_model, "-o", tmp_path / "out.jsonl")
    assert done.returncode == 4
    assert "Traceback" not in done.stdout + done.stderr
    rows = {
        Path(r["path"]).stem: r for r in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    }
    failed = {"zero", "text", "tags only", "one sample", "nan"}
    assert {name for name, row in rows.items() if row["status"] == "error"} == failed
    assert all(row["error"] and "\n" not in row["error"] for row in rows.values() if row["status"] == "error")
    assert len(rows) == 9


def in_shell(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """mer-label as ``"$@"`` of a script."""
    command = ["sh", "-c", script, "sh", *MER_LABEL, *map(str, arguments)]
    environment = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment)


def test_names_that_stdout_cannot_encode(music: Path, tmp_path: Path, tiny_model: Path) -> None:
    """The terminal and pipes get an escaped name, files the true one."""
    paths = set()
    for number, environment in enumerate(
        ({"PYTHONIOENCODING": "cp1252"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""})
    ):
        out = tmp_path / f"{number}.jsonl"
        done = in_shell('"$@"; echo $? >&2', music, "--model", tiny_model, "-o", out, **environment)
        assert done.stderr.endswith("\n0\n"), done.stderr
        assert "\\u0924\\u0947\\u0930\\u0947 \\u092c\\u093f\\u0928\\u093e \\U0001f494.flac\t" in done.stdout
        paths.add(tuple(json.loads(line)["path"] for line in out.read_text("utf-8").splitlines()))
    assert paths == {tuple(f"{music}/{name}" for name in ("a.mp3", "b.wav", "d.m4a", "तेरे बिना 💔.flac"))}


def test_a_reader_that_has_enough(music: Path, tmp_path: Path, tiny_model: Path) -> None:
    done = in_shell('("$@"; echo $? >&2) | head -1', music, "--model", tiny_model)
    assert (len(done.stdout.splitlines()), done.stderr.splitlines()) == (1, ["141"])  # quietly
    done = in_shell('("$@"; echo $? >&2) | head -1', music, "--model", tiny_model, "-o", tmp_path / "a.jsonl")
    assert (len(done.stdout.splitlines()), done.stderr.splitlines()[-1]) == (1, "0")
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 4  # rows are what was asked for


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the device is Linux's")
def test_a_full_and_a_closed_stdout(music: Path, tmp_path: Path, tiny_model: Path) -> None:
    full = in_shell('"$@" >/dev/full; echo $? >&2', music, "--model", tiny_model)
    assert full.stderr.splitlines() == [
        "Error: standard output cannot be written: No space left on device",
        "1",
    ]
    out = tmp_path / "a.jsonl"
    full = in_shell('"$@" >/dev/full; echo $? >&2', music, "--model", tiny_model, "-o", out)
    assert full.stderr.splitlines()[-2].startswith("Error: the lines on stdout are not complete: standard")
    assert (full.stderr[-3:], len(out.read_text().splitlines())) == ("\n1\n", 4)
    closed = in_shell('"$@" <&- >&- 2>&-; echo $? >&2', music, "--model", tiny_model, "-o", out)
    assert (closed.stderr, len(out.read_text().splitlines())) == ("0\n", 4)


def test_json_lines_on_stdout(music: Path, tiny_model: Path) -> None:
    done = mer_label(music, "missing.mp3", "--model", tiny_model, "--out", "-")
    assert done.returncode == 4
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["status"] for row in rows] == ["ok"] * 4 + ["error"]
    assert "5 rows written to stdout" in done.stderr


def test_lists_reach_no_private_address(tmp_path: Path, tiny_model: Path) -> None:
    """The user may name one, and may let lists do so."""
    pytest.importorskip("aiohttp")
    write_audio(tmp_path / "a.wav", noise(11, 16_000), 16_000)
    with served(tmp_path) as url:
        (tmp_path / "list.csv").write_text(f"path\n{url}/a.wav\n")
        arguments = ("--model", tiny_model, "-j", 1, "--out", "-")
        refused = mer_label(tmp_path / "list.csv", *arguments)
        assert "an address of this machine or network" in json.loads(refused.stdout)["error"]
        for allowed in ([tmp_path / "list.csv", "--allow-private"], [f"{url}/a.wav"]):
            done = mer_label(*allowed, *arguments)
            assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "ok"), done.stderr


def test_a_listing_reaches_what_songs_may_reach(tmp_path: Path, tiny_model: Path) -> None:
    pytest.importorskip("aiohttp")
    write_audio(tmp_path / "R&B.wav", noise(11, 16_000), 16_000)
    with served(tmp_path) as url, answered_by(Answers) as other:
        there = url.replace("127.0.0.1", "localhost")
        moved = (f"{other}/to/{there}/", "--model", tiny_model, "-j", 1, "--out", "-")
        refused = mer_label(*moved)
        assert "an address of this machine or network" in json.loads(refused.stdout)["error"]
        done = mer_label(*moved, "--allow-private")
        row = json.loads(done.stdout)
        assert (row["path"], row["status"]) == (f"{there}/R%26B.wav", "ok"), done.stderr


def test_a_listing_that_fails_now_is_named_with_the_reason(tmp_path: Path, tiny_model: Path) -> None:
    pytest.importorskip("aiohttp")
    music, out = tmp_path / "music", tmp_path / "labels"
    music.mkdir()
    write_audio(music / "a.wav", noise(11, 16_000), 16_000)
    with served(tmp_path) as url:
        command = (f"{url}/music/", "--model", tiny_model, "-j", 1, "--out", out)
        assert mer_label(*command).returncode == 0
        music.rename(tmp_path / "away")
        done = mer_label(*command)
    assert done.returncode == 4
    unlisted = f"not there, or cannot be listed now: {url}/music: no such folder"
    assert done.stderr.splitlines()[-2] == unlisted
    assert done.stderr.endswith("\n1 file is not there now; its row stays\n")


def test_nothing_to_label(music: Path, tmp_path: Path, tiny_model: Path) -> None:
    """It is a failure, and leaves a folder that can be used."""
    out = tmp_path / "labels"
    done = mer_label(tmp_path / "nowhere", "--model", tiny_model)
    assert (done.returncode, done.stdout) == (1, f"{tmp_path}/nowhere\terror\tno such file\n")
    assert done.stderr.endswith("\nError: nothing was labelled: no input is there, or none can be read\n")
    done = mer_label(f"{tmp_path}/nowhere/", "--model", tiny_model, "--out", out)
    assert (done.returncode, "no such file: " in done.stderr) == (1, True)
    assert not out.exists()
    rows = tmp_path / "labels.csv"
    rows.write_text(earlier := "path,status,error,emotion\nof an earlier run,ok,,calm\n")
    done = mer_label(tmp_path / "nowhere", "--model", tiny_model, "--out", rows)
    assert done.returncode == 1
    assert done.stderr.endswith(f"none can be read; {rows} stays as it was\n")
    assert (rows.read_text(), list(tmp_path.glob("*.partial.*"))) == (earlier, [])
    done = mer_label("-", "--model", tiny_model)
    assert (done.returncode, "stdin is not read" in done.stderr) == (2, True)
    assert mer_label(music, "--model", tiny_model, "--out", out).returncode == 0
    assert pq.read_table(out).num_rows == 4


def test_an_output_is_checked_before_the_first_song(music: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path\nsongs/a.mp3\n")
    for wrong in ("happy.m3u", "happy.xyz", tmp_path / "list.csv"):
        done = mer_label(tmp_path / "list.csv", "--out", wrong, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert (tmp_path / "list.csv").read_text() == "path\nsongs/a.mp3\n"
    assert not list(tmp_path.glob("happy*"))


def test_exit_codes_of_wrong_calls(tmp_path: Path, music: Path, tiny_model: Path) -> None:
    (tmp_path / "empty").mkdir()
    nothing = mer_label(tmp_path / "empty")
    assert (nothing.returncode, "no audio in" in nothing.stderr) == (1, True)
    unknown = mer_label(music, "--model", "wavenet")
    assert unknown.returncode == 2
    known = "accurate, audiocnn, audioset, hindi5, mobilenetv3, squeezenet"
    assert f"unknown model 'wavenet'; known: {known}" in unknown.stderr
    for wrong in (
        ["--windows", "0"],
        ["--windows", "few"],
        ["--hop", "2"],
        ["--out", "a.xlsx"],
        ["--runtime", "x"],
        ["--model", ""],  # of a shell's variable that is not set: not the default
    ):
        assert mer_label(music, *wrong).returncode == 2, wrong
    assert mer_label().returncode == 2
    assert mer_label(music, "--out", tmp_path / "no" / "a.csv", "--model", tiny_model).returncode == 1
    assert mer_label(music, "--model", music / "cover.jpg").returncode == 1


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_writes_what_was_done(tmp_path: Path, tiny_model: Path, sent: int, code: int) -> None:
    song = write_audio(tmp_path / "song.ogg", noise(60, 48_000), 48_000)
    out = tmp_path / "out.jsonl"
    many = [str(tmp_path / f"{i}.ogg") for i in range(3_000)]
    for name in many:
        os.link(song, name)
    command = [*MER_LABEL, *many, "--model", str(tiny_model), "--out", str(out), "--windows", "all"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    assert process.stdout
    process.stdout.readline()  # the first song is done
    os.killpg(process.pid, sent)  # as a terminal and timeout(1) do: the workers have it too
    printed, errors = rest_of_output(process)
    assert process.returncode == code
    rows = out.read_text().splitlines()
    assert len(rows) == len(printed.splitlines()) + 1
    assert 0 < len(rows) < 3_000
    assert all('"status": "ok"' in row for row in rows)
    assert f"{3_000 - len(rows)} of 3000 inputs were not labelled" in errors
    assert "Traceback" not in errors


def test_a_stop_after_the_last_file_asks_for_no_second_run(
    music: Path, tmp_path: Path, tiny_model: Path
) -> None:
    code = (
        "import os, signal\nfrom merkit.engine.catalogue.run import CatalogueRun\n"
        "real = CatalogueRun.__exit__\n"
        "def exit(*error):\n    os.kill(os.getpid(), signal.SIGINT)\n    return real(*error)\n"
        "CatalogueRun.__exit__ = exit\nfrom merkit.engine.cli.label import main\nmain()"
    )
    command = [sys.executable, "-c", code, music, "--model", tiny_model, "--out", tmp_path / "labels"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 130
    assert " labelled" in done.stderr
    assert "not labelled" not in done.stderr
    assert "again" not in done.stderr


def test_exit_codes_are_those_of_the_folder(tmp_path: Path, tiny_model: Path) -> None:
    music, out = tmp_path / "nas", tmp_path / "labels"
    music.mkdir()
    for i in range(3):
        write_audio(music / f"{i}.wav", noise(11, 16_000, i), 16_000)
    (tmp_path / "list.csv").write_text("path\nnas/0.wav\nnas/1.wav\nnas/2.wav\n")

    def run(*more: object) -> tuple[int, list[str]]:
        done = mer_label(tmp_path / "list.csv", "--model", tiny_model, "--out", out, *more)
        return done.returncode, done.stderr.splitlines()

    assert run()[0] == run()[0] == 0
    copy = "part-000000.sync-conflict-20240101-120000.parquet"
    for name in (copy, ".part.parquet", "part-000001.parquet.txt"):
        (out / name).write_bytes((out / "part-000000.parquet").read_bytes())
    code, errors = run()
    stranger = f"no shard of {out}, but read by what reads *.parquet there: {copy}; move it elsewhere"
    assert (code, errors[-1]) == (0, stranger)
    for name in "abc":
        (out / f"{name}.parquet").touch()
    assert "there: a.parquet, b.parquet, c.parquet, ...; move" in run()[1][-1]
    assert run("--quiet")[1] == []
    for path in out.iterdir():
        if path.name != "part-000000.parquet":
            path.unlink()
    music.rename(tmp_path / "away")
    code, errors = run()
    assert (code, errors[-1]) == (4, "3 files are not there now; their rows stay")
    folder = mer_label(music, "--model", tiny_model, "--out", out).stderr
    assert f"not there, or cannot be listed now: {music}\n3 files are not there now" in folder
    (tmp_path / "away").rename(music)
    assert run()[0] == 0
    (music / "1.wav").write_bytes(b"no song")
    assert run()[0] == 4
    code, errors = run()
    assert (code, errors[-1]) == (
        4,
        "1 row with an error is of an earlier run: --retry-errors tries it again",
    )
    (music / "1.wav").unlink()
    code, errors = run("--prune")
    assert (code, errors[-1]) == (4, "1 row went: the files are gone")
    assert mer_label(music, "--model", tiny_model, "--out", out).returncode == 0
    assert pq.read_table(out).num_rows == 2
    music.rename(tmp_path / "renamed")
    again = [tmp_path / "renamed", "--model", tiny_model, "--out", out]
    assert mer_label(*again).returncode == 0  # the old folder is not asked for
    code, errors = run()
    assert (code, errors[-1]) == (4, "2 files are not there now; their rows stay")
    done = mer_label(*again, "--forget", music)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "3 rows went: the files are gone")
    done = mer_label(*again, "--forget", music)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        0,
        f"no row was to be forgotten at or below {music}",
    )
    for wrong in (["--prune"], ["--prune", "--out", tmp_path / "a.csv"], ["--forget", music]):
        refused = mer_label(tmp_path / "renamed", *wrong)
        assert (refused.returncode, f"{wrong[0]} removes rows of a folder" in refused.stderr) == (2, True)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_listing_ends_at_once(tmp_path: Path, sent: int, code: int) -> None:
    for i in range(2_000):
        (tmp_path / f"{i}.txt").touch()
    many = [str(tmp_path)] * 10_000  # a minute of listing
    process = subprocess.Popen([*MER_LABEL, *many, "--hidden", "-v"], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    lines = [process.stderr.readline() for _ in range(2)]  # runtime and device: inputs are listed next
    assert "device" in lines[1]
    time.sleep(0.2)
    began = time.monotonic()
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors == "Error: stopped while inputs were listed: nothing was labelled\n"
    assert time.monotonic() - began < 10


def test_a_terminal_gets_a_table(music: Path, tiny_model: Path) -> None:
    shown, mine = pty.openpty()
    environment = {**os.environ, "COLUMNS": "240", "TERM": "xterm-256color"}
    command = [*MER_LABEL, str(music), str(music / "cover.jpg"), "--model", str(tiny_model)]
    process = subprocess.Popen(command, stdout=mine, stderr=mine, env=environment)
    os.close(mine)
    text = b""
    while process.poll() is None or text.count(b"realtime") == 0:
        try:
            text += os.read(shown, 65_536)
        except OSError:
            break
    os.close(shown)
    assert process.wait() == 4
    for expected in (
        "emotion",
        "calm",
        "a.mp3",
        "0:12",
        "4 labelled, 1 failed, 1 other file skipped",
        "error",
    ):
        assert expected in text.decode(), text.decode()


@pytest.mark.parametrize(("hears", "code"), [(signal.SIG_IGN, 0), (signal.SIG_DFL, 129)])
def test_a_terminal_that_is_closed_costs_no_row(
    music: Path, tmp_path: Path, tiny_model: Path, hears: signal.Handlers, code: int
) -> None:
    """A job in the background goes on, one in the foreground gets SIGHUP and writes what is done."""

    def begin() -> None:
        signal.signal(signal.SIGHUP, hears)
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    short = write_audio(tmp_path / "short.wav", noise(0.5, 16_000), 16_000)
    for i in range(200):  # many and fast: the run is under way when it is seen to be
        shutil.copy(short, music / f"{i}.wav")
    out = tmp_path / "labels.csv"
    shown, mine = pty.openpty()
    command = [*MER_LABEL, str(music), "--model", str(tiny_model), "--out", str(out), "--workers", "1"]
    process = subprocess.Popen(command, stdin=mine, stdout=mine, stderr=subprocess.PIPE, preexec_fn=begin)
    os.close(mine)
    text = b""
    while not re.search(rb"[1-9]/", text):
        text += os.read(shown, 65_536)
    os.close(shown)
    errors = process.communicate(timeout=120)[1].decode()
    assert process.returncode == code, errors
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert f"{len(rows)} rows written to {out}" in errors
    assert ("finishing the files under way" in errors) == (code == 129)
    assert len(rows) == 204 if code == 0 else 0 < len(rows) < 204


@pytest.mark.parametrize("stdout", ["terminal", "pipe"])
@pytest.mark.parametrize("draws", [True, False])
def test_a_stdout_that_nobody_sees_costs_no_picture(
    tmp_path: Path, tiny_model: Path, draws: bool, stdout: str
) -> None:
    """The exit code says that no label was shown, also where songs failed."""
    if draws:
        pytest.importorskip("matplotlib")
    song, picture = write_audio(tmp_path / "a.flac", noise(60, 16_000), 16_000), tmp_path / "a.png"
    command = [*MER_LABEL, str(song), "--model", str(tiny_model), "--windows", "all", "--hop", "0.1"]
    command += ["--plot", str(picture)] if draws else [str(tmp_path / "missing.mp3")]
    shown, mine = pty.openpty() if stdout == "terminal" else os.pipe()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=mine, stderr=subprocess.PIPE, start_new_session=True
    )
    os.close(mine)
    text = b""
    while stdout == "terminal" and b"0/" not in text:
        text += os.read(shown, 65_536)
    os.close(shown)
    errors = process.communicate(timeout=120)[1].decode()
    assert (process.returncode, picture.exists()) == (141, draws), errors
    if stdout == "terminal":
        assert ("1 labelled" if draws else "1 labelled, 1 failed") in errors


def test_help_is_light() -> None:
    """What --help imports, not how long it takes: nothing that computes, decodes or draws."""
    listing = mer_label("--help", env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
    assert listing.returncode == 0
    assert "PATH..." in listing.stdout
    imported = {line.rpartition("|")[2].strip() for line in listing.stderr.splitlines()}
    assert "click" in imported
    heavy = {"numpy", "scipy", "onnx", "onnxruntime", "pyarrow", "rich", "soundfile", "av", "torch"}
    assert not heavy & imported


def test_no_engine_module_imports_torch() -> None:
    code = (
        "import pkgutil, sys, importlib, merkit.engine\n"
        "for m in pkgutil.walk_packages(merkit.engine.__path__, 'merkit.engine.'):\n"
        "    importlib.import_module(m.name)\n"
        "assert not {'torch', 'sklearn', 'librosa'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_limits_are_flags(tmp_path: Path, tiny_model: Path) -> None:
    song = write_audio(tmp_path / "long.flac", noise(30, 48_000), 48_000)
    done = mer_label(song, "--model", tiny_model, "--max-decoded", 0.001, "--windows", "all")
    assert done.returncode == 4
    assert "decodes to more than 250000 samples" in done.stdout


def test_a_folder_goes_on_with_its_runtime(music: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    """Whatever would be chosen now: a resume on another machine labels as it was begun."""
    out = tmp_path / "labels"
    assert mer_label(music / "a.mp3", "--runtime", "openvino", "--out", out).returncode == 0
    done = mer_label(music, "--out", out, "--verbose")
    assert done.returncode == 0, done.stderr
    assert "openvino was asked for" in done.stderr
    rows = pq.read_table(out).to_pylist()
    assert [row["runtime"] for row in rows] == ["openvino"] * len(rows)
    assert len(rows) == 4
    assert mer_label(music, "--out", out, "--runtime", "onnxruntime").returncode == 1


def test_a_folder_goes_on_with_its_models(music: Path, tmp_path: Path, tiny_model: Path) -> None:
    """Whatever is the default now: a command that runs every night goes on after an update."""
    out = tmp_path / "labels"
    both = ("--model", "hindi5", "--model", "audiocnn")
    assert mer_label(music / "a.mp3", *both, "--out", out).returncode == 0
    done = mer_label(music, "--out", out)
    assert done.returncode == 0, done.stderr
    assert f"{out} was begun with hindi5 and audiocnn, and goes on so\n" in done.stderr
    rows = pq.read_table(out).to_pylist()
    assert [row["model"] for row in rows] == ["hindi5"] * 4
    assert all(row["audiocnn_emotion"] for row in rows if row["emotion"])
    assert "was begun" not in mer_label(music, "--out", out, "--quiet").stderr
    asked = mer_label(music, "--out", out, "--model", "audioset")
    assert (asked.returncode, "model hindi5, now audioset" in asked.stderr) == (1, True)

    own = tmp_path / "own"  # by a path: no name says which file it was
    assert mer_label(music, "--model", tiny_model, "--out", own).returncode == 0
    refused = mer_label(music, "--out", own)
    said = f"{own} was begun with a model called {tiny_model.stem}: name its file or folder with --model"
    assert (refused.returncode, said in refused.stderr) == (1, True), refused.stderr
    assert mer_label(music, "--model", tiny_model, "--out", own).returncode == 0

    renamed = tmp_path / "audioset.onnx"  # a bundled one's name, another file
    renamed.write_bytes(tiny_model.read_bytes())
    assert mer_label(music, "--model", renamed, "--out", tmp_path / "like").returncode == 0
    other = mer_label(music, "--out", tmp_path / "like")
    assert (other.returncode, "with another model called audioset than today's" in other.stderr) == (1, True)

    new = mer_label(music, "--out", tmp_path / "new")
    assert "was begun" not in new.stderr
    assert {row["model"] for row in pq.read_table(tmp_path / "new").to_pylist()} == {"audioset"}


def test_null_runtime(music: Path) -> None:
    done = mer_label(music, "--runtime", "null", "--workers", 1)
    assert done.returncode == 0
    assert {line.split("\t")[2] for line in done.stdout.splitlines()} == {"0.250"}


def test_the_run_does_not_wait_for_its_children(music: Path, tiny_model: Path) -> None:
    process = subprocess.Popen(
        [*MER_LABEL, str(music), "--model", str(tiny_model)], stdout=subprocess.DEVNULL
    )
    assert process.wait(timeout=60) == 0
    time.sleep(0.2)
    listing = subprocess.run(["ps", "-eo", "ppid,args"], capture_output=True, text=True).stdout
    assert not any(line.split()[0] == str(process.pid) for line in listing.splitlines()[1:])


def test_options_that_contradict_each_other(music: Path) -> None:
    for arguments, reason in (
        (["--json", "-o", "x.csv"], "--out names another place"),
        (["-q", "-v"], "contradict each other"),
        (["--plot", "x.jpg"], "ends in .png"),
        ([str(music), "--plot", "x.png"], "name one PATH"),
        (["--retry-errors", "-o", "x.csv"], "--retry-errors replaces rows of a folder: it goes"),
        (["--shard-rows", "500"], "--shard-rows divides rows of a folder"),  # its default, but typed
        (["--ray", "local", "--device", "cpu"], "leave --device and --gpus out"),
        (["--ray", "local", "--gpus", "1"], "leave --device and --gpus out"),
        (["--path-column", "file"], "--path-column goes with a table of paths"),
        (["--workers", "1025"], "not in the range 0<=x<=1024"),
        (["--windows", "all", "--hop", "1e308"], "not in the range 0.1<=x<=1000000"),
        (["--max-decoded", "1e300"], "not in the range 0.001<=x<=1000000"),
        (["--timeout", "1e300"], "not in the range 1<=x<=1000000"),
    ):
        done = mer_label(music, *arguments)
        assert (done.returncode, reason in done.stderr) == (2, True), done.stderr


def test_rows_are_copied_as_they_are(music: Path, tmp_path: Path, tiny_model: Path) -> None:
    assert mer_label(music, "-m", tiny_model, "-o", f"{tmp_path}/labels/").returncode in (0, 4)
    copy = ("--from", tmp_path / "labels", "-o", tmp_path / "rows.csv")
    copied = mer_label(*copy)
    assert (copied.returncode, "written to" in copied.stderr) == (0, True)
    assert mer_label(*copy, "--quiet").stderr == ""
    rows = (tmp_path / "rows.csv").read_bytes()
    of_labelling = ("--min-confidence=0.9", "--model=hindi5", "--prune", "--windows=all", "--retry-errors")
    for option in (*of_labelling, "--plot=x.png", "--hop=5", "--decoder=dali"):
        result = mer_label(*copy, option)
        assert result.returncode == 2
        assert f"--from copies rows as they are: leave {option.partition('=')[0]} out" in result.stderr
    assert (tmp_path / "rows.csv").read_bytes() == rows


def test_json_quiet_and_a_picture(music: Path, tmp_path: Path, tiny_model: Path) -> None:
    """A picture is of one song: a folder with more is refused, and nothing is labelled."""
    pytest.importorskip("matplotlib")
    picture = tmp_path / "song.png"
    (tmp_path / "album").mkdir()
    done = mer_label(music / "b.wav", "-m", tiny_model, "--json", "-q", "--plot", picture)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["path"] == str(music / "b.wav")
    assert picture.read_bytes().startswith(b"\x89PNG")
    picture.unlink()
    song, link, playlist = tmp_path / "s.png", tmp_path / "link.png", tmp_path / "l.m3u"
    song.write_bytes((music / "b.wav").read_bytes())
    link.symlink_to(song)
    playlist.write_text("s.png\n")
    for path, target, reason in (
        (song, song, "is an input of this run"),
        (song, link, "is an input of this run"),
        (playlist, link, "not of this command's making"),
        (song, tmp_path / "no" / "x.png", "there is no folder"),
    ):
        done = mer_label(path, "-m", tiny_model, "--plot", target)
        assert (done.returncode, reason in done.stderr) == (2, True), done.stderr
        assert song.read_bytes() == (music / "b.wav").read_bytes()
    done = mer_label(song, "-m", tiny_model, "-o", tmp_path / "l", "--plot", tmp_path / "l" / "x.png")
    assert (done.returncode, "which other programs read as a whole" in done.stderr) == (2, True), done.stderr
    done = mer_label(music, "-m", tiny_model, "--plot", picture)
    assert (done.returncode, done.stdout) == (2, "")
    assert "draws one song, and there are 4" in done.stderr
    assert not picture.exists()
    (tmp_path / "empty").mkdir()
    done = mer_label(tmp_path / "empty", "-m", tiny_model, "--plot", picture)
    assert (done.returncode, "no audio in" in done.stderr) == (1, True), done.stderr
    album = [shutil.copy2(music / "b.wav", tmp_path / "album" / f"{name}.wav") for name in "abc"]
    assert mer_label(tmp_path / "album", "-m", tiny_model, "-o", tmp_path / "rows", "-q").returncode == 0
    os.unlink(album[0])
    prune = ("--prune", "--plot", picture)
    done = mer_label(tmp_path / "album", "-m", tiny_model, "-o", tmp_path / "rows", *prune)
    assert (done.returncode, pq.read_table(tmp_path / "rows").num_rows) == (2, 3)  # no row went before that


def test_two_models_in_one_run(music: Path, tmp_path: Path, tiny_model: Path) -> None:
    """Columns of both, playlists of either; a folder goes on with the same models only."""
    words = tmp_path / "words.onnx"
    spec = ModelSpec("tiny", ("romantic", "sad"), PRESETS["emotion4q"])
    words.write_bytes(tiny_onnx(spec, 1).SerializeToString())
    rows = tmp_path / "rows"
    table = tmp_path / "list.csv"
    songs = sorted(path for path in music.iterdir() if path.suffix != ".jpg")
    table.write_text(
        "".join(["path,words_emotion\n", *(f"{song},mine\n" for song in songs)]), encoding="utf-8"
    )
    both = ("--model", tiny_model, "--model", words)
    done = mer_label(table, *both, "--out", rows)
    assert done.returncode == 0, done.stderr
    said = [row["words_emotion"] for row in pq.read_table(rows).to_pylist()]
    assert {*said} <= {"romantic", "sad"}
    assert {row["manifest_words_emotion"] for row in pq.read_table(rows).to_pylist()} == {"mine"}
    assert [line.split("\t")[3:5] for line in done.stdout.splitlines()] == [["words", each] for each in said]
    counts = Counter(said).most_common()
    assert f"words: {', '.join(f'{count} {emotion}' for emotion, count in counts)}" in done.stderr
    alone = mer_label(music, "--model", words, "--json")
    assert [json.loads(line)["emotion"] for line in alone.stdout.splitlines()] == said

    again = mer_label(table, *both, "--out", rows)
    assert (again.returncode, len(pq.read_table(rows).to_pylist())) == (0, 4)
    other = mer_label(table, "--model", tiny_model, "--out", rows)
    assert other.returncode == 1
    assert "was begun with other options" in other.stderr

    lists = mer_label("playlist", rows, tmp_path / "lists", "--model", "words")
    assert lists.returncode == 0, lists.stderr
    listed = [line.split("\t") for line in lists.stdout.splitlines()]
    assert {Path(path).stem.lower(): int(count) for path, count in listed} == dict(counts)
    unknown = mer_label("playlist", rows, tmp_path / "lists", "--model", "nobody")
    assert unknown.returncode == 2
    assert "has no labels of a model nobody; it has those of: tiny, words" in unknown.stderr
    tagged = mer_label("tag", rows, "--model", "words")
    assert tagged.returncode == 0, tagged.stderr
    assert {line.split("\t")[2] for line in tagged.stdout.splitlines()} == {*said}
