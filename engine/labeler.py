"""Windows to images to probabilities to one label a song, with its timeline."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .artifact import Artifact
from .decoders import Float32
from .device import DeviceNetwork
from .images import FileImages, ImageOptions, images_from_file, samples_from_file
from .runtimes import Runtime
from .spec import ModelSpec
from .workers import Failure, WorkerPool

_BATCH = 32  # windows given to the network at once, at most
_AHEAD = 2_000  # files begun before the oldest one is done


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
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def confidence(self) -> float | None:
        """The probability of ``emotion``."""
        return max(self.probabilities, default=None)


@dataclass
class StageSeconds:
    """CPU seconds by stage, added up as songs are done; ``start`` is that of the child processes.

    ``waited`` is wall time in which the network had no images, ``idle`` wall time in which a child
    waited for work or to hand it in, added up over children.
    """

    start: float = 0.0
    decode: float = 0.0
    resample: float = 0.0
    mel: float = 0.0
    network: float = 0.0
    write: float = 0.0
    waited: float = 0.0
    idle: float = 0.0


def network_threads(workers: int = 0) -> int:
    """Threads for a network beside so many processes that decode (0: one a core).

    Two threads need a fifth more CPU for a window than one, so it has as few as it can keep up with.
    """
    return max(1, (workers or os.cpu_count() or 1) // 2)


def label_files(
    paths: Iterable[str],
    artifact: Artifact,
    runtime: Runtime | DeviceNetwork,
    options: ImageOptions,
    workers: int = 0,
    stop: threading.Event | None = None,
    stages: StageSeconds | None = None,
) -> Iterator[SongLabel]:
    """Labels files, in their order, while child processes decode ahead.

    Args:
        runtime: given images, which the child processes make, or what makes them of samples itself.
        workers: child processes; 0 is one a core.
        stop: once set, no more files are begun; what is in hand is finished and given.
        stages: is added to while songs are done.
    """
    work = samples_from_file if isinstance(runtime, DeviceNetwork) else images_from_file
    with WorkerPool(work, options, workers, options.limits.seconds) as pool:
        yield from label_in_pool(pool, paths, artifact, runtime, stop, stages)


def label_in_pool(
    pool: WorkerPool,
    paths: Iterable[str],
    artifact: Artifact,
    runtime: Runtime | DeviceNetwork,
    stop: threading.Event | None = None,
    stages: StageSeconds | None = None,
) -> Iterator[SongLabel]:
    """``label_files`` in a pool of ``images_from_file`` that outlives the call."""
    stages = stages if stages is not None else StageSeconds()
    network = runtime if isinstance(runtime, DeviceNetwork) else _Alone(runtime)
    computed: dict[int, tuple[str, FileImages]] = {}
    named: dict[int, str] = {}
    newest = following = 0
    earlier_start, earlier_idle = pool.start_s, pool.idle_s

    def begun() -> Iterator[str]:
        nonlocal newest
        for position, path in enumerate(paths):
            if stop and stop.is_set():
                return
            named[position], newest = path, position
            yield path

    def ready() -> bool:
        # One slow file must not let thousands of rows after it wait in memory.
        return newest - following < _AHEAD

    done: dict[int, SongLabel] = {}

    def finish(found: Iterable[tuple[int, Float32]]) -> None:
        began = time.process_time()
        for position, logits in found:
            path, file = computed.pop(position)
            done[position] = label_from_logits(path, file, logits, artifact.spec)
        stages.network += time.process_time() - began

    waiting = time.perf_counter()
    for position, answer in pool.map(begun(), ready):
        stages.waited += time.perf_counter() - waiting
        path = named.pop(position)
        if isinstance(answer, Failure):
            done[position] = SongLabel(path, error=answer.reason)
        else:
            computed[position] = path, replace(answer, images=answer.images[:0].copy())
            finish(network.add(position, answer.images))
            for stage, seconds in answer.seconds.items():
                setattr(stages, stage, getattr(stages, stage) + seconds)
        if not ready():  # what is held back to fill a batch may be what all others wait for
            finish(network.flush())
        while following in done:
            yield done.pop(following)
            following += 1
        stages.start, stages.idle = pool.start_s - earlier_start, pool.idle_s - earlier_idle
        waiting = time.perf_counter()
    finish(network.flush())
    while following in done:
        yield done.pop(following)
        following += 1


class _Alone:
    """Each file's windows as a batch of their own, so that its row depends on nothing else labelled."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def add(self, position: int, images: Float32) -> Iterator[tuple[int, Float32]]:
        parts = [self._runtime.infer(images[at : at + _BATCH]) for at in range(0, len(images), _BATCH)]
        yield position, np.concatenate(parts)

    def flush(self) -> Iterator[tuple[int, Float32]]:
        return iter(())


def label_from_images(path: str, file: FileImages, spec: ModelSpec, runtime: Runtime) -> SongLabel:
    """Runs the network over one file's windows; the song's probabilities are their mean."""
    ((_, logits),) = _Alone(runtime).add(0, file.images)
    return label_from_logits(path, file, logits, spec)


def label_from_logits(path: str, file: FileImages, logits: Float32, spec: ModelSpec) -> SongLabel:
    """The label of a file whose windows gave ``logits`` ``[windows, labels]``."""
    by_window = probabilities_from_logits(logits, spec.temperature)
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
        tags=file.tags,
    )


def label_from_json(text: str, path: str) -> SongLabel:
    """What ``json.dumps(dataclasses.asdict(label))`` gave, for an input of this path."""
    fields = json.loads(text)
    fields["probabilities"] = tuple(fields["probabilities"])
    fields["windows"] = tuple((start, tuple(p)) for start, p in fields["windows"])
    return SongLabel(**{**fields, "path": path})


def probabilities_from_logits(logits: Float32, temperature: float) -> Float32:
    """``softmax(logits / temperature)`` along the last axis, in float64 (Guo et al., 2017)."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    powers = np.exp(scaled)
    return powers / powers.sum(axis=-1, keepdims=True)


def _rounded(values: Float32) -> tuple[float, ...]:
    """Six decimals: what float32 logits carry, and the same text on every machine of a kind."""
    return tuple(np.round(values.astype(np.float64), 6).tolist())
