"""How many songs a second one parent process can take from its workers, and what a worker holds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ...engine.artifact import open_artifact
from ...engine.labelling.file_windows import FileFacts, FileLogMels, WindowOptions
from ...engine.labelling.local import FileByFile, LocalBackend
from ...engine.runtimes import open_runtime

_WARM = 100  # songs before anything is read: workers start and import meanwhile


@dataclass(frozen=True)
class Feed:
    """What was measured over ``songs`` songs of three windows.

    ``parent_s`` is the parent's CPU seconds a song, ``worker_bytes`` the proportional memory (PSS) of a
    worker, None where the system does not say. ``wall_s`` is a song's.
    """

    workers: int
    songs: int
    parent_s: float
    wall_s: float
    worker_bytes: float | None

    @property
    def saturates_at(self) -> float:
        """Songs a second at which the parent alone keeps a core busy."""
        return 1 / self.parent_s


class MadeUp(FileByFile):
    """A network whose workers decode nothing: a song's log-mels are there at once."""

    @property
    def work(self) -> Callable[[str, WindowOptions], FileLogMels]:
        return made_up_log_mels


def made_up_log_mels(path: str, options: WindowOptions) -> FileLogMels:
    """Noise as a file's log-mels; who made them stands in place of the decoder's name."""
    starts = tuple(float(i) for i in range(int(options.windows)))
    facts = FileFacts(starts, 10.0 * len(starts), str(os.getpid()), {})
    return FileLogMels(facts, _noise(len(starts), options.spec.n_mels, options.spec.frames))


@cache
def _noise(*shape: int) -> np.ndarray:
    count, mels, frames = shape
    return np.random.default_rng(0).standard_normal((count, 1, mels, frames)).astype(np.float32)


def measure_feed(model: str, workers: int, songs: int) -> Feed:
    """Takes made-up songs from ``workers`` workers, without a network.

    Raises:
        UsageError: an unknown model.
        MerError: a worker cannot start.
    """
    artifact = open_artifact(model)
    warm = max(_WARM, 6 * workers)
    network = MadeUp(open_runtime(artifact, "null"))
    paths = (str(number) for number in range(songs + warm))
    with LocalBackend(network, workers) as backend:
        labels = backend.label_files(paths, artifact, WindowOptions(artifact.spec.audio))
        with closing(labels):  # pyright: ignore[reportArgumentType]
            pids = {int(next(labels).decoder or 0) for _ in range(warm)}
            cpu, wall = time.process_time(), time.perf_counter()
            for label in labels:
                pids.add(int(label.decoder or 0))
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            held = [size for pid in pids if (size := pss_bytes(pid)) is not None]
    return Feed(workers, songs, cpu / songs, wall / songs, sum(held) / len(held) if held else None)


def pss_bytes(pid: int) -> int | None:
    """A process's memory, of what it shares its part only; None where the system does not say."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return None


def songs_a_second(cores: Sequence[int], song_s: float, parent_s: float) -> list[tuple[int, float, str]]:
    """(cores, songs a second, what binds) on paper: workers share all cores, one parent takes what they make.

    Args:
        song_s: CPU seconds of a whole song, the parent's part included.
    """
    return [
        (count, min(count / song_s, 1 / parent_s), "cores" if count / song_s < 1 / parent_s else "the parent")
        for count in cores
    ]
