"""A file's windows at the spec's sample rate. Only the sound that the windows need is decoded."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import soxr

from ..arrays import Float32
from ..errors import AudioError
from ..spec import AudioSpec
from .decoder import Budget, Decoder
from .silence import error_from_silence
from .window_reader import Window, WindowReader

WindowCount = int | Literal["all"]

_BLOCK = 1 << 24  # samples of a clip that are read at once
_LONGEST_CLIP = 1 << 27  # samples: 50 minutes at 44.1 kHz, and 0.5 GB


def windows_from_decoder(
    decoder: Decoder,
    spec: AudioSpec,
    windows: WindowCount = 3,
    hop_s: float | None = None,
    budget: Budget | None = None,
) -> Iterator[Window]:
    """Yields an open file's windows, mono, resampled to ``spec.sample_rate`` by soxr.

    ``windows=N`` gives the middles of N equal parts of the file (0, 10 and 20 s for three of 10 s
    in 30 s). Where silence takes up a fifth of one of them, the whole file is decoded, and the windows are
    the middles of N equal parts of what sounds: a silent part of a file has no windows.

    ``"all"`` gives one every ``hop_s`` seconds (default: a window's length), and one more at the
    end of the file where a tenth of a window or more would be left out. Silent ones are among them. Only
    where all are, those come after them that lie where the file sounds.

    A file, or a stretch of sound between silences, that is no longer than a window gives one, filled up as
    ``spec.short_audio`` says. Starts are rounded to a sample that exists at both rates: by 5 ms at most
    from 44.1 or 48 kHz to 16 kHz. Windows that cannot be decoded whole, or in which a sample is not finite,
    are left out. Where a header states more than the file has, ``decoder.length`` is corrected by the last
    window.

    Args:
        budget: the decoder's, of which a search for sound leaves half.

    Raises:
        AudioError: shorter than one STFT window, no window that can be decoded, none whose samples are
            finite, samples far beyond full scale, or, after the last window, silence in all of the file, or
            as far as the budget allows a search.
    """
    reader = WindowReader(decoder, spec, budget)
    cut = _all(reader, hop_s or spec.window_s) if windows == "all" else _spread(reader, windows)
    heard = False
    for window in cut:
        heard = heard or not window.silent
        yield window
    if not heard:
        if reader.not_finite:
            raise reader.error_without_windows()
        all_read = windows == "all" and (hop_s or 0) <= spec.window_s
        raise error_from_silence(reader.level, None if all_read else reader.searched_s)


def samples_from_decoder(decoder: Decoder, spec: AudioSpec) -> Float32:
    """All of an open file, mono: float32 ``[samples]`` at ``spec.sample_rate``. For clips, not for songs.

    Raises:
        AudioError: it has more than 2^27 samples.
    """
    samples = samples_at_own_rate(decoder)
    if decoder.sample_rate != spec.sample_rate:
        samples = soxr.resample(samples, decoder.sample_rate, spec.sample_rate, quality="HQ")
    return samples


def samples_at_own_rate(decoder: Decoder) -> Float32:
    """The same at the rate of the file.

    Raises:
        AudioError: it has more than 2^27 samples.
    """
    blocks, count = [np.empty(0, np.float32)], 0
    # Not all at once: memory for the length that a header states may not be there.
    while len(block := decoder.read(count, min(_BLOCK, decoder.length - count))):
        blocks.append(block)
        count += len(block)
        if count > _LONGEST_CLIP:
            raise AudioError(
                f"is too long for a clip: more than {_LONGEST_CLIP / decoder.sample_rate:,.0f} s"
            )
    return np.concatenate(blocks)


def _spread(reader: WindowReader, count: int) -> Sequence[Window]:
    starts = reader.spread(count)
    # The last window is read first: if it is missing, the header's length is wrong, and so are all starts.
    last = reader.window(starts[-1])
    if last is None and not reader.not_finite:
        reader.decoder.measure()
        starts = reader.spread(count)
        last = reader.window(starts[-1])
    windows = [window for start in starts[:-1] if (window := reader.window(start))]
    windows += [last] if last else []
    if not windows:
        raise reader.error_without_windows()
    return reader.sounding(count, windows) if any(window.pauses for window in windows) else windows


def _all(reader: WindowReader, hop_s: float) -> Iterator[Window]:
    starts = reader.every(hop_s)
    number, previous, count, heard = 0, -1, 0, False
    while number < len(starts):
        start = starts[number]
        number += 1
        if start <= previous:
            continue
        if window := reader.window(start, trim=True):
            previous, count, heard = start, count + 1, heard or not window.silent
            yield window
            continue
        if start in reader.not_finite:
            continue
        end = reader.end
        beyond, last = bisect_right(starts, reader.from_file(end), lo=number), len(starts) - 1
        # Where any of these is there, what cannot be decoded is a hole, and the file goes on behind it.
        probes = dict.fromkeys((beyond, (beyond + last + 1) // 2, last) if beyond <= last else ())
        if any(reader.window(starts[probe]) for probe in probes):
            number = beyond
        elif end >= reader.decoder.length:
            break
        else:  # the header states more than there is
            reader.decoder.length = end
            starts = reader.every(hop_s)
            number = len(starts) - 1  # those before it have been read
    if not count:
        raise reader.error_without_windows()
    if not heard:
        yield from reader.sounding(count)
