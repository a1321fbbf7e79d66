"""What silence is, and where a file has sound. Nothing else says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arrays import Float32
from ..errors import AudioError, SilentError
from .decoder import Budget, Decoder

SILENCE_DB = -62.0
"""Sound whose level is not above this is silence: three quarters of a log-mel of it are at the floor.

A level is half the distance from the lowest sample to the highest, in dB of full scale: a constant offset is
not heard.
"""

SHORTEST_S = 1.0
"""Less sound than that, alone, is a click where there is longer sound."""

_SILENCE = 10 ** (SILENCE_DB / 20)
_NOTHING = 1e-5  # -100 dB of full scale, less than one step of 16 bits
_PROBES = 256  # of a pause
_BLOCKS_A_SECOND = 100
_BLOCKS_AT_ONCE = 1_000

Stretch = tuple[int, int]
"""The first sample of a stretch of sound, and the one after its last."""


@dataclass(frozen=True)
class Sound:
    """The stretches of a file that sound, in samples of the file, and the highest level of 10 ms.

    ``searched`` is how many samples were searched; what lies behind them counts as sound. ``loud`` is how
    many are no silence, without the pauses of the stretches, ``lost`` how many could not be decoded.
    """

    stretches: tuple[Stretch, ...]
    level: float
    searched: int
    loud: int
    lost: int


def is_silence(level: float) -> bool:
    """Whether that is the level of silence. What is not a number is not: it is refused where it is heard."""
    return level <= _SILENCE


def has_pause(samples: Float32, sample_rate: int, pause_s: float) -> bool:
    """Whether silence longer than ``pause_s`` seconds is among the samples."""
    pause = round(pause_s * sample_rate)
    step = max(1, pause // _PROBES)
    few = samples[::step]  # they tell that there is none, as in nearly all music
    if _longest(np.abs(few[1:] - few[:-1]) <= 2 * _SILENCE) < pause // step - 1:
        return False
    block = _block(sample_rate)
    return _longest(_levels(samples, block) <= _SILENCE) * block > pause


def loud_in(samples: Float32, sample_rate: int) -> int:
    """How many of the samples are no silence, in blocks of 10 ms."""
    block = _block(sample_rate)
    return min(int(np.count_nonzero(~(_levels(samples, block) <= _SILENCE))) * block, len(samples))


def loud_s(blocks: Iterable[tuple[Float32, ...]], sample_rate: int) -> float:
    """How many seconds are no silence in any of the channels of these blocks, ``SHORTEST_S`` being enough."""
    loud = 0
    for block in blocks:
        loud += max(loud_in(channel, sample_rate) for channel in block)
        if loud >= SHORTEST_S * sample_rate:
            break
    return loud / sample_rate


def ends_of_sound(samples: Float32, sample_rate: int) -> Stretch:
    """The stretch of samples without the silence at both ends, within 10 ms; (0, 0) where all are silence."""
    block = _block(sample_rate)
    loud = np.flatnonzero(~(_levels(samples, block) <= _SILENCE))
    return (int(loud[0]) * block, min(int(loud[-1] + 1) * block, len(samples))) if len(loud) else (0, 0)


def sound_in(decoder: Decoder, pause_s: float, budget: Budget | None = None) -> Sound:
    """Decodes a file from its beginning, and finds what sounds in it, within 10 ms.

    The search ends early where it has cost half of the budget, so that windows can still be decoded, or where
    the file cannot be decoded. Samples that are left out, because they are damaged, are silent.

    Args:
        pause_s: silences no longer than that, in seconds, are part of the sound around them.
    """
    rate, length = decoder.sample_rate, decoder.length
    block, pause = _block(rate), round(pause_s * rate)
    stretches: list[Stretch] = []
    level, start, loud = 0.0, 0, 0
    lost = -budget.lost if budget else 0
    while start < length and not (budget and budget.half_spent()):
        try:
            samples = decoder.read(start, count := min(block * _BLOCKS_AT_ONCE, length - start))
        except AudioError:
            break
        lost += count - len(samples)
        levels = _levels(samples, block)
        level = max(level, float(levels.max(initial=0.0)))
        found = _stretches(~(levels <= _SILENCE), block, start)
        loud += sum(min(end, length) - first for first, end in found)
        _add(stretches, found, pause)
        start = min(start + block * _BLOCKS_AT_ONCE, length)
    lost += budget.lost if budget else 0
    if start < length:
        _add(stretches, [(start, length)], pause)
        loud += length - start
    long = [(first, end) for first, end in stretches if end - first >= SHORTEST_S * rate]
    return Sound(
        tuple((first, min(end, length)) for first, end in long or stretches), level, start, loud, lost
    )


def error_from_silence(level: float, searched_s: float | None = None) -> AudioError:
    """Why a file gives no label that has nothing but silence in it, at most of that ``level``.

    Args:
        searched_s: where the search for sound ended before the file did: then it may sound further on.
    """
    if searched_s is not None:
        return AudioError(
            f"holds no sound in its first {searched_s:,.0f} s, and was searched no further: "
            "--timeout and --max-decoded say how far"
        )
    if level <= _NOTHING:
        return SilentError("is silent: no sample above -100 dB of full scale")
    if not is_silence(level):
        return SilentError(
            "is silent but for sounds that are too short, or too deep to be heard, as far as it was searched"
        )
    return SilentError(
        f"too quiet: its level is at most {20 * np.log10(level):.0f} dB of full scale, "
        f"and below {SILENCE_DB:.0f} dB nothing is heard (raise its level)"
    )


def _block(sample_rate: int) -> int:
    return max(1, sample_rate // _BLOCKS_A_SECOND)


def _levels(samples: Float32, block: int) -> Float32:
    """The level of each block; the last one may be shorter."""
    whole = len(samples) // block
    blocks = samples[: whole * block].reshape(whole, block)
    levels = (blocks.max(axis=1) - blocks.min(axis=1)) / 2
    rest = samples[whole * block :]
    return np.append(levels, (rest.max() - rest.min()) / 2) if len(rest) else levels


def _longest(silent: npt.NDArray[np.bool_]) -> int:
    """How many on end are true."""
    return int(np.diff(np.flatnonzero(~silent), prepend=-1, append=len(silent)).max()) - 1


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
