"""The decoder of Ogg or FLAC files that follow one another in one file: libsndfile reads the first."""

from __future__ import annotations

import os

import soundfile

from ..arrays import Float32
from ..errors import AudioError
from .containers.flac_frames import parts_from_flac
from .containers.ogg_pages import Part, parts_from_ogg
from .decoder import Budget, Decoder
from .joined import JoinedDecoder
from .libsndfile import SoundFileDecoder


def decoder_of_chains(whole: SoundFileDecoder, budget: Budget) -> Decoder:
    """``Decoder`` of all links of a chain whose first one ``whole`` reads; it is closed with the result.

    Links without sound, or that libsndfile cannot open, are left out.
    """
    slot = _Slot(whole, budget)
    links: list[_Link] = []
    parts_of = parts_from_ogg if whole.format == "OGG" else parts_from_flac
    parts = parts_of(whole.descriptor, budget)
    try:
        for part in parts if len(parts) > 1 else []:
            budget.spend(0)
            try:
                decoder = slot.decoder(part)
            except (soundfile.LibsndfileError, AudioError):
                continue
            if decoder.length:
                links.append(_Link(slot, part, decoder.sample_rate, decoder.length))
    finally:
        slot.close_link()
    if not links:
        if not whole.length:
            whole.measure()
        return whole
    return JoinedDecoder(links)


class _Slot:
    """Keeps one link open, however many there are."""

    def __init__(self, whole: SoundFileDecoder, budget: Budget) -> None:
        self.whole, self._budget = whole, budget
        self._part: Part | None = None
        self._closed = False
        self._decoder: SoundFileDecoder | None = None

    def decoder(self, part: Part) -> SoundFileDecoder:
        if self._decoder is None or self._part != part:
            self.close_link()
            self._decoder, self._part = (
                SoundFileDecoder(os.dup(self.whole.descriptor), self._budget, part),
                part,
            )
        return self._decoder

    def close_link(self) -> None:
        if self._decoder:
            self._decoder.close()
        self._decoder = None

    def close(self) -> None:
        self.close_link()
        if not self._closed:
            self.whole.close()
        self._closed = True


class _Link:
    """``Decoder`` of one link, which is open while it is read."""

    def __init__(self, slot: _Slot, part: Part, sample_rate: int, length: int) -> None:
        self._slot, self._part = slot, part
        self.name, self.sample_rate, self.length = slot.whole.name, sample_rate, length

    def read(self, start: int, count: int) -> Float32:
        return self._slot.decoder(self._part).read(start, count)

    def measure(self) -> int:
        self.length = self._slot.decoder(self._part).measure()
        return self.length

    def tags(self) -> dict[str, str]:
        return self._slot.whole.tags()

    def close(self) -> None:
        self._slot.close()
