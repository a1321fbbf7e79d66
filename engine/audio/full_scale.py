"""Which number is full scale: in sound of floats 1, or by mistake an integer of 16, 24 or 32 bits.

In integers of which only some bits are used it is that of all bits, or by mistake that of the lower ones.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..arrays import Float32
from ..errors import AudioError

PROBE_SAMPLES = 4_096
"""The length of a block that tells a sound's unit."""

_LOUDEST = 64.0  # 36 dB above full scale: no mix of floats is so loud
_UNITS = (2.0**15, 2.0**23, 2.0**31)
_PROBES = 8


def probe_starts(length: int) -> list[int]:
    """The starts of blocks that together tell a sound's unit, spread over all of it."""
    last = max(0, length - PROBE_SAMPLES)
    return sorted({last * probe // (_PROBES - 1) for probe in range(_PROBES)})


def unit_from_blocks(blocks: list[Float32]) -> float:
    """The number that is full scale where these blocks are parts of one sound; 1 where no other is likely.

    Peaks that no unit explains give 1 too.
    """
    peak = max((_peak(block) for block in blocks), default=0.0)
    if peak <= _LOUDEST:
        return 1.0
    # Up to twice the unit: nothing need have been clipped.
    return next((unit for unit in _UNITS if peak <= 2 * unit), 1.0)


def unit_from_integers(blocks: list[npt.NDArray[np.int32]], used: int) -> float:
    """The number that is full scale where these blocks are parts of a sound of 32 bits, in floats up to 1.

    By rule the upper bits are used, and the others are 0. ALSA's ``arecord -f S24_LE`` and others use the
    lower ones: then others than 0 break the rule, and nothing is louder than the lower ones can be.

    Args:
        used: how many bits of a sample hold sound, as the file says: fewer.
    """
    loudest, unused = 1 << used - 1, (1 << 32 - used) - 1
    is_low = all(-loudest <= block.min(initial=0) <= block.max(initial=0) < loudest for block in blocks)
    return loudest / 2**31 if is_low and any((block & unused).any() for block in blocks) else 1.0


def error_from_not_finite() -> AudioError:
    """Why sound gives no label in which no window is made of numbers."""
    return AudioError("holds samples that are not finite (NaN or infinite)")


def _peak(block: Float32) -> float:
    if not block.size:
        return 0.0
    peak = max(float(block.max()), -float(block.min()))
    if np.isfinite(peak):
        return peak
    finite = block[np.isfinite(block)]
    return float(np.abs(finite).max()) if finite.size else 0.0
