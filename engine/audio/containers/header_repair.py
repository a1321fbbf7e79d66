"""Headers of WAV, RF64, AIFF, AU and CAF whose sizes are not true: a recorder that crashed leaves such ones.

libsndfile believes a size that is too small, and the sound behind it is never heard. Here the true end of the
sound is looked for, and a size that lies is corrected. A size that reaches to the end of the file, or to
another chunk, is true. Where what follows is of no known kind, it is true if the size of the whole file
agrees with it, or if the format has none, and it is not the smaller part: recording that went on leaves more.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from ...errors import AudioError
from ..formats import start_behind_tags
from .chunks import AIFF, BEHIND_SOUND, CAF, RIFF, RIFX, W64, Chunk, FileBytes, Layout, Order, chunks_from
from .file_view import Span
from .flac_frames import length_from_flac, start_of_flac, stretches_without_frames
from .sound_chunks import WavFormat, further_sound, size_without, unpadded_chunks, wav_format

_TAIL_BYTES = 1 << 20  # at the end of a file, in which chunks behind the sound are looked for
_MAX_TRIES = 100
_LONGEST = 0xFFFFFFFF  # bytes that a size of WAV can state: that of more is less by 4 GB, or a multiple
_SEARCHED_BYTES = 4 << 30  # libFLAC searches all of a file for a frame, without an end to its patience
_PADDING = 4_096  # so few bytes behind the sound are padding or a tag of an unknown kind
_NO_SOUND = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN", b"PK\x03\x04")
_ALAC_BITS = (16, 20, 24, 32)
_AIFF_C_BITS = {b"in24": 24, b"42ni": 24, b"in32": 32, b"23ni": 32}


@dataclass(frozen=True)
class Header:
    """What libsndfile does not say, or gets wrong.

    ``corrections`` holds the bytes that make the header true, by their offset in it: none if it is.
    ``wav`` is what a WAV or W64 says of its format. ``start`` is where the header begins, ``end`` the offset
    in it at which libsndfile must stop, where it would read to the end of the file, and ``left_out`` what
    is to be passed over, from which offset to which: it is no sound.
    ``may_be_chain`` says that more FLAC files may follow in the same file, ``for_ffmpeg`` that libFLAC counts
    it wrongly, as it was cut out of another, or seeks in it for minutes, as a part of it has no frames.
    """

    corrections: dict[int, bytes] = field(default_factory=dict)
    wav: WavFormat = field(default_factory=WavFormat)
    start: int = 0
    end: int | None = None
    left_out: tuple[Span, ...] = ()
    may_be_chain: bool = False
    for_ffmpeg: bool = False


def header_from_file(descriptor: int) -> Header:
    """Looks at the header of an open file of any kind; the descriptor's position stays.

    Reads some thousand bytes of a file whose header is true.

    Raises:
        AudioError: it is FLAC of many gigabytes that does not end in frames, or AIFF-C of floats that are
            little-endian.
    """
    file = FileBytes(descriptor, start_behind_tags(descriptor))
    start = start_of_flac(descriptor, file.start)
    if start is not None:
        return _flac(descriptor, start)
    return replace(_header(file), start=file.start)


def header_of_part(descriptor: int, part: Span) -> Header:
    """The same of one of the Ogg or FLAC files that are joined in a file."""
    length = length_from_flac(descriptor, *part)
    return Header(length.corrections if length else {})


def _flac(descriptor: int, start: int) -> Header:
    length, size = length_from_flac(descriptor, start), os.fstat(descriptor).st_size
    if not length and size > _SEARCHED_BYTES:
        raise AudioError("damaged: its end holds no frame of FLAC")
    if not length and size <= _TAIL_BYTES:  # it may be one frame
        return Header(start=start, may_be_chain=True)
    if not length or length.first or length.has_hole:
        holes = () if length and length.first else stretches_without_frames(descriptor, start)
        return Header(length.corrections if length else {}, start=start, left_out=holes, for_ffmpeg=True)
    may_be_chain = not (length.is_one and length.stated in (0, length.true))
    return Header(length.corrections, start=start, may_be_chain=may_be_chain)


def _header(file: FileBytes) -> Header:
    kind, form = file.bytes_at(0, 4), file.bytes_at(8, 4)
    if kind in (b"RIFF", b"RF64", b"BW64", b"RIFX") and form == b"WAVE":
        layout = RIFX if kind == b"RIFX" else RIFF
        return _without_odd_bytes(file, layout, _wav(file, kind, layout))
    if kind == b"FORM" and form in (b"AIFF", b"AIFC"):
        return _without_odd_bytes(file, AIFF, _aiff(file, form))
    if kind == b"caff":
        return _caf(file)
    if kind in (b".snd", b"dns."):
        return _au(file, "big" if kind == b".snd" else "little")
    if kind == b"riff" and file.bytes_at(24, 4) == b"wave":
        return _w64(file)
    return Header()


def _wav(file: FileBytes, kind: bytes, layout: Layout) -> Header:
    long_size = None
    corrections = {}
    if kind == b"BW64":  # the later name of the same format, which libsndfile does not know
        corrections[0] = b"RF64"
    wav = WavFormat()
    format_chunk = None
    for chunk in chunks_from(file, layout):
        if chunk.kind == b"ds64":
            long_size = chunk.body + 8
        elif chunk.kind == b"fmt ":
            wav, format_chunk = wav_format(file, chunk), chunk
        elif chunk.kind == b"data":
            if long_size is not None:
                stated = int.from_bytes(file.bytes_at(long_size, 8), "little")
                form = int.from_bytes(file.bytes_at(long_size - 8, 8), "little")
                if chunk.size == 0xFFFFFFFF:
                    chunk = Chunk(chunk.kind, chunk.at, chunk.body, stated)
                end = _true_end(file, layout, chunk, form + 8)
                if stated >> 62:  # libsndfile takes it for less than nothing
                    end = end or file.size
                elif stated != chunk.size:
                    end = end or chunk.end
            else:
                end = _true_end(file, layout, chunk, _form_end(file, layout.order))
            left_out, last = ((), None) if end else further_sound(file, layout, chunk, format_chunk)
            if (end := end or last) is None:
                break
            size = size_without(left_out, chunk, end)
            if long_size is not None:
                corrections[long_size] = size.to_bytes(8, "little")
                corrections[long_size + 8] = bytes(8)  # the count of samples, which is a lie too
            elif size > _LONGEST:
                # Of such a header libsndfile thinks that it was never finished, and reads to the end.
                corrections |= {4: (8).to_bytes(4, layout.order), chunk.at + 4: bytes(4)}
                last = end
            else:
                corrections[chunk.at + 4] = size.to_bytes(4, layout.order)
            return Header(corrections, wav, end=last, left_out=left_out)
    return Header(corrections, wav)


def _aiff(file: FileBytes, form: bytes) -> Header:
    corrections = _true_integers(file) if form == b"AIFC" else {}
    for chunk in chunks_from(file, AIFF):
        if chunk.kind == b"SSND":
            if end := _true_end(file, AIFF, chunk, _form_end(file, "big"), 8):
                corrections[chunk.at + 4] = min(end - chunk.body, 0xFFFFFFFF).to_bytes(4, "big")
            break
    return Header(corrections)


def _true_integers(file: FileBytes) -> dict[int, bytes]:
    """Corrections of an AIFF-C whose integers are little-endian or longer than stated: else noise."""
    chunks = {chunk.kind: chunk for chunk in chunks_from(file, AIFF)}
    if (common := chunks.get(b"COMM")) is None:
        return {}
    kind, settings = file.bytes_at(common.body + 18, 4), chunks.get(b"wave")
    # As QuickTime says so.
    is_little = settings and b"enda\0\1" in file.bytes_at(settings.body, min(settings.size, 256))
    if is_little and kind in (b"fl32", b"fl64"):
        raise AudioError(
            "holds little-endian floats in AIFF-C, which mer does not read: save its sound as WAV or FLAC"
        )
    is_little = kind == b"42ni" or (is_little and kind in (b"in24", b"in32"))
    order = {common.body + 18: b"sowt"} if is_little else {}
    stated, bits = int.from_bytes(file.bytes_at(common.body + 6, 2), "big"), _AIFF_C_BITS.get(kind, 0)
    return order | ({common.body + 6: bits.to_bytes(2, "big")} if stated < bits else {})


def _caf(file: FileBytes) -> Header:
    corrections = {}
    alac_flags = None  # where the header says how many bits the samples had
    for chunk in chunks_from(file, CAF):
        if chunk.kind == b"desc" and file.bytes_at(chunk.body + 8, 8) == b"alac" + bytes(4):
            alac_flags = chunk.body + 12  # FFmpeg leaves them out, and libsndfile needs them
        elif chunk.kind == b"kuki" and alac_flags:
            cookie = file.bytes_at(chunk.body, min(chunk.size, 64))
            settings = cookie[24:] if cookie[4:8] == b"frma" else cookie
            if settings[5:6] and settings[5] in _ALAC_BITS:
                corrections[alac_flags] = (_ALAC_BITS.index(settings[5]) + 1).to_bytes(4, "big")
        elif chunk.kind == b"data":
            end = _true_end(file, CAF, chunk, None, 4)
            if chunk.end > file.size:
                # -1 is allowed, and says that the sound goes on to the end: libsndfile takes it for damage.
                end = end or file.size
            if end:
                corrections[chunk.at + 4] = (end - chunk.body).to_bytes(8, "big")
            break
    return Header(corrections)


def _w64(file: FileBytes) -> Header:
    wav = WavFormat()
    format_chunk = None
    for chunk in chunks_from(file, W64):
        if chunk.kind == b"fmt ":
            wav, format_chunk = wav_format(file, chunk), chunk
        elif chunk.kind == b"data":
            end = _true_end(file, W64, chunk, None)
            left_out, last = ((), None) if end else further_sound(file, W64, chunk, format_chunk)
            if last:
                size = (size_without(left_out, chunk, last) + W64.head).to_bytes(8, "little")
                return Header({chunk.at + W64.id_bytes: size}, wav, end=last, left_out=left_out)
            end = end or chunk.end
            return Header(wav=wav, end=end if chunk.size and end < file.size else None)
    return Header(wav=wav)


def _au(file: FileBytes, order: Order) -> Header:
    start, size = (int.from_bytes(file.bytes_at(offset, 4), order) for offset in (4, 8))
    rest = file.size - start
    is_true = size == 0xFFFFFFFF or rest <= 0 or (size and 0 <= rest - size <= max(size, _PADDING))
    return Header() if is_true else Header({8: b"\xff\xff\xff\xff"})  # to the end of the file


def _without_odd_bytes(file: FileBytes, layout: Layout, header: Header) -> Header:
    """Makes chunks even that stand before the sound and lack the byte which does so."""
    corrections, left_out = dict(header.corrections), []
    for chunk in unpadded_chunks(file, layout):
        corrections[chunk.at + 4] = (chunk.size - 1).to_bytes(4, layout.order)
        left_out.append((chunk.end - 1, chunk.end))
    return replace(header, corrections=corrections, left_out=(*left_out, *header.left_out))


def _form_end(file: FileBytes, order: Order) -> int:
    """Where a RIFF or FORM file ends, as its first size says."""
    return 8 + int.from_bytes(file.bytes_at(4, 4), order)


def _true_end(
    file: FileBytes, layout: Layout, sound: Chunk, form_end: int | None, before_sound: int = 0
) -> int | None:
    """The offset at which the sound ends, if its chunk's size is a lie; None if it is true or does no harm.

    ``before_sound`` counts bytes at the chunk's beginning that are no sound, ``form_end`` is where the header
    says the file ends.
    """
    size, rest = max(0, sound.size - before_sound), file.size - sound.end
    if rest < 0:  # libsndfile reads to the end of the file, and takes chunks there for sound
        end = _start_of_last_chunks(file, layout, sound.body)
        return end if end < file.size else None
    if rest <= (_PADDING if size else 0) or _is_followed(file, layout, sound):
        return None
    if rest <= size and (form_end is None or 0 <= form_end - sound.end <= 1):
        return None  # all sizes agree on where the sound ends
    if size and form_end is not None and _is_chain_to(file, layout, sound, form_end):
        return None
    return _start_of_last_chunks(file, layout, sound.end)


def _is_followed(file: FileBytes, layout: Layout, sound: Chunk) -> bool:
    """Whether what stands behind the sound is known not to be sound."""
    return any(
        file.bytes_at(start, 12).startswith(_NO_SOUND) or _is_chain(file, layout, start)
        for start in _starts_behind(layout, sound)
    )


def _starts_behind(layout: Layout, sound: Chunk) -> set[int]:
    """Where a chunk behind the sound may begin: some programs leave out the byte that makes a size even."""
    return {-(-sound.end // layout.align) * layout.align, sound.end}


def _is_chain_to(file: FileBytes, layout: Layout, sound: Chunk, form_end: int) -> bool:
    """Whether chunks of any kind lead from the sound to where the header says the file ends, to the byte."""
    return any(
        0 <= form_end - chunk.end <= 1
        for start in _starts_behind(layout, sound)
        for chunk in chunks_from(file, layout, start, is_ascii=False)
    )


def _is_chain(file: FileBytes, layout: Layout, start: int) -> bool:
    """Whether chunks fill the file from an offset on; the last one may be cut off by a byte."""
    end = None
    for chunk in chunks_from(file, layout, start):
        if chunk.end > file.size + 1:
            return False
        end = chunk.end
    return end is not None and file.size - end <= _PADDING


def _start_of_last_chunks(file: FileBytes, layout: Layout, sound_start: int) -> int:
    """Where the chunks at the end of the file begin, or the end of the file if it ends in sound."""
    first = max(sound_start, file.size - _TAIL_BYTES)
    tail = file.bytes_at(first, file.size - first)
    starts: list[int] = []
    for kind in BEHIND_SOUND:
        place = tail.find(kind)
        while place >= 0:
            starts.append(first + place)
            place = tail.find(kind, place + 1)
    likely = sorted(starts)[:_MAX_TRIES]
    return next((start for start in likely if _is_chain(file, layout, start)), file.size)
