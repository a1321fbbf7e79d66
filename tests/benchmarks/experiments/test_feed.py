"""What one parent takes from its workers, and what that says of many cores."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from merkit.benchmarks.experiments import feed as feeding
from merkit.benchmarks.experiments.feed import measure_feed, pss_bytes, songs_a_second


def test_a_parent_is_measured_alone(tiny_model: Path) -> None:
    feed = measure_feed(str(tiny_model), workers=2, songs=30)
    assert (feed.workers, feed.songs) == (2, 30)
    assert 0 < feed.parent_s < 1
    assert feed.saturates_at == pytest.approx(1 / feed.parent_s)
    if sys.platform == "linux":
        assert 1e6 < (feed.worker_bytes or 0) < 1e9


def test_the_warm_up_is_no_time_of_a_song(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, cpu = [100.0], [50.0]

    def label_files(*_: Any) -> Iterator[Any]:
        for number in range(100 + 40):  # the first of which are no songs of the measurement
            clock[0] += 0.5 if number >= 100 else 7
            cpu[0] += 0.25 if number >= 100 else 3
            yield SimpleNamespace(decoder=str(2**31 - 1))

    backend = SimpleNamespace(label_files=label_files)
    monkeypatch.setattr(feeding, "LocalBackend", lambda *_: nullcontext(backend))
    times = SimpleNamespace(perf_counter=lambda: clock[0], process_time=lambda: cpu[0])
    monkeypatch.setattr(feeding, "time", times)
    assert measure_feed(str(tiny_model), workers=2, songs=40) == feeding.Feed(2, 40, 0.25, 0.5, None)


def test_memory_of_a_process() -> None:
    if sys.platform == "linux":
        assert 1e6 < (pss_bytes(os.getpid()) or 0) < 1e11
    assert pss_bytes(2**31 - 1) is None  # no such process


def test_cores_bind_until_the_parent_does() -> None:
    assert songs_a_second([1, 50, 200], song_s=0.05, parent_s=0.001) == [
        (1, 20.0, "cores"),
        (50, pytest.approx(1_000.0), "the parent"),
        (200, pytest.approx(1_000.0), "the parent"),
    ]
