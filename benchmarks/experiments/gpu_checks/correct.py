"""Whether the runtime's logits are right whatever the GPU's order of work, and nothing is left behind."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ....engine.errors import DeviceError, DeviceMemoryError
from ....engine.runtimes.tensorrt import TensorRtRuntime
from .bench import Bench, CheckFailed, Driver, OnGpu, Reference, driver, require, stub_library

_WINDOWS = 100
_KINDS = ("host", "GPU, own stream", "GPU, another stream", "GPU, crooked")
_OPENS = 10_000
_LARGE = 1_024  # windows: so that halves are large beside what a driver gives at once, 2 MiB
_NOISE = 64 << 20  # bytes that a driver or torch may take for itself


def check_streams(bench: Bench) -> dict[str, Any]:
    """Batches of every size and place, in flight together, while pauses shuffle the order of the streams."""
    reference = Reference(bench.first, _WINDOWS)
    rounds = done = 0
    kinds: dict[str, int] = dict.fromkeys(_KINDS, 0)
    end = time.perf_counter() + bench.seconds
    while rounds < 2 or time.perf_counter() < end:
        _shuffle(rounds)
        rng = np.random.default_rng(rounds)
        for graphs in (False, True):
            with bench.open(graphs=graphs, batch=32) as runtime, driver() as calls:
                for kind in _one_round(runtime, calls, reference, rng):
                    kinds[kind] += 1
                    done += 1
        rounds += 1
    _check_stub()
    return {
        "summary": f"{done:,} batches in shuffled orders, all right",
        "batches": kinds,
        "told_apart": reference.apart,
    }


def _one_round(
    runtime: TensorRtRuntime, calls: Driver, reference: Reference, rng: np.random.Generator
) -> list[str]:
    foreign = calls.stream()
    pending, kinds = [], []
    for _ in range(8):
        start = int(rng.integers(0, _WINDOWS - 1))
        part = reference.log_mels[start : start + int(rng.integers(1, _WINDOWS - start + 1))]
        kind = _KINDS[rng.integers(len(_KINDS))]
        for stream in (runtime.stream, foreign):
            if rng.random() < 0.5:
                calls.delay(stream, float(rng.uniform(0, 500)))
        if kind == "host":
            held = part.copy()
            batch = runtime.submit(held)
            held[:] = np.nan  # it was copied
        elif kind == "GPU, own stream":
            batch = runtime.submit(OnGpu(calls, part, runtime.stream))
        elif kind == "GPU, another stream":
            batch = runtime.submit(OnGpu(calls, part, foreign, announced=foreign))
        else:
            batch = runtime.submit(OnGpu(calls, part, runtime.stream, offset=4))
        pending.append((batch, start, f"{kind}, {len(part)} windows"))
        kinds.append(kind)
    for at in rng.permutation(len(pending)):
        batch, start, what = pending[at]
        reference.check(batch.result(), what, start)
    return kinds


def check_threads(bench: Bench) -> dict[str, Any]:
    """Eight threads with one runtime, and then eight with one each."""
    reference = Reference(bench.first, _WINDOWS)
    _shuffle(1)
    counts = {"one runtime": 0, "a runtime each": 0}
    for name in counts:
        shared = bench.open() if name == "one runtime" else None
        runtimes = [shared or bench.open(batch=16) for _ in range(8)]
        try:
            counts[name] = _by_threads(runtimes, reference, bench.seconds / 2)
        finally:
            for runtime in runtimes:
                runtime.close()
    _check_stub()
    return {"summary": f"{sum(counts.values()):,} batches in 8 threads, all right", "batches": counts}


def _by_threads(runtimes: list[TensorRtRuntime], reference: Reference, seconds: float) -> int:
    errors: list[BaseException] = []
    done: list[int] = []
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        try:
            for turn in range(1_000_000):
                if turn and (time.perf_counter() > end or errors):
                    return
                start = int(rng.integers(0, _WINDOWS - 1))
                part = reference.log_mels[start : start + int(rng.integers(1, 40))]
                reference.check(runtimes[number].infer(part), f"thread {number}", start)
                done.append(len(part))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(runtimes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return len(done)


def check_memory(bench: Bench) -> dict[str, Any]:
    """Too little memory halves the batch, none is an error of one line, and both leave the GPU usable."""
    if stub_library() is not None:
        stub_library().stub_device(1, 89, 13_000, ctypes.c_size_t(64 << 20))
    reference = Reference(bench.first, _WINDOWS)
    with driver() as calls:
        with bench.open(batch=_LARGE) as runtime:  # torch keeps the memory that it needs for this
            reference.check(runtime.infer(reference.log_mels), "before")
            before = calls.free_bytes()
        needed = calls.free_bytes() - before
        require(needed > 0, "a runtime takes no memory")
        with driver() as filler:
            left = fill_memory(filler, int(0.6 * needed))
            with bench.open(batch=_LARGE) as runtime:
                batch = runtime.batch
                require(batch < _LARGE, f"{left:,} bytes were left of {needed:,}, and the batch is whole")
                reference.check(runtime.infer(reference.log_mels), f"batches of {batch}")
            fill_memory(filler, 0)
            message = _refused(bench)
        with bench.open(batch=_LARGE) as runtime:
            require(runtime.batch == _LARGE, "the memory did not come back")
            reference.check(runtime.infer(reference.log_mels), "after")
    _check_stub()
    return {
        "summary": f"{_LARGE} windows became {batch}; none at all is refused; afterwards {_LARGE} again",
        "bytes_for_all": needed,
        "message": message,
    }


def fill_memory(calls: Driver, leave: int) -> int:
    """Takes memory until about so many bytes are left; returns how many are."""
    size = 1 << 30
    while size >= 1 << 16:
        if calls.free_bytes() - size < leave:
            size //= 2
            continue
        try:
            calls.memory(size)
        except DeviceError:  # it is in pieces
            size //= 2
    return calls.free_bytes()


def _refused(bench: Bench) -> str:
    try:
        bench.open(batch=_LARGE).close()
    except DeviceMemoryError as error:
        return str(error)
    raise CheckFailed("a runtime was opened without memory")


def check_opens(bench: Bench) -> dict[str, Any]:
    """10,000 opens and closes, or as many as the time allows, with a batch now and then."""
    reference = Reference(bench.first, 20)
    bench.open(batch=8).close()
    with driver() as calls, bench.open(batch=8) as runtime:
        reference.check(runtime.infer(reference.log_mels), "first")
        runtime.close()
        before = _held(calls)
        opens, end = 0, time.perf_counter() + bench.seconds
        began = time.perf_counter()
        while opens < _OPENS and time.perf_counter() < end:
            with bench.open(batch=8) as again:
                if opens % 100 == 0:
                    reference.check(again.infer(reference.log_mels), f"open {opens}")
            opens += 1
        each = (time.perf_counter() - began) / opens
        after = _held(calls)
    limits = {"gpu_bytes": _NOISE, "host_bytes": _NOISE, "files": 4, "threads": 4}
    if stub_library() is not None:  # it counts exactly, and keeps on the host what was freed
        limits = {"gpu_bytes": 0, "files": 4, "threads": 4}
    for name, most in limits.items():
        require(
            after[name] - before[name] <= most, f"after {opens} opens: {name} {before[name]} -> {after[name]}"
        )
    _check_stub()
    return {
        "summary": f"{opens:,} opens of {1e3 * each:.2f} ms, nothing left behind",
        "before": before,
        "after": after,
    }


def _held(calls: Driver) -> dict[str, int]:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "gpu_bytes": -calls.free_bytes(),
        "host_bytes": pages * os.sysconf("SC_PAGESIZE"),
        "files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
    }


def _shuffle(seed: int) -> None:
    """The stub driver runs its streams in another order; a GPU is shuffled by pauses."""
    stub = stub_library()
    if stub is not None:
        stub.stub_reset(1, ctypes.c_ulonglong(seed))


def _check_stub() -> None:
    """What the stub driver saw that a GPU would have answered with silent damage."""
    stub = stub_library()
    if stub is not None:
        why = ctypes.c_char_p()
        count = stub.stub_violations(ctypes.byref(why))
        with suppress(UnicodeDecodeError):
            require(count == 0, f"{count} forbidden accesses: {(why.value or b'').decode()}")
