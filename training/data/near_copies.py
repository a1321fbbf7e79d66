"""The same recording in several clips: at another bitrate or level, or cut elsewhere.

After Haitsma and Kalker (2002). What a clip's spectrum does in time, without its level and its tone, gives
a word of bits for each frame. Clips that share words at one offset are then compared there: loops, drum
machines and steady tones share words too, and are no copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ...engine.arrays import Float32

_FLOOR_DB = -60.0  # codecs leave nothing of what is quieter
_BANDS = 21  # a word has a bit less; with more, few words outlive 24 kbit/s
_ROWS = 0.78  # of the mels, up to 4 kHz of the default spec: above, codecs change most
_SMOOTH_S, _LAG_S = 0.32, 0.45  # clips cut elsewhere have their frames at other places, by half a hop at most
_NEIGHBOURS = 10  # a word that more clips have tells nothing, and would cost a comparison of each with each
_VOTES = 2  # words in common at one offset; chance gives one to one pair of clips in two

# 480 copies of 60 clips (MP3 and Opus at 64 and 24 kbit/s, -10 dB, cut 3.37 s later) have a correlation of
# 0.87 or more and a tone within 1.1 dB; eight pairs of clips that two people cut from a song 1.9 dB or less.
# Of 2,100 clips no other pair that shares words has more than 0.62, or less than 4.6 dB.
_WHOLE, _BAND, _SIXTH = 0.7, 0.5, 0.5  # correlations: of all, of nearly all bands, of each sixth of the time
_TONE_DB = 2.3  # the difference of their spectra, where they are loud
_OVERLAP_S, _OVERLAP = 1.0, 0.25  # at least so long, and such a share of the shorter clip

_Integers = npt.NDArray[np.int64]


def near_copies(decibels: Sequence[Float32], frame_s: float) -> list[tuple[int, int]]:
    """Pairs of clips (positions, the lower first, sorted) that hold the same recording.

    Sounds without movement, such as steady tones, are never found: only equal files tell that they are one.

    Args:
        decibels: each clip's spectrogram ``[mels, frames]`` in dB.
        frame_s: seconds from one frame to the next.
    """
    movements = [_movement(clip, frame_s) for clip in decibels]
    return sorted(
        {
            (i, j)
            for i, j, offset in _candidates(movements)
            if _same(movements[i], movements[j], offset, frame_s)
            and _same_tone(decibels[i], decibels[j], offset)
        }
    )


def _movement(decibels: Float32, frame_s: float) -> Float32:
    """How the differences of adjoining bands change within ``_LAG_S``: ``[bands - 1, frames]`` in dB."""
    rows = _rows(decibels)
    edges = np.linspace(0, rows, min(_BANDS, rows) + 1).astype(int)
    bands = np.add.reduceat(np.maximum(decibels[:rows], _FLOOR_DB, dtype=np.float64), edges[:-1], axis=0)
    bands /= np.diff(edges)[:, None]
    smooth, lag = max(1, round(_SMOOTH_S / frame_s)), max(1, round(_LAG_S / frame_s))
    if bands.shape[1] <= smooth + lag:
        return np.empty((len(bands) - 1, 0), np.float32)
    sums = np.cumsum(np.pad(bands, ((0, 0), (1, 0))), axis=1)
    shapes = np.diff((sums[:, smooth:] - sums[:, :-smooth]) / smooth, axis=0)
    return (shapes[:, lag:] - shapes[:, :-lag]).astype(np.float32)


def _rows(decibels: Float32) -> int:
    return min(len(decibels), max(2, int(_ROWS * len(decibels))))


def _candidates(movements: Sequence[Float32]) -> Iterator[tuple[int, int, int]]:
    """Pairs of clips, and by how many frames the second begins later, that share words there."""
    words, clips, frames = _index(movements)
    span = 2 * max((movement.shape[1] for movement in movements), default=0) + 2
    keys: list[_Integers] = []
    for distance in range(1, _NEIGHBOURS):  # among equal words, which adjoin
        one = np.flatnonzero(words[distance:] == words[:-distance])
        other = one + distance
        different = clips[one] < clips[other]  # equal words stand in the order of clips
        one, other = one[different], other[different]
        pairs = clips[one] * len(movements) + clips[other]
        keys.append(pairs * span + frames[one] - frames[other] + span // 2)
    places, votes = np.unique(np.concatenate(keys), return_counts=True)
    # Where a clip begins between two frames, its votes go to both offsets.
    adjoining = np.diff(places) == 1
    together = votes.copy()
    together[:-1] += votes[1:] * adjoining
    together[1:] += votes[:-1] * adjoining
    for key in places[together >= _VOTES].tolist():
        pair, offset = divmod(key, span)
        first, second = divmod(pair, len(movements))
        yield first, second, offset - span // 2


def _index(movements: Sequence[Float32]) -> tuple[_Integers, _Integers, _Integers]:
    """All words, sorted, with their clips and frames."""
    words, clips, frames = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for clip, movement in enumerate(movements):
        bits = (movement > 0).astype(np.int64)
        word = (bits << np.arange(len(bits))[:, None]).sum(axis=0)
        # Nothing moves where no bit is set; a word that lasts is one.
        kept = np.flatnonzero((np.diff(word, prepend=-1) != 0) & (word != 0))
        words.append(word[kept])
        clips.append(np.full(len(kept), clip))
        frames.append(kept)
    word = np.concatenate(words)
    order = np.argsort(word, kind="stable")
    return word[order], np.concatenate(clips)[order], np.concatenate(frames)[order]


def _same(first: Float32, second: Float32, offset: int, frame_s: float) -> bool:
    """Whether two clips move alike where they overlap: in all bands, and all the time."""
    a, b = _overlap(first, second, offset)
    shorter = min(first.shape[1], second.shape[1])
    if a.shape[1] < max(6, _OVERLAP_S / frame_s, _OVERLAP * shorter) or _correlation(a, b) < _WHOLE:
        return False
    by_band = [_correlation(x, y) for x, y in zip(a, b, strict=True)]
    parts = np.array_split(np.arange(a.shape[1]), 6)
    by_part = [_correlation(a[:, part], b[:, part]) for part in parts]
    return bool(np.quantile(by_band, 0.1) >= _BAND and min(by_part) >= _SIXTH)


def _same_tone(first: Float32, second: Float32, offset: int) -> bool:
    """Whether the spectra of two clips, in dB, differ by no more than a level where they overlap."""
    rows = _rows(first)
    one, other = (np.maximum(part[:rows], _FLOOR_DB).mean(axis=1) for part in _overlap(first, second, offset))
    level = np.median(one - other)
    loud = np.argsort(np.maximum(one, other + level))[-max(1, rows // 3) :]
    difference = (one - other)[loud]
    return bool(np.std(difference) <= _TONE_DB)


def _overlap(first: Float32, second: Float32, offset: int) -> tuple[Float32, Float32]:
    """The columns of both that are at the same time, where the second begins ``offset`` after the first."""
    begin, skip = max(offset, 0), max(-offset, 0)
    count = max(0, min(first.shape[1] - begin, second.shape[1] - skip))
    return first[:, begin : begin + count], second[:, skip : skip + count]


def _correlation(a: Float32, b: Float32) -> float:
    """From -1 to 1; 0 where nothing moves."""
    size = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum()) / size if size > 1e-9 else 0.0
