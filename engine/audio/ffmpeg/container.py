"""Opens what FFmpeg may open, and puts its tracks in order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import av
import av.error
from av.stream import Disposition

from ...errors import AudioError
from ..containers.header_repair import header_from_file
from ..formats import open_regular_file, reason_from_head

# Without these lists an "ffconcat" text named song.mp3 opens other files, and a playlist fetches URLs.
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mp3,mov,flac,ogg,wav,aac,asf,matroska,aiff",
}

_LAST = {"comment", "hearing_impaired", "visual_impaired", "dub"}  # kinds of tracks that are not the song


def open_container(path: str | Path, seconds: float) -> Any:
    """PyAV's container of a local file.

    Args:
        seconds: for each call of FFmpeg. In a hole of many gigabytes it looks for the next packet to the end.

    Raises:
        AudioError: FFmpeg cannot open it, or may not.
    """
    name = f"file:{Path(path).absolute()}"
    try:
        return av.open(name, options=_options(path), metadata_errors="ignore", timeout=seconds)
    except (av.error.FFmpegError, ValueError, MemoryError):
        raise AudioError(reason_from_head(path)) from None


def tracks_of(container: Any) -> list[int]:
    """The indices of the tracks that have a decoder, the one that players choose first at the beginning.

    Raises:
        AudioError: there is none.
    """
    if not container.streams.audio:
        raise AudioError("holds no audio stream")
    tracks = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if not tracks:
        raise AudioError("FFmpeg has no decoder for its sound")
    if len(tracks) > 1:
        tracks.sort(key=_rank)
    return [track.index for track in tracks]


def _options(path: str | Path) -> dict[str, str]:
    """FFmpeg's options for a file: alone it believes a size that a crashed recorder left in a WAV."""
    descriptor = open_regular_file(path)
    try:
        lies = bool(header_from_file(descriptor).corrections)
    finally:
        os.close(descriptor)
    return {**_OPTIONS, "ignore_length": "1"} if lies else _OPTIONS


def _rank(track: Any) -> tuple[bool, bool]:
    kinds = {kind.name for kind in Disposition if kind & track.disposition}
    return "default" not in kinds, bool(kinds & _LAST)
