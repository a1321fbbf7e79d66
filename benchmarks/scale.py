"""What a catalogue's length costs: peak memory and rows a second over few tiny files and over many."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ..engine.artifact import DEFAULT_MODEL, open_artifact
from ..engine.errors import MerError

_IN_A_FOLDER = 1_000


@dataclass(frozen=True)
class Run:
    """One run of mer-label: its inputs, wall seconds and peak resident bytes."""

    files: int
    seconds: float
    peak_bytes: int

    @property
    def rows_a_second(self) -> float:
        """Of the whole command."""
        return self.files / self.seconds


def compare_lengths(few: int, many: int, model: str = DEFAULT_MODEL) -> tuple[Run, Run]:
    """mer-label with the null runtime over ``few`` links to one tiny file, then over ``many``.

    Raises:
        MerError: the command failed.
    """
    return _run(few, model), _run(many, model)


def bytes_a_file(short: Run, long: Run) -> float:
    """Peak memory for each further file."""
    return (long.peak_bytes - short.peak_bytes) / (long.files - short.files)


def _run(files: int, model: str) -> Run:
    spec = open_artifact(model).spec.audio
    with tempfile.TemporaryDirectory(prefix="mer-bench-") as room:
        song, music = Path(room) / "song.wav", Path(room) / "music"
        samples = np.random.default_rng(0).standard_normal(2 * spec.n_fft) / 10
        soundfile.write(song, samples, spec.sample_rate)
        for i in range(files):
            folder = music / f"{i // _IN_A_FOLDER:04}"
            if i % _IN_A_FOLDER == 0:
                folder.mkdir(parents=True)
            (folder / f"{i:07}.wav").symlink_to(song)
        command = [sys.executable, "-m", "mer.engine.cli", str(music), "--model", model, "--runtime", "null"]
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--out", str(Path(room) / "labels")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert process.stderr
        said = process.stderr.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise MerError(f"mer-label ended with {process.returncode}: {said.strip()[-500:]}")
        peak = usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
        return Run(files, time.perf_counter() - began, peak)
