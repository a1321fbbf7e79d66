"""Opens what FFmpeg may open, and puts its tracks in order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
from av.stream import Disposition

from ...errors import AudioError
from ..containers.file_view import FileView
from ..containers.header_repair import header_from_file
from ..formats import open_regular_file, reason_from_head
from ..mpeg.adts_frames import FRAME_SAMPLES, RATES

if TYPE_CHECKING:
    from ..decoder import Budget

# Without these lists an "ffconcat" text named song.mp3 opens other files, and a playlist fetches URLs.
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mp3,mov,flac,ogg,wav,w64,aac,asf,matroska,aiff,caf,voc",
}

# By ``kind_of``: where FFmpeg seeks by a guess from the bit rate, or gives wrong times after a seek (FLAC and
# Speex in Ogg), all is decoded from the beginning, but for packets that can be left out because each holds
# all that its decoding needs (Speex: with the few before it).
WITHOUT_INDEX = {"aac", "mp3", "wav", "w64", "aiff", "caf", "voc", "ogg flac", "ogg speex"}
SKIPPABLE = {"aac", "mp3", "matroska,webm", "ogg flac", "ogg speex"}
# Where headers state no length, a guess or that of the last of joined files, all packets are counted; where
# joined files, live recordings and damage make it wrong, those at the end.
COUNTED = WITHOUT_INDEX | {"ogg"}
COUNTED_AT_THE_END = {"matroska,webm", "asf", "flac"}
OF_ANY_CLOCK = {"mov,mp4,m4a,3gp,3g2,mj2"}  # where the header states what a tick is, and may be wrong

# By the codec.
HELD_BACK = {"wmav1", "wmav2"}  # these decoders give one more frame after the last packet
MAY_BE_CODED = {"alac", "flac", "pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le"}
UNTIMED = {"wmalossless"}  # FFmpeg's frames of it have the times of packets half a second later

# Object types of AAC (ISO/IEC 14496-3, 1.5.2.1). Of the last FFmpeg decodes some frames, some as noise.
_LC, _ELD, _USAC = 2, 39, 42
_SINGLE = 0  # the kind of element that holds one channel
_MOST_CHANNELS = 6  # whose number is their arrangement too

# PyAV 19 has no choice of it: bytes of tags that are no UTF-8 are surrogates there.
_METADATA: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}

_APPLE = "com.apple.quicktime."  # before the names of tags, as QuickTime and its phones write them
_OPUS, _HOLE_BYTES = {"opus", "libopus"}, 8
_MAX_BAD_PLACES = 200  # at which FFmpeg gives up and is asked again
_LAST = {"comment", "hearing_impaired", "visual_impaired", "dub"}  # kinds of tracks that are not the song


def open_container(source: str | Path | FileView, seconds: float, edited: bool = True) -> Any:
    """PyAV's container of a local file, or of a view of one.

    Args:
        seconds: for each call of FFmpeg. In a hole of many gigabytes it looks for the next packet to the end.
        edited: leaves out what the edit list of an MP4 leaves out, besides priming.

    Raises:
        AudioError: FFmpeg cannot open it, or may not.
    """
    edits = {} if edited else {"advanced_editlist": "0"}
    try:
        if isinstance(source, FileView):
            source.seek(0)
            return av.open(source, options=_OPTIONS | edits, **_METADATA, timeout=seconds)
        name = f"file:{Path(source).absolute()}"
        return av.open(name, options=_options(source) | edits, **_METADATA, timeout=seconds)
    except (av.error.FFmpegError, ValueError, MemoryError):
        reason = "damaged" if isinstance(source, FileView) else reason_from_head(source)
        raise AudioError(reason) from None


def kind_of(container: Any, stream: Any) -> str:
    """FFmpeg's name of the container, and of the codec where that decides how it is read."""
    name = f"{container.format.name} {stream.codec_context.name}"
    return name if name in WITHOUT_INDEX else container.format.name


def is_cut(stream: Any) -> bool:
    """Whether the index of an MP4 leads beyond the end of the file. Before PyAV 17 nothing tells."""
    entries = getattr(stream, "index_entries", ()) if stream.container.format.name in OF_ANY_CLOCK else ()
    return bool(entries) and entries[-1].pos + entries[-1].size > stream.container.size


def tags_of(container: Any, stream: Any) -> dict[str, str]:
    """The tags of the song, their names in lower case, without bytes that are no UTF-8."""
    # Ogg keeps tags with the stream. What other containers keep there is about the track: "Stereo 2.0".
    own = stream.metadata if container.format.name == "ogg" else {}
    tags = {name.lower(): text for name, text in {**own, **container.metadata}.items()}
    of_apple = {name.removeprefix(_APPLE): text for name, text in tags.items() if name.startswith(_APPLE)}
    return {name: text.encode("utf-8", "ignore").decode() for name, text in {**of_apple, **tags}.items()}


def tracks_of(container: Any) -> list[int]:
    """The indices of the tracks that can be decoded, the one that players choose first at the beginning.

    Raises:
        AudioError: there is none.
    """
    if not container.streams.audio:
        raise AudioError("holds no audio stream")
    tracks = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if not tracks:
        raise AudioError("FFmpeg has no decoder for its sound")
    undecoded = {track.index: name for track in tracks if (name := _name_of_undecoded(track.codec_context))}
    tracks = [track for track in tracks if track.index not in undecoded]
    if not tracks:
        raise AudioError(
            f"holds {next(iter(undecoded.values()))}, which mer does not decode: "
            "convert it to WAV or FLAC with a program that does, for example afconvert of macOS"
        )
    if len(tracks) > 1:
        tracks.sort(key=_rank)
    return [track.index for track in tracks]


def packets_of(container: Any, stream: Any, budget: Budget) -> Iterator[Any]:
    """The stream's packets, as far as FFmpeg finds its way again where the container is damaged."""
    for _ in range(_MAX_BAD_PLACES):
        try:
            packets = container.demux(stream)
            context = stream.codec_context
            lacks_settings = container.format.name in OF_ANY_CLOCK and not context.extradata
            yield from _with_settings(packets, stream) if lacks_settings else packets
            break
        except av.error.InvalidDataError:
            budget.spend(0)
        except av.error.FFmpegError:
            break
    budget.spend(0)  # FFmpeg may have been stopped while it was looking for the next one


def frames_of(packet: Any) -> list[Any]:
    """What FFmpeg decodes from a packet.

    Raises:
        FFmpegError, ValueError: the packet is damaged, or is a hole.
    """
    # Zeros where a download stopped are no packet, but to Opus, which hears speech in them and makes noise.
    # The last packet of a hole begins with some, and would count 10 ms. One byte of zero is silence.
    is_opus = packet.size > 1 and packet.stream.codec_context.name in _OPUS
    if is_opus and not any(memoryview(packet)[:_HOLE_BYTES]):
        raise ValueError("a hole")
    return packet.decode()


def _options(path: str | Path) -> dict[str, str]:
    """FFmpeg's options for a file: alone it believes a size that a crashed recorder left in a WAV."""
    descriptor = open_regular_file(path)
    try:
        lies = bool(header_from_file(descriptor).corrections)
    finally:
        os.close(descriptor)
    return {**_OPTIONS, "ignore_length": "1"} if lies else _OPTIONS


def _with_settings(packets: Iterator[Any], stream: Any) -> Iterator[Any]:
    """Packets of a track without settings, which AAC has from now on where their length says another rate.

    What writes a header before it has a packet leaves them out, and states the rate that a high band (HE-AAC)
    doubled. FFmpeg takes that for the rate of the codec, and decodes nothing.
    """
    context = stream.codec_context
    is_aac = context.name == "aac" and context.channels <= _MOST_CHANNELS
    for packet in packets:
        if is_aac and packet.size and packet.duration and not (context.extradata or context.is_open):
            rate = FRAME_SAMPLES / (packet.duration * stream.time_base)
            if rate in RATES and rate != context.sample_rate:
                # Two channels of one are parametric stereo: in the frames the first element is a single one.
                is_one = context.channels == 2 and memoryview(packet)[0] >> 5 == _SINGLE
                settings = _LC << 11 | RATES.index(rate) << 7 | (1 if is_one else context.channels) << 3
                context.extradata = settings.to_bytes(2, "big")
        yield packet


def _name_of_undecoded(context: Any) -> str:
    """What a track of AAC holds that FFmpeg does not decode, or not whole; empty if it does."""
    settings = (context.extradata or b"") if context.name == "aac" else b""
    if len(settings) < 3 or settings[0] >> 3 != 31:  # then the object type is one of the later ones
        return ""
    object_type = 32 + ((settings[0] & 7) << 3 | settings[1] >> 5)
    if object_type == _ELD and settings[2] & 1:  # the flag of SBR, where the rate is one of the table
        return "AAC-ELD with SBR"
    return "xHE-AAC (USAC)" if object_type == _USAC else ""


def _rank(track: Any) -> tuple[bool, bool]:
    kinds = {kind.name for kind in Disposition if kind & track.disposition}
    return "default" not in kinds, bool(kinds & _LAST)
