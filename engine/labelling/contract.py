"""Who labels: one contract for this machine's CPU, its GPUs and a cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, Self

from ..artifact import Artifact
from .file_windows import WindowOptions
from .song_label import SongLabel


class LabelBackend(Protocol):
    """Labels files with one artifact, for which ``choose.open_backend`` opened it; a context manager.

    ``name`` is the name of the runtime, which is recorded with the labels. Use it from one thread.
    """

    name: str

    def label_files(
        self,
        paths: Iterable[str],
        artifact: Artifact,
        options: WindowOptions,
        stop: threading.Event | None = None,
        stages: StageSeconds | None = None,
    ) -> Iterator[SongLabel]:
        """Yields one label for each path, in the order of the paths; a bad file's label has an ``error``.

        Work begins with the first label that is asked for. A generator that is not wanted any longer may be
        closed or dropped. Several may be taken from in turns, but not from a cluster.

        Args:
            paths: local files, or URLs that fsspec reads; may be read in another thread.
            artifact: the one that the backend was opened for.
            stop: once set, no more files are begun; those that were begun are finished for some seconds, and
                what is finished is yielded, though a label before it may be missing. So at ``StoppedAtOnce``.
            stages: is added to while songs are labelled.

        Raises:
            MerError: a device, a process or a cluster fails.
            ValueError: the backend is closed.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


@dataclass
class StageSeconds:
    """CPU seconds of each stage, summed over songs; ``start`` is that of the child processes.

    ``waited`` is wall time in which the network had no input. ``idle`` is wall time in which a child
    process had no work or could not hand in a result, summed over child processes.
    """

    start: float = 0.0
    decode: float = 0.0
    resample: float = 0.0
    mel: float = 0.0
    network: float = 0.0
    write: float = 0.0
    waited: float = 0.0
    idle: float = 0.0

    def add(self, seconds: Mapping[str, float]) -> None:
        """Adds the seconds of some stages, by the names of the fields."""
        for stage, value in seconds.items():
            vars(self)[stage] += value

    def since(self, earlier: StageSeconds) -> dict[str, float]:
        """The seconds that were added after ``earlier`` was copied from this, by stage."""
        return {stage: value - vars(earlier)[stage] for stage, value in vars(self).items()}

    @property
    def cpu_s(self) -> float:
        """All CPU seconds: every stage but the two that count wall time."""
        return self.start + self.decode + self.resample + self.mel + self.network + self.write
