"""Where FFmpeg's frames stand: positions in samples, from times in ticks.

A frame begins where the one before it ended. Its own time does not place it, because it is not exact:
Matroska and ASF count whole milliseconds (22 samples off at 44.1 kHz), and FFmpeg's times of Ogg Vorbis are
late by up to 896 samples where the size of blocks changes. A time is believed where there is no frame
before, which is after a seek, and where it differs by more than 0.1 s for good: forward it is a gap, which
is silence, and backward another stream was joined, whose time goes on from where the first one ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from typing import Any

from ...arrays import Float32

_JUMP_S = 0.1
_AHEAD_S = 10.0  # of sound: times that jumped and do not come back in it were right
_MOST_AHEAD = 1_000  # frames or packets: the sizes of some are not known
_LONGEST_GAP_S = 3_600.0  # a longer one is a broken clock
_LAST_TICK = 1 << 62  # what FFmpeg can count
_WRONG_CLOCK = 1.05, 4.0  # times as fast or slow as its frames, at least and at most: more is lost sound
_FEW, _MANY = 5, 32  # frames that tell where they stand: of equal sizes, of any sizes


Frame = tuple[int | None, tuple[Float32, ...], int, bool]
"""(time, channels, sample rate in Hz, after a loss). A plain tuple, because there are 40 of them a second.

The time is in ticks, None where the frame has none. Of one or two channels each is ``[samples]``. After a
loss: something before it could not be decoded.
"""


class Timeline:
    """Positions in one stream. Position 0 is the first sample that the decoder gives, after its priming.

    Args:
        rate: in Hz.
        tick_s: the length of a tick in seconds.
        first: the stream's first frames, by ``first_frames``.

    Attributes:
        next: the position after what was placed last; None where nothing says where the next frame stands.
        size: of the stream's frames; 0 if they differ.
        joined: whether a time jumped backward or very far, so that a seek by time would go to another place.
    """

    def __init__(self, rate: int, tick_s: float, first: list[Frame]) -> None:
        self._rate = rate
        self._tick, self._jump = tick_s * rate, _JUMP_S * rate  # in samples
        self.next: int | None = 0
        self.joined = False
        self._origin = _time_of_first(first, self._tick, self._jump)
        self._zero = self._origin  # the time of position 0, in samples
        # Frames of one size stand on a grid, by which times of whole milliseconds become exact.
        self.size = _common_size(first)
        self._phase = sum(map(_size, first[:-1]))

    def restart(self, position: int | None) -> None:
        """What is placed next stands at ``position``, or, where it is None, where its time says."""
        self.next, self._zero = position, self._origin

    def after_seconds(self, seconds: float) -> int:
        """The position of a time in seconds."""
        return round(seconds * self._rate - self._zero)

    def ticks(self, position: int) -> int:
        """The time of a position."""
        return min(int((self._zero + position) // self._tick), _LAST_TICK)

    def position(self, first: list[Frame]) -> int:
        """The position of the first of these frames, from somewhere in the stream, by ``first_frames``."""
        if not first:
            return 0
        start = _time_of_first(first, self._tick, self._jump) - self._zero
        if self.size != _common_size(first):
            return round(start)
        ahead = sum(map(_size, first[:-1]))
        return self._on_grid(start + ahead) - ahead

    def placed(self, items: Iterable[tuple[int | None, float, bool, Any]]) -> Iterator[tuple[int, Any]]:
        """Places each of (time, samples, whether ``exact``, anything): its position, and the last of these.

        A time that jumps was late or early, and places nothing, where one in the next seconds is again what
        it would be without the jump.
        """
        items, ahead = iter(items), deque[tuple[int | None, float, bool, Any]]()
        while item := ahead.popleft() if ahead else next(items, None):
            pts, count, exact, thing = item
            if self._jumps(pts, self.next):
                known = sum(later[1] for later in ahead)
                enough = _AHEAD_S * self._rate
                while known < enough and len(ahead) < _MOST_AHEAD and (later := next(items, None)):
                    ahead.append(later)
                    known += later[1]
                ends = accumulate((later[1] for later in ahead), initial=(self.next or 0) + count)
                times = (later[0] for later in ahead)
                if any(t is not None and not self._jumps(t, at) for t, at in zip(times, ends, strict=False)):
                    pts = None
            yield self.place(pts, count, exact), thing

    def _jumps(self, pts: int | None, position: float | None) -> bool:
        """Whether a time is another than that of the position by more than 0.1 s, where both are known."""
        if pts is None or position is None:
            return False
        return abs(pts * self._tick - self._zero - position) > self._jump

    def place(self, pts: int | None, count: float, exact: bool = False) -> int:
        """The position of a frame or packet of ``count`` samples.

        ``exact`` believes a time that is later than 0.1 s allow: that of a packet, whose length is rounded to
        ticks too, or of a frame after others that were lost.
        """
        position = self.next
        if pts is not None:
            stated = pts * self._tick - self._zero
            if position is None:
                position = round(stated)
            late = stated - position
            if not -self._jump <= late < _LONGEST_GAP_S * self._rate:
                self._zero += late
                self.joined = True
            elif late > (2 * self._tick + 1 if exact else self._jump):
                position = self._on_grid(stated) if count == self.size else round(stated)
        position = position or 0
        self.next = position + round(count)
        return position

    def _on_grid(self, position: float) -> int:
        """The place of a frame of the common size that is nearest, if the ticks allow it."""
        if not self.size:
            return round(position)
        nearest = self._phase + round((position - self._phase) / self.size) * self.size
        return nearest if abs(nearest - position) <= 1.25 * self._tick else round(position)


def first_frames(frames: Iterable[Frame], tick: float) -> list[Frame]:
    """As many of consecutive frames as tell where they stand. ``tick`` is in samples."""
    first: list[Frame] = []
    for frame in frames:
        first.append(frame)
        if len(first) == _MANY or _common_size(first) >= max(1, 4 * tick):
            break
    return first


def timed_alike(packets: Iterable[Any]) -> Iterator[Any]:
    """Packets of FLAC in Ogg from the beginning, their times as if the stream's clock had begun at 0.

    FFmpeg times those of the first page from 0, and the others by the clock of the radio's recorder, or of
    the whole that a part was cut from.
    """
    page, end, late = None, 0, None
    for packet in packets:
        if packet.pts is not None:
            page = packet.pos if page is None else page
            if late is None and packet.pos == page:
                end = packet.pts + (packet.duration or 0)
            elif late is None:
                late = packet.pts - end
            packet.pts -= late or 0
        yield packet


def true_tick(first: list[Frame], tick: float) -> float:
    """The length of a tick of an MP4 that states ``tick``, both in samples, by its ``first_frames``.

    An MP4 may state half or double the codec's rate: every few frames there would be a gap or a jump.
    """
    size, times = _common_size(first), [frame[0] for frame in first[-_FEW:] if frame[0] is not None]
    steps = {after - before for before, after in pairwise(times)}
    if not size or len(times) < _FEW or len(steps) > 1 or min(steps) <= 0:
        return tick
    true = size / steps.pop()
    least, most = _WRONG_CLOCK
    return true if least < max(true / tick, tick / true) <= most else tick


def _size(frame: Frame) -> int:
    return len(frame[1][0])


def _common_size(frames: list[Frame]) -> int:
    """The size of the last few frames; 0 if they differ."""
    sizes = {*map(_size, frames[-_FEW:])}
    return sizes.pop() if len(frames) >= _FEW and len(sizes) == 1 else 0


def _time_of_first(frames: list[Frame], tick: float, jump: float) -> float:
    """In samples. Each frame's time, less the samples before it, tells it with an error of its own."""
    offsets: list[float] = []
    before = 0
    for frame in frames:
        pts = frame[0]
        if pts is not None:
            offset = pts * tick - before
            if offsets and abs(offset - offsets[0]) > jump:
                break
            offsets.append(offset)
        before += _size(frame)
    if not offsets:
        return 0.0
    # Rounding errs to both sides alike, by half a tick. What is later than that is late (Vorbis of an Ogg, in
    # Matroska too). Where ticks are samples, times are exact or late.
    earliest = min(offsets)
    rounded = [offset for offset in offsets if offset <= earliest + tick]
    return earliest if tick <= 1 else (earliest + max(rounded)) / 2
