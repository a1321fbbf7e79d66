"""Who labels: the one contract of this machine, its GPUs and a cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Protocol, Self

from ..artifact import Artifact
from .file_windows import WindowOptions
from .song_label import SongLabel


class LabelBackend(Protocol):
    """Labels files; a context manager. ``name`` is that of the runtime, which a run's folder records.

    A backend is opened by ``choose.open_backend`` for one artifact.
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
        """One label for each path, in the order of the paths; a file that gives none has an error.

        Args:
            paths: local files, or URLs that fsspec reads.
            stop: once set, no more files are begun; what is under way is finished and given.
            stages: is added to while songs are done.

        Raises:
            MerError: what concerns more than one file: a device, a process or a cluster fails.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


@dataclass
class StageSeconds:
    """CPU seconds of each stage, summed over songs; ``start`` is that of the child processes.

    ``waited`` is wall time in which the network had no input, ``idle`` wall time in which a child
    process had no work or could not hand it in, summed over child processes.
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
        """Adds the seconds of some stages, by name."""
        for stage, value in seconds.items():
            setattr(self, stage, getattr(self, stage) + value)

    def since(self, earlier: StageSeconds) -> dict[str, float]:
        """The seconds that came after ``earlier``, by stage."""
        return {each.name: getattr(self, each.name) - getattr(earlier, each.name) for each in fields(self)}

    @property
    def cpu_s(self) -> float:
        """All CPU seconds: every stage but the two that count wall time."""
        return self.start + self.decode + self.resample + self.mel + self.network + self.write
