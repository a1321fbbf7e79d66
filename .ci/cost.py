#!/usr/bin/env python3
"""Says whether labelling costs more than it did: whole commands of two wheels, in turns.

    .ci/cost.py PYTHON BEFORE.whl NOW.whl SONGS

PYTHON has the dependencies; SONGS are labelled by both. Counted are instructions where the machine counts
them (perf, a PMU), else CPU time: both leave out what else the machine does. A cost that grew by over 5 %
is a line that begins with "warning"; the exit code is 0 whatever was found.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MOST = 1.05
PAIRS = 5


def main(python: str, before: str, now: str, songs: str) -> None:
    with tempfile.TemporaryDirectory() as room:
        sides = []
        for name, wheel in (("before", before), ("now", now)):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(Path(room, name))
            sides.append(Path(room, name))
        command = [python, "-m", "merkit.engine.cli", str(Path(songs).resolve()), "--quiet", "--out"]
        counted = counts_instructions()
        cost = instructions if counted else cpu_seconds
        pairs = []
        for pair in range(PAIRS + 1):
            order = sides if pair % 2 == 0 else sides[::-1]  # neither always comes first
            costs = {side: cost([*command, str(Path(room, "rows.csv"))], side, room) for side in order}
            pairs.append((costs[sides[0]], costs[sides[1]]))
    ratios = [after / earlier for earlier, after in pairs[1:]]  # the first pair fills the caches
    print(verdict(ratios, "instructions" if counted else "CPU seconds", pairs[-1]))


def verdict(ratios: list[float], unit: str, last: tuple[float, float]) -> str:
    """One line: the median of the pairs. CPU time must be over the limit in all pairs, or it may be noise."""
    ratio = statistics.median(ratios)
    line = (
        f"labelling costs {ratio:.3f} times what it did [{min(ratios):.3f}, {max(ratios):.3f}], "
        f"by {unit}: {last[0]:.4g}, now {last[1]:.4g}"
    )
    return f"warning: {line}" if ratio > MOST and min(ratios) > 1 else line


def counts_instructions() -> bool:
    if shutil.which("perf") is None:
        return False
    done = subprocess.run(
        ["perf", "stat", "-x,", "-e", "instructions:u", "true"], capture_output=True, text=True
    )
    return done.returncode == 0 and done.stderr.split(",")[0].isdigit()


def instructions(command: list[str], package: Path, room: str) -> float:
    """Of the command and all its processes."""
    out = Path(room, "perf.csv")
    run(["perf", "stat", "-x,", "-e", "instructions:u", "-o", str(out), *command], package, room)
    lines = out.read_text().splitlines()
    return float(next(line for line in lines if "instructions" in line).split(",")[0])


def cpu_seconds(command: list[str], package: Path, room: str) -> float:
    """Of the command and the processes that it waits for, and that those wait for."""
    # A subreaper, so that the fork server's workers are waited for too.
    code = (
        "import ctypes, os, subprocess, sys\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
        "done = subprocess.run(sys.argv[1:])\n"
        "try:\n"
        "    while True: os.wait()\n"
        "except ChildProcessError: sys.exit(done.returncode)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run([sys.executable, "-c", code, *command], package, room)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(command: list[str], package: Path, room: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(package), "MER_HOME": str(Path(room, "home"))}
    done = subprocess.run(command, env=environment, cwd=room, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
