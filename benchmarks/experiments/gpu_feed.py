"""What it costs the process that has a GPU to be fed: everything real but the decoders and the device.

Child processes make songs up; the pool, the memory that they share and the batches are those of mer-label. A
process stands for the GPU: it reads each batch where a GPU would, and finds every window's checksum, which
its child sent in place of its scale.
"""

from __future__ import annotations

import itertools
import mmap
import os
import time
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt

from ...engine.arrays import Float32, Int16
from ...engine.cpu import usable_cores
from ...engine.errors import MerError
from ...engine.labelling.child_process import start_process
from ...engine.labelling.file_windows import FileFacts, FileSamples, WindowOptions
from ...engine.labelling.gpu_pipeline import GpuPipeline
from ...engine.labelling.worker_pool import Failure, WorkerPool
from ...engine.signals import ignore_interrupts
from ...engine.spec import AudioSpec

WINDOWS = 3
"""Of a song, as mer-label takes them by default."""

_WARM_UP_S = 0.5
_SUM = 0xFFFFFF  # of a checksum, as much as a float32 holds


@dataclass(frozen=True)
class Feed:
    """What was measured: songs and batches, wall seconds, and CPU seconds of the parent alone."""

    songs: int
    batches: int
    batch: int
    workers: int
    seconds: float
    cpu_seconds: float

    @property
    def cpu_ms_a_song(self) -> float:
        return 1e3 * self.cpu_seconds / self.songs


def measure_feed(seconds: float = 10.0, batch: int = 64, workers: int = 0) -> Feed:
    """Feeds a device that only looks at what it gets.

    Args:
        workers: processes that make songs up; 0 is as many as keep the parent busy.

    Raises:
        MerError: a window that arrived is not the one that was sent, or this is not Linux.
    """
    spec = AudioSpec()
    workers = workers or max(4, usable_cores() - 1)
    device = _Device(spec, batch)
    with (
        GpuPipeline(device, spec, lambda _: device, batch) as pipeline,  # pyright: ignore[reportArgumentType]
        WorkerPool(made_up_song, WindowOptions(spec), workers, share=True) as pool,
        closing(pool.map(map(str, itertools.count()))) as songs,
    ):
        _take(pipeline, songs, _WARM_UP_S)
        before = device.batches
        began, cpu = time.perf_counter(), time.process_time()
        count = _take(pipeline, songs, seconds)
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        batches = device.batches - before
    return Feed(count, batches, batch, workers, wall_s, cpu_s)


def made_up_song(name: str, options: WindowOptions) -> FileSamples:
    """Windows that differ from song to song and from process to process; their checksums are the scales."""
    length = options.spec.window_samples
    samples = _noise(length, os.getpid()) + np.int16(int(name) % 0xFFFF - 0x7FFF)
    facts = FileFacts((0.0, 70.0, 140.0), 150.0, "made up", {"decode": 0.0}, {"title": name})
    return FileSamples(facts, samples, _as_scales(_checksums(samples)))


@lru_cache(maxsize=1)
def _noise(length: int, seed: int) -> Int16:
    return np.random.default_rng(seed).integers(-0x8000, 0x8000, (WINDOWS, length), np.int16)


def _checksums(windows: Int16) -> npt.NDArray[np.uint64]:
    return np.add.reduce(windows.view(np.uint64), axis=1, dtype=np.uint64)


def _as_scales(checksums: npt.NDArray[np.uint64]) -> Float32:
    folded = checksums ^ (checksums >> np.uint64(24)) ^ (checksums >> np.uint64(48))  # of every sample
    return (folded & np.uint64(_SUM)).astype(np.float32)


def _take(pipeline: GpuPipeline, songs: Any, seconds: float) -> int:
    """Takes songs for so many seconds, at least one; gives how many the device is done with."""
    done, end = 0, time.perf_counter() + seconds
    for position, song in songs:
        if isinstance(song, Failure):
            raise MerError(song.reason)
        done += sum(1 for _ in pipeline.add(position, song))
        del song
        if done and time.perf_counter() > end:
            break
    return done


class _Device:
    """In the place of both DALI and TensorRT: batches go to a process, which looks at them."""

    name, stream = "null", 0

    def __init__(self, spec: AudioSpec, batch: int) -> None:
        if not hasattr(os, "memfd_create"):
            raise MerError("the feed is measured on Linux only")
        self.batch, self.batches = batch, 0
        size = 8 * batch * (2 * spec.window_samples + mmap.PAGESIZE)  # more than all buffers take
        with Connection(os.memfd_create("mer-feed")) as memory:
            os.ftruncate(memory.fileno(), size)
            self._memory, self._end = np.frombuffer(mmap.mmap(memory.fileno(), size), np.uint8), 0
            self._pipe, theirs = get_context("spawn").Pipe()
            arguments = (theirs, memory, size, spec.window_samples)
            self._process = get_context("spawn").Process(target=_look_at_batches, args=arguments, daemon=True)
            with theirs:
                start_process(self._process)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        array = self._memory[self._end :].view(dtype)[: int(np.prod(shape))].reshape(shape)
        self._end += -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        return array

    def put(self, samples: Int16, scales: Float32) -> None:
        places = [array.ctypes.data - self._memory.ctypes.data for array in (samples, scales)]
        self._pipe.send((*places, len(samples)))

    def take(self, stream: int) -> None:
        pass

    def submit(self, log_mels: None) -> _Device:
        return self

    def result(self) -> Float32:
        wrong, old = self._pipe.recv()
        if wrong or old:
            raise MerError(f"of {self.batch} windows {wrong} arrived damaged, {old} were not written anew")
        self.batches += 1
        return np.zeros((self.batch, 4), np.float32)

    def close(self) -> None:
        self._process.kill()
        self._process.join()


def _look_at_batches(pipe: Connection, memory: Connection, size: int, length: int) -> None:
    """Runs in a process: answers each batch with how many windows are wrong, and how many as before."""
    ignore_interrupts()  # it ends with the pipeline that has it
    with memory:
        shared = mmap.mmap(memory.fileno(), size)
    before: dict[int, npt.NDArray[np.uint64]] = {}
    try:
        while True:
            at, scales_at, count = pipe.recv()
            samples = np.frombuffer(shared, np.int16, count * length, at).reshape(count, length)
            sent = np.frombuffer(shared, np.float32, count, scales_at).copy()
            found = _checksums(samples)
            old = int((found == before[at]).sum()) if at in before else 0
            before[at] = found
            pipe.send((int((_as_scales(found) != sent).sum()), old))
    except (EOFError, OSError):
        return
