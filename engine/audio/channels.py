"""How channels become one. Nothing else mixes them.

More than two are mixed down to left and right by the weights of ITU-R BS.775, then the mean of left and right
is taken. Where that mean is next to nothing, because one channel is the other one inverted, the louder
channel is taken alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

from ..arrays import Float32

_ENOUGH = 8_192  # samples, to compare powers by
_CANCELLED = 0.2  # of the channels' mean power: in the mean of two alike it is 1, of two unlike ones 0.5

_STRETCH = 1 << 15  # samples that fit into a processor's cache with all their channels
_LOUDER = 1.01  # where powers differ by less, the left channel is taken, in all windows of a song

# FFmpeg's names by the number of channels, where that says what they are.
_ORDERS = {
    "wav": {  # and FLAC
        3: "FL FR FC",
        4: "FL FR BL BR",
        5: "FL FR FC BL BR",
        6: "FL FR FC LFE BL BR",
        7: "FL FR FC LFE BC SL SR",
        8: "FL FR FC LFE BL BR SL SR",
    },
    "vorbis": {  # and Opus
        3: "FL FC FR",
        4: "FL FR BL BR",
        5: "FL FC FR BL BR",
        6: "FL FC FR BL BR LFE",
        7: "FL FC FR SL SR BC LFE",
        8: "FL FC FR SL SR BL BR LFE",
    },
    "alac": {
        3: "FC FL FR",
        4: "FC FL FR BC",
        5: "FC FL FR BL BR",
        6: "FC FL FR BL BR LFE",
        7: "FC FL FR BL BR BC LFE",
        8: "FC FLC FRC FL FR BL BR LFE",
    },
}

_HALF_POWER = float(np.sqrt(0.5))
# (left, right) by FFmpeg's names of channels. LFE repeats the bass of the others, so players leave it out.
_WEIGHTS = {
    "FL": (1.0, 0.0),
    "FR": (0.0, 1.0),
    "FC": (_HALF_POWER, _HALF_POWER),
    "LFE": (0.0, 0.0),
    "LFE2": (0.0, 0.0),
    "BL": (_HALF_POWER, 0.0),
    "BR": (0.0, _HALF_POWER),
    "SL": (_HALF_POWER, 0.0),
    "SR": (0.0, _HALF_POWER),
    "FLC": (1.0, 0.0),
    "FRC": (0.0, 1.0),
    "BC": (0.5, 0.5),
    "DL": (1.0, 0.0),
    "DR": (0.0, 1.0),
    # Above the listener, as those around: BS.775 knows none.
    "TFL": (_HALF_POWER, 0.0),
    "TFR": (0.0, _HALF_POWER),
    "TSL": (_HALF_POWER, 0.0),
    "TSR": (0.0, _HALF_POWER),
    "TBL": (_HALF_POWER, 0.0),
    "TBR": (0.0, _HALF_POWER),
    "TC": (0.5, 0.5),
    "TFC": (0.5, 0.5),
    "TBC": (0.5, 0.5),
}


def channel_names(channels: int, order: Literal["wav", "vorbis", "alac"] = "wav") -> tuple[str, ...]:
    """FFmpeg's names of channels in the order of WAV and FLAC, of Vorbis and Opus, or of ALAC.

    Empty where the number of channels says nothing about their places.
    """
    return tuple(_ORDERS[order].get(channels, "").split())


def two_from_channels(block: Float32, names: tuple[str, ...] = ()) -> Float32:
    """Left and right of three or more channels; one or two channels stay as they are.

    Parts of a window may be mixed one by one. Loudness is kept: nothing is scaled down against clipping,
    which floats do not know.

    Args:
        block: float32 ``[samples, channels]``.
        names: FFmpeg's name of each channel (``channel_names``). Without names, or with others than those
            of loudspeakers in a room, each side is the mean of every second channel.
    """
    if block.shape[1] <= 2:
        return block
    sides = np.zeros((2, len(block)), np.float32)
    weights = _weights(block.shape[1], names)
    # Column by column: BLAS starts threads, and np.einsum takes five times as long.
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(block), _STRETCH):
            columns = block[start : start + _STRETCH].T
            both = sides[:, start : start + _STRETCH]
            for side, channel, weight in weights:
                both[side] += columns[channel] if weight == 1 else columns[channel] * weight
    return sides.T


def mono_from_two(block: Float32) -> Float32:
    """``[samples, 1 or 2]`` to ``[samples]``: the mean, or the louder channel where the two cancel out."""
    if block.shape[1] == 1:
        return block[:, 0]
    left, right = block[:, 0], block[:, 1]
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is somebody else's to refuse
        mono = left + right  # several times faster than mean(axis=1)
        mono *= np.float32(0.5)
        of_mono, of_left, of_right = _power(mono), _power(left), _power(right)
    if of_mono < _CANCELLED * (of_left + of_right) / 2:
        return (right if of_right > _LOUDER * of_left else left).copy()
    return mono


def _power(samples: Float32) -> float:
    """The power of some thousand samples, evenly spread, without their mean: an offset is not heard."""
    few = samples[:: len(samples) // _ENOUGH | 1]
    few = few - few.mean() if len(few) else few
    return float(np.einsum("i,i->", few, few))  # not by np.dot, since BLAS starts threads


@lru_cache(maxsize=32)
def _weights(channels: int, names: tuple[str, ...]) -> list[tuple[int, int, np.float32]]:
    """(side, channel, weight) of all that are not 0."""
    if len(names) == channels and all(name in _WEIGHTS for name in names) and {"FL", "FR"} <= set(names):
        matrix = [_WEIGHTS[name] for name in names]
    else:
        left, right = 1 / ((channels + 1) // 2), 1 / (channels // 2)
        matrix = [(0.0, right) if channel % 2 else (left, 0.0) for channel in range(channels)]
    return [
        (side, channel, np.float32(weight))
        for channel, sides in enumerate(matrix)
        for side, weight in enumerate(sides)
        if weight
    ]
