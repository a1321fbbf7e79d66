"""What is attacked: a command with damaged files, and what must hold afterwards."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import soundfile
from audio_files import chirp
from corpus import audio_seeds, labelled_csv_seeds, list_seeds, model_seeds, results_seeds
from model_mutation import mutated_model
from mutation import mutated

_MOST_MIB = 1_024  # of one process
_LIMIT_S = 240.0  # for one command
_BUG_TEXTS = ("Traceback (most recent call last)", "internal error:")


@dataclass
class Round:
    """What one round did: ``outcomes`` counts files, ``findings`` are what must not happen, a line each."""

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Command:
    """A command that has ended: its output, exit code, seconds, and the largest of its processes."""

    code: int | None
    stdout: str
    stderr: str
    seconds: float
    peak_mib: float


Target = Callable[[Path, random.Random], Round]
"""Attacks once, in a folder of its own."""


def run(arguments: Sequence[str], folder: Path) -> Command:
    """Runs ``python -m ...`` in ``folder``, with its own HOME and TMPDIR; a hang's code is None."""
    home, temporary = folder / "home", folder / "tmp"
    for path in (home, temporary):
        path.mkdir(exist_ok=True)
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(temporary), "MER_HOME": str(home / "mer")}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    peak_mib, output = 0.0, None
    while output is None and time.monotonic() - began < _LIMIT_S:
        try:
            output = process.communicate(timeout=0.05)
        except subprocess.TimeoutExpired:
            peak_mib = max(peak_mib, _largest_mib(process.pid))
    code: int | None = process.poll()
    if output is None:
        os.killpg(process.pid, 9)
        output = process.communicate()
    stdout, stderr = output
    return Command(
        code,
        stdout.decode("utf-8", "replace"),
        stderr.decode("utf-8", "replace"),
        time.monotonic() - began,
        peak_mib,
    )


def _largest_mib(session: int) -> float:
    """The peak memory of the largest process of a session.

    Not getrusage: its value of a child counts the parent's memory before exec.
    """
    largest = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            if os.getsid(int(status.parent.name)) == session:
                for line in status.read_text().splitlines():
                    if line.startswith("VmHWM"):
                        largest = max(largest, int(line.split()[1]))
    return largest / 1024


def faults(command: Command, codes: Sequence[int], folder: Path) -> list[str]:
    """What every command must hold, whatever it was given."""
    lines = []
    if command.code not in codes:
        what = "hang" if command.code is None else f"exit code {command.code}"
        lines.append(f"{what}: {command.stderr[-300:]!r}")
    lines += [
        f"{text!r}: {output[max(0, output.find(text) - 200) :][:900]!r}"
        for text in _BUG_TEXTS
        for output in (command.stderr, command.stdout)
        if text in output
    ]
    if command.peak_mib > _MOST_MIB:
        lines.append(f"{command.peak_mib:.0f} MiB in one process")
    strays = [str(path.relative_to(folder)) for path in (folder / "tmp").rglob("*") if path.is_file()]
    strays += [
        str(path.relative_to(folder))
        for path in (folder / "home").rglob("*")
        if path.is_file() and not path.is_relative_to(folder / "home" / "mer")
    ]
    if strays:
        lines.append(f"stray files: {strays[:5]}")
    return lines


class AudioTarget:
    """Damaged sound files through mer-label: a row for each, whatever it holds."""

    def __init__(self, files: int = 120) -> None:
        self._files, self._seeds = files, list(audio_seeds())

    def __call__(self, folder: Path, rng: random.Random) -> Round:
        songs = folder / "songs"
        songs.mkdir()
        for number in range(self._files):
            suffix, content = rng.choice(self._seeds)
            (songs / f"{number:04d}{suffix}").write_bytes(mutated(content, rng))
        before = {path.name: path.read_bytes() for path in songs.iterdir()}
        command = run(
            [
                "merkit.engine.cli.label",
                "songs",
                "--runtime",
                "null",
                "--out",
                "rows.jsonl",
                "--timeout",
                "20",
            ],
            folder,
        )
        done = Round(findings=faults(command, (0, 1, 4), folder))
        rows = [json.loads(line) for line in _lines(folder / "rows.jsonl")]
        done.outcomes.update(row["status"] for row in rows)
        if len(rows) != self._files:
            done.findings.append(f"{len(rows)} rows of {self._files} files")
        done.findings += [
            f"{row['path']}: {row['error']}"
            for row in rows
            if row["error"] and ("internal error" in row["error"] or "took longer" in row["error"])
        ]
        if before != {path.name: path.read_bytes() for path in songs.iterdir()}:
            done.findings.append("a file of the user's was touched")
        return done


class ModelTarget:
    """Damaged networks through mer-label: labels, or one line before any song is labelled."""

    def __init__(self) -> None:
        self._seeds = list(model_seeds())

    def __call__(self, folder: Path, rng: random.Random) -> Round:
        _write_song(folder / "song.wav")
        _, content = rng.choice(self._seeds)
        change = mutated if rng.random() < 0.3 else mutated_model
        (folder / "net.onnx").write_bytes(change(content, rng))
        command = run(["merkit.engine.cli.label", "song.wav", "--model", "net.onnx", "-j", "1"], folder)
        return _with_one_line(command, (0, 1, 4), folder)


class ListTarget:
    """Damaged playlists and tables through mer-label."""

    def __call__(self, folder: Path, rng: random.Random) -> Round:
        _write_song(folder / "सóng.wav")
        suffix, content = rng.choice(list(list_seeds("सóng.wav")))
        (folder / f"list{suffix}").write_bytes(mutated(content, rng))
        command = run(
            ["merkit.engine.cli.label", f"list{suffix}", "--runtime", "null", "-j", "1", "--out", "rows.csv"],
            folder,
        )
        return _with_one_line(command, (0, 1, 2, 4), folder)


class ShardTarget:
    """A damaged folder of shards, resumed: no row is lost, none is wrong in silence."""

    def __call__(self, folder: Path, rng: random.Random) -> Round:
        songs = folder / "songs"
        songs.mkdir()
        for number in range(6):
            _write_song(songs / f"{number}.wav", number)
        arguments = ["merkit.engine.cli.label", "songs", "--runtime", "null", "-j", "1"]
        arguments += ["--out", "out", "--shard-rows", "2"]
        first = run(arguments, folder)
        shards = sorted((folder / "out").glob("*.parquet"))
        if not shards:
            return Round(findings=[f"no shards: {first.stderr[-300:]!r}"])
        shard = rng.choice(shards)
        shard.write_bytes(mutated(shard.read_bytes(), rng))
        done = _with_one_line(run(arguments, folder), (0, 1, 4), folder)
        copied = run(["merkit.engine.cli.label", "--from", "out", "--out", "rows.jsonl"], folder)
        done.findings += faults(copied, (0, 1, 4), folder)
        if copied.code in (0, 4):
            names = sorted(Path(json.loads(line)["path"]).name for line in _lines(folder / "rows.jsonl"))
            if names != [f"{number}.wav" for number in range(6)]:
                done.findings.append(f"rows after a damaged shard: {names}")
        return done


class LabelledTarget:
    """Damaged labelled data, read as mer-train, mer-export and mer-bench read it."""

    def __call__(self, folder: Path, rng: random.Random) -> Round:
        songs = [f"{number}.wav" for number in range(6)]
        for number, song in enumerate(songs):
            _write_song(folder / song, number)
        _, content = rng.choice(list(labelled_csv_seeds(songs)))
        (folder / "clips.csv").write_bytes(mutated(content, rng))
        command = run(
            ["merkit.training.cli", "--model", "audiocnn", "--data", "clips.csv", "--set", "nonsense=1"],
            folder,
        )
        return _with_one_line(command, (1, 2), folder)


class ResultsTarget:
    """Damaged results through mer-bench report."""

    def __call__(self, folder: Path, rng: random.Random) -> Round:
        (_, content), *_ = results_seeds()
        (folder / "results.json").write_bytes(mutated(content, rng))
        command = run(
            ["merkit.benchmarks.cli", "report", "results.json", "--csv", "o.csv", "--markdown", "o.md"],
            folder,
        )
        return _with_one_line(command, (0, 1), folder)


def _with_one_line(command: Command, codes: Sequence[int], folder: Path) -> Round:
    done = Round(findings=faults(command, codes, folder))
    done.outcomes["ok" if command.code in (0, 4) else "refused"] += 1
    errors = [line for line in command.stderr.splitlines() if line.startswith(("Error", "Traceback"))]
    if command.code == 1 and len(errors) != 1:
        done.findings.append(f"{len(errors)} error lines: {command.stderr[-300:]!r}")
    return done


def _write_song(path: Path, number: int = 0) -> None:
    soundfile.write(path, chirp(2.0, 16_000, 60.0 + 20 * number), 16_000)


def _lines(path: Path) -> list[str]:
    # Not splitlines, which breaks lines at U+2028 and U+0085 too.
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []


TARGETS: dict[str, tuple[Callable[[], Target], int]] = {
    "audio": (AudioTarget, 4),
    "models": (ModelTarget, 2),
    "lists": (ListTarget, 2),
    "shards": (ShardTarget, 1),
    "labelled": (LabelledTarget, 1),
    "results": (ResultsTarget, 1),
}
"""By name: how a target is made, and its share of the time."""
