"""The process in a GPU's place notices every window that is damaged, or that was there before."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from merkit.benchmarks.experiments import gpu_feed
from merkit.benchmarks.experiments.gpu_feed import Feed, made_up_song
from merkit.engine.errors import MerError
from merkit.engine.labelling.file_windows import WindowOptions
from merkit.engine.labelling.worker_pool import Failure
from merkit.engine.spec import AudioSpec

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux only")
SPEC = AudioSpec(window_samples=400, frames=1, n_mels=4, n_fft=256)
WINDOWS = 3


def song(number: int) -> tuple[np.ndarray, np.ndarray]:
    made = made_up_song(str(number), WindowOptions(SPEC))
    return np.asarray(made.samples), made.scales


def test_songs_differ_in_every_window() -> None:
    (first, sums), (second, others) = song(1), song(2)
    assert (first.shape, first.dtype, sums.dtype) == ((WINDOWS, 400), np.int16, np.float32)
    assert np.array_equal(song(1)[0], first)
    assert (first != second).any(axis=1).all()
    assert (sums != others).all()
    changed = first.copy()
    changed[1, 7] ^= 1
    differ = gpu_feed._as_scales(gpu_feed._checksums(changed)) != sums
    assert differ.tolist() == [False, True, False]


@pytest.fixture
def device() -> Iterator[tuple[Connection, mmap.mmap]]:
    """The pipe to the process, here a thread, and the memory that it shares: two batches."""
    size = 2 * mmap.PAGESIZE
    number = os.memfd_create("test")
    os.ftruncate(number, size)
    shared = mmap.mmap(number, size)
    ours, theirs = Pipe()
    patch = pytest.MonkeyPatch()
    patch.setattr(gpu_feed, "ignore_interrupts", lambda: None)
    arguments = (theirs, Connection(number), size, 400)
    thread = threading.Thread(target=gpu_feed._look_at_batches, args=arguments)
    thread.start()
    yield ours, shared
    ours.close()
    thread.join(10)
    patch.undo()
    assert not thread.is_alive()


def looked_at(device: tuple[Connection, mmap.mmap], samples: np.ndarray, scales: np.ndarray, at: int) -> Any:
    pipe, shared = device
    shared[at : at + samples.nbytes] = samples.tobytes()
    place = at + samples.nbytes
    shared[place : place + scales.nbytes] = scales.tobytes()
    pipe.send((at, place, len(samples)))
    assert pipe.poll(10)
    return pipe.recv()


def test_what_is_damaged_or_old_is_counted(device: tuple[Connection, mmap.mmap]) -> None:
    first, second = song(1), song(2)
    assert looked_at(device, *first, 0) == (0, 0)
    assert looked_at(device, *second, mmap.PAGESIZE) == (0, 0)
    mixed = np.concatenate([first[0][:1], second[0][1:]])
    assert looked_at(device, mixed, first[1], 0) == (2, 1)
    assert looked_at(device, mixed, np.roll(second[1], 1), mmap.PAGESIZE)[1] == 2
    assert looked_at(device, mixed[::-1], first[1][::-1], 0) == (2, 1)  # the second stays where it was


@pytest.mark.parametrize(("answer", "fails"), [((0, 0), False), ((1, 0), True), ((0, 2), True)])
def test_one_window_that_is_wrong_fails_the_measurement(answer: tuple[int, int], fails: bool) -> None:
    device: Any = object.__new__(gpu_feed._Device)
    device.batch, device.batches = 5, 0
    device._pipe = SimpleNamespace(recv=lambda: answer)
    if fails:
        with pytest.raises(MerError, match=f"of 5 windows {answer[0]} arrived damaged, {answer[1]} were not"):
            device.result()
    else:
        assert device.result().shape == (5, 4)
    assert device.batches == (not fails)


def test_a_song_that_fails_ends_the_measurement() -> None:
    pipeline: Any = SimpleNamespace(add=lambda position, _: [position] * 2)
    assert gpu_feed._take(pipeline, iter([(0, "a"), (1, "b")]), 60.0) == 4
    assert gpu_feed._take(pipeline, iter([(0, "a"), (1, "b")]), 0.0) == 2
    late: Any = SimpleNamespace(add=lambda position, _: [position] if position == 2 else [])
    assert gpu_feed._take(late, iter([(0, "a"), (1, "b"), (2, "c"), (3, "d")]), 0.0) == 1  # at least one
    with pytest.raises(MerError, match="torn"):
        gpu_feed._take(pipeline, iter([(0, Failure("torn", False))]), 0.0)


def test_cpu_is_counted_a_song() -> None:
    assert Feed(200, 10, 64, 4, 2.0, 0.5).cpu_ms_a_song == pytest.approx(2.5)


def test_the_process_is_told_of_every_window() -> None:
    """Where the batch lies, and all of its windows: not only the first."""
    sent: list[tuple[int, int, int]] = []
    device: Any = object.__new__(gpu_feed._Device)
    device._memory, device._end = np.zeros(4 * mmap.PAGESIZE, np.uint8), 0
    device._pipe = SimpleNamespace(send=sent.append)
    buffers = [(device.pinned((WINDOWS, 400), np.int16), device.pinned((WINDOWS,), np.float32)) for _ in "12"]
    for samples, scales in buffers:
        device.put(samples, scales)
    page = mmap.PAGESIZE
    assert sent == [(0, page, WINDOWS), (2 * page, 3 * page, WINDOWS)]


def test_the_warm_up_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    device = SimpleNamespace(batches=0)
    clock, cpu = [100.0], [50.0]

    def take(pipeline: Any, songs: Any, seconds: float) -> int:
        clock[0] += seconds
        cpu[0] += 0.25
        device.batches += 7
        return 20

    pool = SimpleNamespace(map=lambda _: (number for number in ()))
    monkeypatch.setattr(gpu_feed, "_Device", lambda *_: device)
    monkeypatch.setattr(gpu_feed, "GpuPipeline", lambda *_: nullcontext())
    monkeypatch.setattr(gpu_feed, "WorkerPool", lambda *_, **__: nullcontext(pool))
    monkeypatch.setattr(gpu_feed, "_take", take)
    times = SimpleNamespace(perf_counter=lambda: clock[0], process_time=lambda: cpu[0])
    monkeypatch.setattr(gpu_feed, "time", times)
    assert gpu_feed.measure_feed(10.0, 64, 4) == Feed(20, 7, 64, 4, 10.0, 0.25)
