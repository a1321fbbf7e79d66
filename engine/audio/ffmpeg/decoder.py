"""The decoder of what libsndfile cannot open (M4A/AAC, WMA, Matroska, video): FFmpeg, through PyAV."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np

from ...errors import AudioError, NothingHeardError
from ..channels import mono_from_two
from ..decoder import TAGS
from ..silence import SHORTEST_S, loud_s
from . import container as ffmpeg
from .frames import at_one_rate, check_samples, frames_from_decoded
from .timestamps import Frame, Timeline, first_frames, timed_alike, true_tick

if TYPE_CHECKING:
    from ...arrays import Float32
    from ..containers.file_view import FileView
    from ..decoder import Budget

    Block = tuple[int, tuple[tuple[Float32, ...], bool]]  # position, and channels after a loss or not

_SAME_S = 0.01
_TOO_SHORT_S = 1.0  # a header states so much less than the packets that it counts have
_PREROLL_S = 0.25  # decoded before the first sample read: AAC needs one earlier frame, WMA several


class FFmpegDecoder:
    """``Decoder`` by FFmpeg: exact to the sample where the codec is lossless, within 5 ms where it is not.

    It can be a frame off where the container's times are: behind each joint of an MP4's edit list of several
    parts, and in Matroska with several frames in a block or with a clock that is not steady.

    Position 0 is the first sample that the decoder gives, whatever time the container says it has: sound
    that begins 7 s into a video counts from where it begins. Of several tracks the default one is read, or
    the first that is not silent but for clicks.

    Args:
        untimed: the container's times are wrong: packets stand one after another, and all are counted.

    Raises:
        AudioError: FFmpeg cannot open or decode the file, it has no sound, or its rate or number of
            channels is outside the limits.
    """

    name = f"ffmpeg libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"

    def __init__(self, source: str | Path | FileView, budget: Budget, untimed: bool = False) -> None:
        self._source, self._budget, self._counts_all = source, budget, untimed
        self._rows = np.empty((2, 0), np.float32)
        self._edited = True
        self._container = self._opened()
        try:
            self._choose_track(ffmpeg.tracks_of(self._container))
            self.length = self.measure() if untimed else self._find_length()
            if self.length <= 0:
                raise NothingHeardError("holds no decodable audio")
        except BaseException:
            self.close()
            raise

    def read(self, start: int, count: int) -> Float32:
        if start != self._position:
            self._seek(start)
        self._position = -1  # until all is read: an error leaves it unknown
        # Frames are copied one by one: one that is kept costs FFmpeg a new buffer. Fresh memory costs too.
        if self._rows.shape[1] < count:
            self._rows = np.empty((2, count), np.float32)
        rows, stereo, filled = self._rows, False, 0
        while filled < count:
            block = self._pending.popleft() if self._pending else next(self._blocks, None)
            if block is None:
                break
            position, (channels, after_loss) = block
            skip, length = start + filled - position, len(channels[0])
            if skip >= length:
                continue
            if skip < 0:  # a gap is silence, as in a player
                gap = min(-skip, count - filled)
                self._budget.spend(gap, lost=after_loss)
                rows[:, filled : filled + gap] = 0
                filled += gap
                self._pending.append(block)
                continue
            if length - skip > count - filled:
                self._pending.append(block)
                length = skip + count - filled
            if skip or length < len(channels[0]):
                channels = tuple(channel[skip:length] for channel in channels)
            end = filled + length - skip
            if len(channels) == 2 and not stereo:
                rows[1, :filled], stereo = rows[0, :filled], True
            rows[0, filled:end] = channels[0]
            if stereo:
                rows[1, filled:end] = channels[-1]
            filled = end
        self._position = start + filled
        return mono_from_two(rows[:, :filled].T) if stereo else rows[0, :filled].copy()

    def measure(self) -> int:
        self._rewind()
        self.length = max((start + len(channels[0]) for start, (channels, _) in self._blocks), default=0)
        self._position = -1
        return self.length

    def tags(self) -> dict[str, str]:
        tags = ffmpeg.tags_of(self._container, self._stream)
        return {name: tags[name] for name in TAGS if tags.get(name)}

    def close(self) -> None:
        self._container.close()

    def _choose_track(self, tracks: list[int]) -> None:
        """Starts the first of these tracks that is heard; if none is, the one of them with the most sound."""
        error, loud = NothingHeardError("holds no decodable audio"), {}
        for index in tracks:
            try:
                self._start(index)
                if len(tracks) == 1:
                    return
                loud[index] = loud_s((channels for _, (channels, _) in self._blocks), self.sample_rate)
                if loud[index] >= SHORTEST_S:
                    self._rewind()
                    return
            except AudioError as reason:
                error = reason
            self._reopen()
        if not loud:
            raise error
        self._start(max(loud, key=loud.__getitem__))

    def _start(self, index: int, edited: bool = True) -> None:
        """Begins a track of a file just opened, and learns its rate and its times from its first frames.

        ``edited``: by the edit list of an MP4; begins again without it where it leaves a frame at most, or
        where its times are wrong.
        """
        self._index = index
        if edited != self._edited:
            self._edited = edited
            self._reopen()
        self._stream: Any = self._container.streams[index]
        self._kind = ffmpeg.kind_of(self._container, self._stream)
        self._untimed = self._counts_all or self._stream.codec_context.name in ffmpeg.UNTIMED
        decoded = frames_from_decoded(self._decoded(0), self._budget)
        first, of_any_clock = [*islice(decoded, 2)], self._kind in ffmpeg.OF_ANY_CLOCK
        if len(first) < 2 and edited and of_any_clock:
            self._start(index, edited=False)
            return
        if not first:
            raise NothingHeardError("holds no decodable audio")
        self.sample_rate: int = first[0][2]
        self._budget.check_format(self.sample_rate, self._stream.codec_context.channels)
        frames = at_one_rate(chain(first, decoded), self.sample_rate, self._budget)
        self._tick = float(self._stream.time_base) * self.sample_rate
        leading = first_frames(frames, self._tick)
        if of_any_clock and (tick := true_tick(leading, self._tick)) != self._tick:
            if edited:
                self._start(index, edited=False)
                return
            self._tick = tick
        self._timeline = Timeline(self.sample_rate, self._tick / self.sample_rate, leading)
        if self._stream.codec_context.name in ffmpeg.MAY_BE_CODED:
            check_samples(leading, frames)
        self._follow(0, chain(leading, frames))
        self._position = 0

    def _opened(self) -> Any:
        return ffmpeg.open_container(self._source, self._budget.limits.seconds / 2, self._edited)

    def _reopen(self) -> None:
        self.close()
        self._container = self._opened()
        self._stream = self._container.streams[self._index]

    def _follow(self, position: int, frames: Iterable[Frame]) -> None:
        """What is read next are these frames, the first of them at ``position``."""
        self._timeline.restart(position)
        self._pending: deque[Block] = deque()
        items = ((pts, len(channels[0]), lost, (channels, lost)) for pts, channels, _, lost in frames)
        self._blocks = self._timeline.placed(items)
        self._position = -1

    def _rewind(self, from_sample: int = 0) -> None:
        """Decodes from the beginning, or from a little before ``from_sample`` without what is before."""
        self._reopen()
        self._timeline.restart(None)
        frames = self._frames(from_sample)
        if from_sample <= 0:
            self._follow(0, frames)
            return
        leading = first_frames(frames, self._tick)
        self._follow(self._timeline.position(leading), chain(leading, frames))

    def _seek(self, start: int) -> None:
        """Moves to a packet from which sample ``start`` decodes correctly, or to the file's beginning."""
        if self._untimed or self._kind in ffmpeg.WITHOUT_INDEX or self._timeline.joined:
            if start < self._position or self._position < 0:
                skip = self._kind in ffmpeg.SKIPPABLE and not self._timeline.joined
                self._rewind(start - round(_PREROLL_S * self.sample_rate) if skip else 0)
            return
        for preroll_s in (_PREROLL_S, 2.0):
            target = start - round(preroll_s * self.sample_rate)
            if target > 0 and self._seek_before(start, target):
                return
        self._rewind()

    def _seek_before(self, start: int, target: int) -> bool:
        """Moves to a packet at about ``target``; False if what decodes from there begins after ``start``."""
        self._timeline.restart(None)
        frames = self._frames(target if self._kind in ffmpeg.SKIPPABLE else 0)
        try:
            self._container.seek(self._timeline.ticks(target), stream=self._stream, backward=True)
        except av.error.FFmpegError:
            return False
        leading = first_frames(frames, self._tick)
        position = self._timeline.position(leading)
        if not leading or position > start:
            return False
        self._follow(position, chain(leading, frames))
        return True

    def _packets(self) -> Iterator[Any]:
        packets = ffmpeg.packets_of(self._container, self._stream, self._budget)
        return timed_alike(packets) if self._kind == "ogg flac" else packets

    def _frames(self, from_sample: int) -> Iterator[Frame]:
        frames = frames_from_decoded(self._decoded(from_sample), self._budget)
        return at_one_rate(frames, self.sample_rate, self._budget)

    def _decoded(self, from_sample: int) -> Iterator[tuple[Any, bool]]:
        """FFmpeg's frames from about ``from_sample`` on, each with whether a packet before it was lost."""
        bad_packets = 0
        for packet in self._packets():
            if from_sample > 0 and packet.pts is not None:
                samples = self._samples(packet)
                if round(self._timeline.place(packet.pts, samples, exact=True) + samples) < from_sample:
                    continue
                from_sample = 0  # every packet from here on is decoded, without this check
            try:
                frames = ffmpeg.frames_of(packet)
            except (av.error.FFmpegError, ValueError):  # PyAV 19's, where FFmpeg has no decoder
                bad_packets += 1
                self._budget.spend(0)  # in a hole of an hour there are many
                continue
            for frame in frames:
                if self._untimed:
                    frame.pts = None
                yield frame, bad_packets > 0
                bad_packets = 0

    def _find_length(self) -> int:
        """The length in samples that the header states or, where it can be wrong, that the packets have."""
        stream, stated_s = self._stream, (self._container.duration or 0) / 1e6
        if stream.duration:
            # Priming that only a tag states is FFmpeg's start, and in the duration too.
            start = 0 if "iTunSMPB" in self._container.metadata else stream.start_time or 0
            stated_s = (start + stream.duration) * self._tick / self.sample_rate
        stated = self._timeline.after_seconds(stated_s) if stated_s else 0
        lies = stream.frames * self._timeline.size > stated + _TOO_SHORT_S * self.sample_rate
        at_the_end = lies or self._kind in ffmpeg.COUNTED_AT_THE_END or ffmpeg.is_cut(stream)
        if stated and (self._untimed or not (at_the_end or self._kind in ffmpeg.COUNTED)):
            return stated
        counted = sought = 0
        for seconds in (2, 20, 200) if at_the_end else ():
            sought = stated - seconds * self.sample_rate
            if counted := self._count_packets(sought):
                break
        if counted <= max(0, sought):  # the file broke off, or its clock went back: only all packets tell
            counted = self._count_packets(0)
        # Where both agree, the header is not rounded to milliseconds. An edit list may cut the last packet.
        same_s = _TOO_SHORT_S if lies else _SAME_S
        return stated if abs(stated - counted) < same_s * self.sample_rate else counted

    def _count_packets(self, from_sample: int) -> int:
        """The end of the last packet, of those from ``from_sample`` on; 0 if there is none."""
        self._position = -1
        if from_sample <= 0:
            self._reopen()
        else:
            try:
                self._container.seek(self._timeline.ticks(from_sample), stream=self._stream, backward=True)
            except av.error.FFmpegError:
                return 0
        self._timeline.restart(None)
        end, last = 0, None
        sized = ((p.pts, self._samples(p), True, p) for p in self._packets() if p.pts is not None)
        for position, packet in self._timeline.placed(sized):
            end, last = round(position + self._samples(packet)), packet
        if last is not None and self._stream.codec_context.name in ffmpeg.HELD_BACK:
            end += self._timeline.size
        elif last is not None and not last.duration:  # a frame shorter than the others, as in ALAC
            with suppress(av.error.FFmpegError):
                end += sum(frame.samples for frame in last.decode()) - self._timeline.size
        return end

    def _samples(self, packet: Any) -> float:
        self._budget.spend(0)
        return packet.duration * self._tick if packet.duration else self._timeline.size
