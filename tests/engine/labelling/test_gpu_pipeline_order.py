"""Whose logits are whose, whatever memory there is, on a device that reads its memory as late as it may."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from merkit.engine.errors import DeviceError, DeviceMemoryError
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
        done.update(pipeline.add(key, file_of(range(first, first + count))))
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


class Interrupted(Late):
    """Raises KeyboardInterrupt, as a handler does, in a step of its number, when that is done."""

    def __init__(self, step: str, number: int) -> None:
        super().__init__(4, 99, 99)
        self._step, self._left = step, number
        self.closed = 0

    def _after(self, step: str) -> None:
        self._left -= step == self._step
        if not self._left:
            self._left = -1
            raise KeyboardInterrupt

    def put(self, samples: np.ndarray, scales: np.ndarray) -> None:
        super().put(samples, scales)
        self._after("put")

    def take(self, stream: int) -> np.ndarray:
        scales = super().take(stream)
        self._after("take")
        return scales

    def submit(self, scales: np.ndarray) -> Any:
        pending = super().submit(scales)
        self._after("submit")

        def result() -> np.ndarray:
            logits = pending.result()
            self._after("result")
            return logits

        return SimpleNamespace(result=result)

    def close(self) -> None:
        super().close()
        self.closed += 1


def file_of(scales: Sequence[int]) -> FileSamples:
    samples = np.zeros((len(scales), 2), np.int16)
    return FileSamples(FileFacts((), 0.0, "", {}), samples, np.asarray(scales, np.float32))


@pytest.mark.parametrize("step", ["put", "take", "submit", "result", "label"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_after_an_interrupt_nobody_gets_the_windows_of_another(step: str, number: int) -> None:
    """It may come anywhere, also while a label is made of logits that were just yielded."""
    device: Any = Interrupted(step, number)
    whole: Any = Late(4, 99, 99)
    pipeline = GpuPipeline(
        device, SPEC, device.open_dali, open_anew=lambda: GpuPipeline(whole, SPEC, whole.open_dali)
    )
    assert pipeline.mended() is pipeline

    def run() -> None:
        for key in range(12):
            for _ in pipeline.add(key, file_of([key] * 3)):
                device._after("label")

    with pytest.raises(KeyboardInterrupt):
        run()
    for again in (pipeline.add(99, file_of([99])), pipeline.flush()):
        with pytest.raises(DeviceError, match="another call ended in the middle while the GPU had songs"):
            list(again)
    assert not device.closed
    mended = pipeline.mended()
    assert device.closed
    done: dict[Any, np.ndarray] = {}
    for key in range(12):
        done.update(mended.add(key, file_of([key + 100] * 3)))
    done.update(mended.flush())
    assert {key: logits[:, 0].tolist() for key, logits in done.items()} == {
        key: [key + 100] * 3 for key in range(12)
    }
    assert mended.mended() is mended


def test_an_interrupt_between_two_files_breaks_nothing() -> None:
    """As while files are waited for: what the GPU has goes on."""
    device: Any = Late(4, 99, 99)
    pipeline = GpuPipeline(device, SPEC, device.open_dali)
    with suppress(KeyboardInterrupt):
        list(pipeline.add(0, file_of([1] * 3)))
        raise KeyboardInterrupt
    assert pipeline.mended() is pipeline
    done = dict([*pipeline.add(1, file_of([2] * 3)), *pipeline.flush()])
    assert {key: logits[:, 0].tolist() for key, logits in done.items()} == {0: [1] * 3, 1: [2] * 3}
