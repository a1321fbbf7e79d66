"""The decoder of files that follow one another in one file: Ogg, FLAC, Matroska. Libraries read the first."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from contextlib import suppress

import soundfile

from ..arrays import Float32
from ..errors import AudioError
from .containers.file_view import FileView, Span
from .containers.flac_frames import beginnings_in_flac, parts_from_flac
from .containers.ogg_pages import begins_together, parts_from_ogg
from .decoder import Budget, Decoder
from .joined import JoinedDecoder
from .libsndfile import SoundFileDecoder

_BY_LIBSNDFILE = (b"OggS", b"fLaC")


def decoder_of_chains(whole: SoundFileDecoder, budget: Budget) -> Decoder:
    """``Decoder`` of all links of a chain whose first one ``whole`` reads; it is closed with the result.

    Links without sound, or that cannot be decoded, are left out.
    """
    is_ogg = whole.format == "OGG"
    parts = (parts_from_ogg if is_ogg else parts_from_flac)(whole.descriptor, budget)
    beginnings = 0 if is_ogg else beginnings_in_flac(whole.descriptor, budget)
    if beginnings > max(1, len(parts)) and whole.by_ffmpeg():
        whole.measure()  # links without a header of their own: libsndfile would misplace their frames
        return whole
    links = _links(_Slot(whole.descriptor, budget, whole.close), parts if len(parts) > 1 else [])
    if not links:
        if not whole.length:
            whole.measure()
        return whole
    return JoinedDecoder(links)


def decoder_of_segments(file: io.FileIO, parts: Sequence[Span], budget: Budget) -> Decoder:
    """``Decoder`` of Matroska or Ogg files in one. Those without sound that can be decoded are left out.

    Args:
        file: closed with the decoder, or where there is an error.

    Raises:
        AudioError: none of them has sound.
    """
    links = _links(_Slot(file.fileno(), budget, file.close), parts)
    if not links:
        file.close()
        raise AudioError("holds no decodable audio")
    return JoinedDecoder(links)


def _link_decoder(descriptor: int, part: Span, budget: Budget) -> Decoder:
    is_plain = not begins_together(descriptor, part[0])  # of streams at once libsndfile reads the first
    if is_plain and os.pread(descriptor, 4, part[0]) in _BY_LIBSNDFILE:
        with suppress(soundfile.LibsndfileError):
            return SoundFileDecoder(os.dup(descriptor), budget, part)
    from .ffmpeg.decoder import FFmpegDecoder  # FFmpeg's libraries are loaded only when a file needs them

    return FFmpegDecoder(FileView(descriptor, *part), budget)


def _links(slot: _Slot, parts: Sequence[Span]) -> list[_Link]:
    links: list[_Link] = []
    try:
        for part in parts:
            slot.budget.spend(0)
            try:
                decoder = slot.decoder(part)
            except AudioError:
                continue
            if decoder.length:
                links.append(_Link(slot, part, decoder))
        slot.budget.spend(0)  # or what ended the last one's time would leave that out
    finally:
        slot.close_link()
    return links


class _Slot:
    """Keeps one link open, however many there are."""

    def __init__(self, descriptor: int, budget: Budget, close_whole: Callable[[], None]) -> None:
        self.budget, self._descriptor, self._close_whole = budget, descriptor, close_whole
        self._part: Span | None = None
        self._closed = False
        self._decoder: Decoder | None = None

    def decoder(self, part: Span) -> Decoder:
        if self._decoder is None or self._part != part:
            self.close_link()
            self._decoder, self._part = _link_decoder(self._descriptor, part, self.budget), part
        return self._decoder

    def close_link(self) -> None:
        if self._decoder:
            self._decoder.close()
        self._decoder = None

    def close(self) -> None:
        self.close_link()
        if not self._closed:
            self._close_whole()
        self._closed = True


class _Link:
    """``Decoder`` of one link, which is open while it is read."""

    def __init__(self, slot: _Slot, part: Span, decoder: Decoder) -> None:
        self._slot, self._part = slot, part
        self.name, self.sample_rate, self.length = decoder.name, decoder.sample_rate, decoder.length

    def read(self, start: int, count: int) -> Float32:
        return self._slot.decoder(self._part).read(start, count)

    def measure(self) -> int:
        self.length = self._slot.decoder(self._part).measure()
        return self.length

    def tags(self) -> dict[str, str]:
        return self._slot.decoder(self._part).tags()

    def close(self) -> None:
        self._slot.close()
