"""A decoder of samples that are in memory already."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Float32
from ..errors import AudioError
from .channels import channel_names, mono_from_two, two_from_channels
from .decoder import Limits
from .full_scale import PROBE_SAMPLES, error_from_not_finite, probe_starts, unit_from_blocks


class SampleDecoder:
    """``Decoder`` of an array ``[samples]`` or ``[samples, channels]``.

    Full scale of floats is 1, or an integer of 16, 24 or 32 bits where their peaks are that large.
    Integers are scaled from the range of their type.

    Args:
        sample_rate: in Hz.

    Raises:
        AudioError: integers of 32 or 64 bits that fill only 16, 24 or 32.
        ValueError: another shape or type, or a sample rate that is none.
    """

    name = "samples"

    def __init__(self, samples: npt.ArrayLike, sample_rate: int) -> None:
        array = np.asarray(samples)
        if array.ndim not in (1, 2) or (array.ndim == 2 and not array.shape[1]):
            raise ValueError(f"samples must be [samples] or [samples, channels], not {list(array.shape)}")
        if array.ndim == 2 and array.shape[1] > max(len(array), Limits.channels):
            raise ValueError(f"samples must be [samples, channels], not {list(array.shape)}: transpose them")
        _check_rate(sample_rate)
        self.sample_rate, self.length = int(sample_rate), len(array)
        self._array = array if array.ndim == 2 else array[:, None]
        self._names = channel_names(self._array.shape[1])
        self._unit = 1.0
        if np.issubdtype(array.dtype, np.floating):
            starts = probe_starts(self.length)
            self._unit = unit_from_blocks([self._read_two(start, PROBE_SAMPLES) for start in starts])
        else:
            self._read_two(0, 0)  # refuses other types
            _check_filled(array)

    def read(self, start: int, count: int) -> Float32:
        """Raises an ``AudioError`` where samples are not finite: in memory they are no damage."""
        samples = mono_from_two(self._read_two(start, count))
        if not np.isfinite(samples).all():
            raise error_from_not_finite()
        return samples

    def measure(self) -> int:
        return self.length

    def tags(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        pass

    def _read_two(self, start: int, count: int) -> Float32:
        two = two_from_channels(_floats(self._array[start : start + count]), self._names)
        return two if self._unit == 1.0 else two * np.float32(1 / self._unit)


def _check_rate(sample_rate: Any) -> None:
    try:
        finite = not isinstance(sample_rate, bool | np.bool_) and -math.inf < sample_rate < math.inf
    except TypeError:
        finite = False
    if not finite:
        raise ValueError(f"sample_rate must be a number of Hz, not {sample_rate!r}")
    if sample_rate <= 0:
        raise ValueError(f"sample_rate must be above 0, not {sample_rate}")
    if sample_rate < 1:
        raise ValueError(f"sample_rate must be at least 1, not {sample_rate}")
    if sample_rate > Limits.sample_rate:
        raise ValueError(f"sample_rate must be at most {Limits.sample_rate:,}, not {sample_rate}")
    if sample_rate != int(sample_rate):
        raise ValueError(f"sample_rate must be a whole number of Hz, not {sample_rate}")


def _check_filled(array: npt.NDArray[Any]) -> None:
    """Refuses what lists and ``astype`` make of narrower integers: by their type's range they are silent."""
    peak = max(int(array.max()), -int(array.min())) if array.size else 0
    for bits in (16, 24, 32):
        if array.itemsize * 8 > bits and 0 < peak <= 1 << bits - 1:
            advice = f"convert them to int{bits}" if bits != 24 else "divide them by 2**23, as floats"
            raise AudioError(f"integers of {array.itemsize * 8} bits that fill only {bits}: {advice}")


def _floats(array: npt.NDArray[Any]) -> Float32:
    if np.issubdtype(array.dtype, np.floating):
        return array.astype(np.float32)
    if array.dtype == np.uint8:  # the only unsigned format of audio: silence is 128
        return (array.astype(np.float32) - np.float32(128)) / np.float32(128)
    if np.issubdtype(array.dtype, np.signedinteger):
        return (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
    raise ValueError(f"samples must be floats, signed integers or uint8, not {array.dtype}")
