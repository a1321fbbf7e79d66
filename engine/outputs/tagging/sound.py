"""What of a file is sound: a digest that tags do not change."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import av.error
from av.stream import Disposition

from ...audio.ffmpeg.container import open_container
from ...errors import AudioError

_SECONDS = 60.0  # for each call of FFmpeg


def sound_digest(path: str | Path) -> str:
    """A SHA-256 of all packets of a file's tracks with their times and the codecs' headers, undecoded.

    FFmpeg reads them, which has nothing in common with what writes tags. Pictures of covers are no track.

    Raises:
        AudioError: FFmpeg cannot open the file, or cannot read it to its end.
    """
    digest = hashlib.sha256()
    try:
        with open_container(path, _SECONDS) as container:
            streams = [each for each in container.streams if not each.disposition & Disposition.attached_pic]
            for stream in streams:
                context = stream.codec_context
                head = (stream.index, stream.type, context and (context.name, context.extradata))
                digest.update(repr((head, stream.time_base, stream.start_time)).encode())
            for packet in container.demux(streams) if streams else ():
                about = (packet.stream_index, packet.pts, packet.dts, packet.duration, packet.size)
                digest.update(repr(about).encode())
                digest.update(bytes(packet))
    except (av.error.FFmpegError, ValueError, struct.error) as error:
        raise AudioError(f"its sound cannot be read to the end: {error}") from None
    return digest.hexdigest()
