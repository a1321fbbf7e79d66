"""Whole commands timed, over a catalogue of any length made of a few files."""

from __future__ import annotations

import ctypes
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ...engine.audio.formats import AUDIO_SUFFIXES
from ...engine.errors import MerError
from ...engine.temporary import temporary_writes

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@contextmanager
def linked(files: Sequence[str], songs: int) -> Iterator[tuple[Path, list[str]]]:
    """A folder of the files under further names, again and again up to ``songs``; and their paths.

    They are hard links, to copies where the files are on another disk: symbolic links to one file would be
    one song, which mer-label reads once.

    Raises:
        MerError: there is no room for them.
    """
    with tempfile.TemporaryDirectory(prefix="mer-bench-") as folder:
        links: list[str] = []
        sources = [Path(file).resolve() for file in files]
        for i in range(max(songs, len(files))):
            place = i % len(files)
            suffix = Path(files[place]).suffix  # the name's: a link's target may have none
            # Without one a search of the folder takes no song; which one it is does not matter to mer-label.
            link = Path(folder) / f"{i:06}{suffix if suffix.lower() in AUDIO_SUFFIXES else '.wav'}"
            try:
                os.link(sources[place], link)
            except OSError:  # another disk, or as many names as a file may have
                with temporary_writes():  # the error of a full disk carries the source's name
                    shutil.copyfile(sources[place], link)
                sources[place] = link
            links.append(str(link))
        yield Path(folder), links


def timed(command: Sequence[str]) -> tuple[float, float, int]:
    """(wall, CPU) seconds of a command, with all processes that it leaves behind; its own peak in bytes.

    The peak is of resident memory, and no less than this process's own highest: the command begins as a copy
    of it.

    Raises:
        MerError: it cannot be run, or fails.
    """
    began, cpu = time.perf_counter(), cpu_seconds()
    try:
        with _orphans_counted():
            code, errors, peak = _run(command)
    except OSError as error:
        raise MerError(f"{shlex.join(command)} cannot be run: {error.strerror}") from None
    if code:
        raise MerError(f"{shlex.join(command)} ended with {code}: {errors.strip()[-500:]}")
    return time.perf_counter() - began, cpu_seconds() - cpu, peak


def _run(command: Sequence[str]) -> tuple[int, str, int]:
    """Exit code, what it says on stderr, peak bytes, which the system does not tell apart afterwards."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr
        try:
            errors = process.stderr.read().decode(errors="replace")
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, errors, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended.

    By getrusage, which counts microseconds: os.times() counts ticks of 10 ms.
    """
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def _orphans_counted() -> Iterator[None]:
    """Processes that outlive the command become children of this one, and are waited for (5 s at most).

    The system counts the CPU time of a process for its parent, when that waits for it: without this the
    processes of mer-label's fork server would be left out. On Linux only.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    known = _children()
    yield
    orphans, deadline = _children() - known, time.monotonic() + 5
    while orphans and time.monotonic() < deadline:
        for pid in tuple(orphans):
            with suppress(ChildProcessError):
                if not os.waitpid(pid, os.WNOHANG)[0]:
                    continue
            orphans.discard(pid)
        time.sleep(0.002)


def _children() -> set[int]:
    pids: set[int] = set()
    for file in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            pids.update(map(int, file.read_text().split()))
    return pids
