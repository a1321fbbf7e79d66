"""Which files count as audio: the suffixes that a search of folders takes, and what may be opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..errors import AudioError

_HEAD_BYTES = 4_096
_CONVERT = "which mer does not open: convert its sound first, for example ffmpeg -i FILE -vn OUT.flac"
_DECODE = "which mer does not open: convert its sound to FLAC first, with the tool of its makers"
_TS = ((0, 188), (4, 192), (0, 204))  # MPEG-TS: (offset of the first sync byte, distance of the next)
_LIST = "which holds no sound: give the files that it names"
_NOTES = "which holds notes and no sound: render it first"

# Of what FFmpeg may not open here: (name, what is said of it, offset of these bytes, bytes).
_OTHERS = (
    ("AVI", _CONVERT, 8, b"AVI "),
    ("AVI", _CONVERT, 8, b"AVIX"),
    ("MPEG program stream", _CONVERT, 0, b"\x00\x00\x01\xba"),
    ("MPEG video", _CONVERT, 0, b"\x00\x00\x01\xb3"),
    ("FLV", _CONVERT, 0, b"FLV\x01"),
    ("True Audio (TTA)", _CONVERT, 0, b"TTA1"),
    ("True Audio (TTA)", _CONVERT, 0, b"TTA2"),
    ("Monkey's Audio (APE)", _CONVERT, 0, b"MAC "),
    ("WavPack", _CONVERT, 0, b"wvpk"),
    ("Musepack", _CONVERT, 0, b"MPCK"),
    ("Musepack", _CONVERT, 0, b"MP+"),
    ("DSD (DSF)", _CONVERT, 0, b"DSD "),
    ("DSD (DSDIFF)", _CONVERT, 0, b"FRM8"),
    ("RealMedia", _CONVERT, 0, b".RMF"),
    ("RealAudio", _CONVERT, 0, b".ra\xfd"),
    ("AMR", _CONVERT, 0, b"#!AMR"),
    ("DTS", _CONVERT, 0, b"\x7f\xfe\x80\x01"),
    ("DTS", _CONVERT, 0, b"\xfe\x7f\x01\x80"),
    ("DTS", _CONVERT, 0, b"\x1f\xff\xe8\x00"),
    ("DTS", _CONVERT, 0, b"\xff\x1f\x00\xe8"),
    ("DTS", _CONVERT, 0, b"DTSHDHDR"),
    ("TrueHD", _CONVERT, 4, b"\xf8\x72\x6f\xba"),
    ("AAC (ADIF)", _CONVERT, 0, b"ADIF"),
    ("TAK", _CONVERT, 0, b"tBaK"),
    ("Shorten", _CONVERT, 0, b"ajkg"),
    ("TwinVQ (VQF)", _CONVERT, 0, b"TWIN"),
    ("MXF", _CONVERT, 0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02"),
    ("OptimFROG", _DECODE, 0, b"OFR "),
    ("Lossless Audio (LA)", _DECODE, 0, b"LA0"),
    ("MIDI", _NOTES, 0, b"MThd"),
    ("MIDI", _NOTES, 8, b"RMID"),
    ("a playlist", _LIST, 0, b"#EXTM3U"),
    ("a playlist", _LIST, 0, b"[playlist]"),
    ("a playlist", _LIST, 0, b"ffconcat"),
)

_AUDIO = (
    ".mp3 .m4a .m4b .mp4 .m4v .mov .3gp .aac .flac .ogg .oga .opus .wav .wave .aif .aiff .aifc .wma .asf "
    ".wmv .mkv .mka .webm .caf .w64 .rf64 .au"
)
AUDIO_SUFFIXES = frozenset(_AUDIO.split())
"""Lower-case suffixes of the audio and video files that a search of folders takes."""


def is_remote(path: str) -> bool:
    """Whether a path is a URL, to be read by fsspec."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.replace("+", "").isalnum()


def open_regular_file(path: str | Path) -> int:
    """Opens a local file and returns its descriptor. Devices, pipes and empty files are refused.

    Raises:
        AudioError: there is no such file, it cannot be opened, is not a regular file, or is empty.
    """
    try:
        # O_NONBLOCK: opening a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise AudioError("no such file") from None
    except OSError as error:
        raise AudioError(f"cannot be opened: {error.strerror or error}") from None
    except ValueError as error:  # a null character in the path
        raise AudioError(f"cannot be opened: {error}") from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return descriptor
    os.close(descriptor)
    raise AudioError("the file is empty" if stat.S_ISREG(status.st_mode) else "not a regular file")


def reason_from_head(path: str | Path) -> str:
    """Why a regular file that nothing could open is no audio file here: its format's name, where it is known.

    Its first bytes tell, or those behind its ID3v2 tags. For after everything failed: an MP3 with junk in
    front may begin with any bytes.
    """
    name, what = next(_formats_of(_head(path)), ("", ""))
    return f"{name}, {what}" if name else "not an audio file that libsndfile or FFmpeg can open"


def _head(path: str | Path) -> bytes:
    """The first bytes behind all ID3v2 tags."""
    offset = 0
    with suppress(AudioError), os.fdopen(open_regular_file(path), "rb") as file:
        while True:
            file.seek(offset)
            head = file.read(_HEAD_BYTES)
            if head[:3] != b"ID3" or len(head) < 10:
                return head
            size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
            offset += 10 + size
    return b""


def _formats_of(head: bytes) -> Iterator[tuple[str, str]]:
    for name, what, offset, magic in _OTHERS:
        if head.startswith(magic, offset):
            yield name, what
    # These have short sync words, which must come again where the first packet ends.
    if any(len(head) > 2 * 192 + first and {*head[first : 3 * step : step]} == {0x47} for first, step in _TS):
        yield "MPEG transport stream", _CONVERT
    if head[:2] in (b"\x0b\x77", b"\x77\x0b") and len(head) > 5:
        yield ("E-AC-3" if head[5] >> 3 > 10 else "AC-3"), _CONVERT
    if len(head) > 3 and head[0] == 0x56 and head[1] >> 5 == 7:
        length = 3 + ((head[1] & 0x1F) << 8 | head[2])
        if length >= len(head) - 1 or (head[length] == 0x56 and head[length + 1] >> 5 == 7):
            yield "AAC (LOAS)", _CONVERT
