"""What silence is, and where a file has sound. Nothing else says so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arrays import Float32
from ..errors import AudioError
from .decoder import Budget, Decoder

SILENCE_DB = -62.0
"""Nothing louder than this, of full scale, is silence: three quarters of a log-mel of it are at the floor."""

_SILENCE = 10 ** (SILENCE_DB / 20)
_NOTHING = 1e-5  # -100 dB of full scale, less than one step of 16 bits
_PROBES = 256  # of a pause
_BLOCKS_A_SECOND = 100
_BLOCKS_AT_ONCE = 1_000
_SHORTEST_S = 1.0  # less sound than that, alone, is a click where there is longer sound

Stretch = tuple[int, int]
"""The first sample of a stretch of sound, and the one after its last."""


@dataclass(frozen=True)
class Sound:
    """The stretches of a file that sound, in samples of the file, and its largest sample.

    ``searched`` is how many samples were searched; what lies behind them counts as sound.
    """

    stretches: tuple[Stretch, ...]
    peak: float
    searched: int


def is_silent(peak: float) -> bool:
    """Whether samples are silence whose largest absolute value is ``peak``. NaN is none."""
    return peak <= _SILENCE


def has_pause(samples: Float32, pause: int) -> bool:
    """Whether more than ``pause`` samples on end are silence."""
    step = max(1, pause // _PROBES)  # few samples tell that there is none, as in nearly all music
    if _longest_silence(samples[::step]) < pause // step:
        return False
    return _longest_silence(samples) > pause


def ends_of_sound(samples: Float32) -> Stretch:
    """The stretch from the first sample that is no silence to the last; (0, 0) where all are."""
    loud = np.flatnonzero(~_is_silence(np.abs(samples)))
    return (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, 0)


def sound_in(decoder: Decoder, pause_s: float, budget: Budget | None = None) -> Sound:
    """Decodes a file from its beginning, and finds what sounds in it, within 10 ms.

    The search ends early where it has cost half of the budget, so that windows can still be decoded, or where
    the file cannot be decoded. Samples that are left out, because they are damaged, are silent.

    Args:
        pause_s: silences no longer than that, in seconds, are part of the sound around them.
    """
    rate, length = decoder.sample_rate, decoder.length
    block, pause = max(1, rate // _BLOCKS_A_SECOND), round(pause_s * rate)
    stretches: list[Stretch] = []
    peak, start = 0.0, 0
    while start < length and not (budget and budget.half_spent()):
        try:
            samples = decoder.read(start, min(block * _BLOCKS_AT_ONCE, length - start))
        except AudioError:
            break
        peaks = _peaks(samples, block)
        peak = max(peak, float(peaks.max(initial=0.0)))
        _add(stretches, _stretches(~_is_silence(peaks), block, start), pause)
        start = min(start + block * _BLOCKS_AT_ONCE, length)
    if start < length:
        _add(stretches, [(start, length)], pause)
    long = [(first, end) for first, end in stretches if end - first >= _SHORTEST_S * rate]
    return Sound(tuple((first, min(end, length)) for first, end in long or stretches), peak, start)


def error_from_silence(peak: float) -> AudioError:
    """Why a file gives no label that has nothing but silence in it; ``peak`` is its largest sample."""
    if peak <= _NOTHING:
        return AudioError("is silent: no sample above -100 dB of full scale")
    return AudioError(
        f"too quiet: its loudest sample is at {20 * np.log10(peak):.0f} dB of full scale, "
        f"and below {SILENCE_DB:.0f} dB nothing is heard (raise its level)"
    )


def _longest_silence(samples: Float32) -> int:
    loud = np.flatnonzero(~_is_silence(np.abs(samples)))
    return int(np.diff(loud, prepend=-1, append=len(samples)).max()) - 1


def _peaks(samples: Float32, block: int) -> Float32:
    """The largest absolute value of each block; the last one may be shorter."""
    whole = len(samples) // block
    blocks = samples[: whole * block].reshape(whole, block)
    peaks = np.maximum(blocks.max(axis=1), -blocks.min(axis=1))
    rest = samples[whole * block :]
    return np.append(peaks, np.abs(rest).max()) if len(rest) else peaks


def _is_silence(peaks: Float32) -> npt.NDArray[np.bool_]:
    return peaks <= _SILENCE  # what is not a number is none: it is refused where it is heard


def _stretches(loud: npt.NDArray[np.bool_], block: int, start: int) -> list[Stretch]:
    """The stretches of adjoining loud blocks, the first of which begins at ``start``."""
    edges = np.flatnonzero(np.diff(loud, prepend=False, append=False)) * block + start
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _add(stretches: list[Stretch], later: list[Stretch], pause: int) -> None:
    """Adds later stretches; those that only a pause divides become one."""
    for first, end in later:
        if stretches and first - stretches[-1][1] <= pause:
            stretches[-1] = stretches[-1][0], end
        else:
            stretches.append((first, end))
