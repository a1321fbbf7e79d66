"""Mutagen's class for a file, by what the file holds: by itself mutagen trusts names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ...audio.containers.asf_objects import ASF as ASF_HEAD
from ...audio.containers.part import part_of_file
from ...audio.formats import is_container, is_mp4
from ...errors import MerError
from .rest import behind_tags

_HEAD = 16
_OTHERS = (b"BW64", b"riff")  # WAV of more than 4 GB, W64
_NO_PLACE = "its format has no place for a mood"
_IN_FRONT = "an ID3v2 tag stands in front of its format's own: take that tag away with a tag editor first"
_LEAST_UNKNOWN = 0x7FFF_0000  # bytes: SoX states something above it, others 0 or all ones


class NoPlaceError(MerError):
    """A file whose format has no place for a mood that mutagen can write."""


def opened(path: str | Path) -> Any:
    """The file as mutagen has it, with tags or None.

    Raises:
        NoPlaceError: its format has no place for a mood.
        MerError: it is WAV or AIFF that was written to a pipe: its length stands for one that nobody knew; or
            ID3v2 stands in front of a format that has tags of its own.
        MutagenError: there is no sound in it that mutagen knows, and the like.
    """
    import mutagen
    from mutagen.aiff import AIFF
    from mutagen.asf import ASF
    from mutagen.flac import FLAC
    from mutagen.mp3 import MP3, HeaderNotFoundError
    from mutagen.mp4 import MP4
    from mutagen.oggflac import OggFLAC
    from mutagen.oggopus import OggOpus
    from mutagen.oggspeex import OggSpeex
    from mutagen.oggtheora import OggTheora
    from mutagen.oggvorbis import OggVorbis
    from mutagen.wave import WAVE

    with open(path, "rb") as file:
        head, size = file.read(_HEAD), os.fstat(file.fileno()).st_size
        sound = behind_tags(part_of_file(file.fileno())).read(0, _HEAD)
    name = str(path)
    if sound.startswith(b"fLaC"):
        return FLAC(name)
    if is_mp4(head):
        return MP4(name)
    if head.startswith(ASF_HEAD):
        return ASF(name)
    if head.startswith(b"OggS"):  # of these it looks at the content alone
        file = mutagen.File(name, options=[OggVorbis, OggOpus, OggFLAC, OggSpeex, OggTheora])
        if file is not None:
            return file
    # As they stand in the file: by itself mutagen turns frames of ID3v2.3 into those of 2.4.
    options: Any = {"translate": False, "load_v1": False}
    if (head[:4], head[8:12]) in ((b"RIFF", b"WAVE"), (b"FORM", b"AIFF"), (b"FORM", b"AIFC")):
        _check_length(head, size)
        return (WAVE if head[8:12] == b"WAVE" else AIFF)(name, **options)
    if _is_boxed(head) or _is_adts(sound):
        raise NoPlaceError(_NO_PLACE)
    try:
        mp3: Any = MP3(name, **options)
        if mp3.info.sketchy and not sound.startswith(b"\xff"):  # so few frames come by chance too
            raise HeaderNotFoundError("can't sync to MPEG frame")
    except HeaderNotFoundError:
        if not head.startswith(b"ID3"):
            raise NoPlaceError(_NO_PLACE) from None
        if _is_boxed(sound):
            raise MerError(_IN_FRONT) from None
        raise
    return mp3


def _is_boxed(head: bytes) -> bool:
    return is_container(head) or head.startswith(_OTHERS)


def _is_adts(sound: bytes) -> bool:
    return len(sound) > 1 and sound[0] == 0xFF and sound[1] & 0xF6 == 0xF0


def _check_length(head: bytes, size: int) -> None:
    stated = int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big")
    if stated == 0 or _LEAST_UNKNOWN <= stated > size:
        out = "OUT.wav" if head[8:12] == b"WAVE" else "OUT.aiff"
        raise MerError(f"its header does not say how long it is: save it anew (ffmpeg -i FILE -c copy {out})")
