"""What runs in a GPU's process: lists of paths come in, and a ``Message`` goes out for each label."""

from __future__ import annotations

import copy
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from ..artifact import Artifact
from ..errors import MerError
from ..signals import ignore_interrupts
from ..temporary import process_folder
from .contract import StageSeconds
from .file_windows import WindowOptions
from .gpu_pipeline import GpuPipeline
from .local import LocalBackend
from .song_label import SongLabel

OpenNetwork = Callable[[Artifact, int], GpuPipeline]


@dataclass(frozen=True)
class Message:
    """What a process sends: the next file's label with stage seconds, an error, or how many jobs it ended.

    At first it says that its network is open, by a message of nothing.
    """

    label: SongLabel | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: MerError | None = None
    jobs: int = 0


def label_jobs(
    pipe: Connection,
    stop: Any,
    gpu: int,
    open_network: OpenNetwork,
    artifact: Artifact,
    options: WindowOptions,
    workers: int,
) -> None:
    """Runs in a process: receives jobs, lists of paths; sends a ``Message`` a label, and at jobs' ends."""
    ignore_interrupts()
    # timeout(1) and systemd send SIGTERM to every process. What this one has begun is to be finished: it ends
    # when its pipe is closed.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(OSError), ExitStack() as opened:  # of the pipe, or of closing: nobody listens
        try:
            backend = opened.enter_context(LocalBackend(open_network(artifact, gpu), workers))
            pipe.send(Message())
            while True:
                jobs = [pipe.recv()]
                stages = StageSeconds()
                before = copy.copy(stages)
                for label in backend.label_files(_paths(pipe, jobs), artifact, options, stop, stages):
                    pipe.send(Message(label, stages.since(before)))
                    before = copy.copy(stages)
                pipe.send(Message(jobs=len(jobs)))
        except (MerError, OSError, EOFError) as error:
            # The system's, such as a full disk, are told too. Where it was the pipe's own, this send fails.
            told = error if isinstance(error, MerError) else MerError(f"GPU {gpu}'s process failed: {error}")
            pipe.send(Message(error=told))  # before anything is closed: that may hang
            with suppress(Exception):
                opened.close()
            # Libraries that free their memory at exit may crash or hang after a GPU's error.
            with suppress(MerError):
                shutil.rmtree(process_folder(), ignore_errors=True)
            os._exit(1)


def _paths(pipe: Connection, jobs: list[list[str]]) -> Iterator[str]:
    """The paths of a job, and of those that have come when it is at its end; they are added to ``jobs``."""
    yield from jobs[0]
    while pipe.poll():
        jobs.append(pipe.recv())
        yield from jobs[-1]
