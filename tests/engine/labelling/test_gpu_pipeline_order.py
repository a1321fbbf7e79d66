"""Whose logits are whose, whatever memory there is, on a device that reads its memory as late as it may."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from merkit.engine.errors import DeviceMemoryError
from merkit.engine.labelling.file_windows import FileFacts, FileSamples
from merkit.engine.labelling.gpu_pipeline import GpuPipeline
from merkit.engine.spectrogram.dali import IN_FLIGHT

SPEC: Any = SimpleNamespace(window_samples=2)


class Late:
    """DALI and the network: a window's logits are its scale, read only when somebody waits for them.

    Args:
        batch: of the network, at most.
        begins, ends: the most windows for which there is memory when DALI begins and when it ends.
    """

    name, stream = "late", 7

    def __init__(self, batch: int, begins: int, ends: int) -> None:
        self.batch, self._begins, self._ends = batch, begins, ends
        self.opened: list[int] = []
        self.open = self.running = 0
        self._in_flight: deque[np.ndarray] = deque()

    def open_dali(self, size: int) -> Any:
        assert self.open == 0, "there is no room for two"
        self.open += 1
        self.opened.append(size)
        return self

    def put(self, samples: np.ndarray, scales: np.ndarray) -> None:
        assert len(samples) == len(scales) <= self.opened[-1]
        assert len(self._in_flight) < IN_FLIGHT
        if self.opened[-1] > self._begins:
            raise DeviceMemoryError("no room to begin")
        self._in_flight.append(scales)

    def take(self, stream: int) -> np.ndarray:
        assert stream == self.stream
        if self.opened[-1] > self._ends:
            raise DeviceMemoryError("no room to end")
        return self._in_flight.popleft()

    def submit(self, scales: np.ndarray) -> Any:
        self.running += 1
        assert self.running <= 2

        def result() -> np.ndarray:
            self.running -= 1
            return np.repeat(scales[:, None], 4, axis=1)

        return SimpleNamespace(result=result)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.zeros(shape, dtype)

    def close(self) -> None:
        """DALI's end, after which what it had is lost; the network's is the test's."""
        self.open = 0
        self._in_flight.clear()


def logits_of(device: Any, counts: list[int]) -> dict[int, np.ndarray]:
    """Of files with so many windows, whose scales are 1, 2, 3 and so on."""
    pipeline = GpuPipeline(device, SPEC, device.open_dali)
    done: dict[int, np.ndarray] = {}
    first = 1
    for key, count in enumerate(counts):
        scales = np.arange(first, first + count, dtype=np.float32)
        facts = FileFacts((), 0.0, "", {})
        done.update(pipeline.add(key, FileSamples(facts, np.zeros((count, 2), np.int16), scales)))
        first += count
    done.update(pipeline.flush())
    return done


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.integers(1, 13),
    st.integers(1, 13),
    st.integers(1, 13),
)
@settings(max_examples=150)
def test_every_file_gets_its_own_logits(counts: list[int], batch: int, begins: int, ends: int) -> None:
    done = logits_of(Late(batch, begins, ends), counts)
    assert sorted(done) == list(range(len(counts)))
    expected = np.split(np.arange(1, sum(counts) + 1), np.cumsum(counts)[:-1])
    for key, scales in enumerate(expected):
        np.testing.assert_array_equal(done[key], np.repeat(scales[:, None], 4, axis=1))


@pytest.mark.parametrize(("begins", "ends"), [(2, 9), (9, 2), (2, 2)])
def test_a_part_in_the_middle_that_is_short(begins: int, ends: int) -> None:
    """Of eleven windows five are computed at once, and then two: the fifth is alone."""
    device = Late(11, begins, ends)
    np.testing.assert_array_equal(logits_of(device, [11])[0][:, 0], np.arange(1, 12))
    assert device.opened == [11, 5, 2]
