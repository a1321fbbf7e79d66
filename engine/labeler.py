"""Windows to images to probabilities to one label a song, with its timeline."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from .artifact import Artifact
from .decoders import Float32
from .images import FileImages, ImageOptions, images_from_file
from .runtimes import Runtime
from .spec import ModelSpec
from .workers import Failure, WorkerPool

_BATCH = 32  # windows given to the network at once, at most


@dataclass(frozen=True)
class SongLabel:
    """One input's row. On an error only ``path`` and ``error`` say anything.

    ``probabilities`` are in the order of the model's labels; ``windows`` is the timeline: where each
    window begins, in seconds, and its probabilities.
    """

    path: str
    error: str | None = None
    emotion: str | None = None
    probabilities: tuple[float, ...] = ()
    duration_s: float | None = None
    windows: tuple[tuple[float, tuple[float, ...]], ...] = ()
    decoder: str | None = None

    @property
    def confidence(self) -> float | None:
        """The probability of ``emotion``."""
        return max(self.probabilities, default=None)


@dataclass
class StageSeconds:
    """CPU seconds by stage, added up as songs are done; ``waited`` is the network without images."""

    decode: float = 0.0
    mel: float = 0.0
    network: float = 0.0
    waited: float = 0.0


def label_files(
    paths: Iterable[str],
    artifact: Artifact,
    runtime: Runtime,
    options: ImageOptions,
    workers: int = 0,
    stop: threading.Event | None = None,
    stages: StageSeconds | None = None,
) -> Iterator[SongLabel]:
    """Labels files, in their order, while child processes decode ahead.

    Args:
        workers: child processes; 0 is one a core.
        stop: once set, no more files are begun; what is done in order is still given.
        stages: is added to while songs are done.
    """
    stages = stages or StageSeconds()
    named: dict[int, str] = {}

    def begun() -> Iterator[str]:
        for position, path in enumerate(paths):
            if stop and stop.is_set():
                return
            named[position] = path
            yield path

    done: dict[int, SongLabel] = {}
    following = 0
    with WorkerPool(images_from_file, options, workers, options.limits.seconds) as pool:
        waiting = time.perf_counter()
        for position, answer in pool.map(begun()):
            stages.waited += time.perf_counter() - waiting
            path = named.pop(position)
            if isinstance(answer, Failure):
                done[position] = SongLabel(path, error=answer.reason)
            else:
                began = time.perf_counter()
                done[position] = label_from_images(path, answer, artifact.spec, runtime)
                stages.network += time.perf_counter() - began
                stages.decode += answer.seconds["decode"]
                stages.mel += answer.seconds["mel"]
            while following in done:
                yield done.pop(following)
                following += 1
            waiting = time.perf_counter()


def label_from_images(path: str, file: FileImages, spec: ModelSpec, runtime: Runtime) -> SongLabel:
    """Runs the network over one file's windows; the song's probabilities are their mean.

    A file's windows are a batch of their own, never mixed with another file's: so its row does not
    depend on what else is labelled, or on which worker was first.
    """
    parts = [runtime.infer(file.images[at : at + _BATCH]) for at in range(0, len(file.images), _BATCH)]
    by_window = probabilities_from_logits(np.concatenate(parts), spec.temperature)
    if not np.isfinite(by_window).all():
        return SongLabel(path, error="the network gave numbers that are not finite")
    song = by_window.mean(axis=0)
    return SongLabel(
        path,
        emotion=spec.labels[int(song.argmax())],
        probabilities=_rounded(song),
        duration_s=file.duration_s,
        windows=tuple((start, _rounded(row)) for start, row in zip(file.starts_s, by_window, strict=True)),
        decoder=file.decoder,
    )


def probabilities_from_logits(logits: Float32, temperature: float) -> Float32:
    """``softmax(logits / temperature)`` along the last axis, in float64 (Guo et al., 2017)."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    powers = np.exp(scaled)
    return powers / powers.sum(axis=-1, keepdims=True)


def _rounded(values: Float32) -> tuple[float, ...]:
    """Six decimals: what float32 logits carry, and the same text on every machine of a kind."""
    return tuple(np.round(values.astype(np.float64), 6).tolist())
