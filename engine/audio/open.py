"""Chooses the decoder of a local file."""

from __future__ import annotations

import io
import os
from contextlib import ExitStack, suppress
from pathlib import Path

import soundfile

from ..errors import AudioError, NothingHeardError, UnreadableError
from .chains import decoder_of_chains, decoder_of_segments
from .containers import asf_objects, matroska, mp4_boxes
from .containers.chunks import caf_breaks_off, is_old_wavpack
from .containers.file_view import Span
from .containers.matroska import parts_from_matroska
from .containers.ogg_pages import PAGE, begins_together, may_be_chain, parts_from_ogg
from .containers.part import Exhausted, part_of_file
from .decoder import Budget, Decoder, Limits
from .formats import (
    VOC,
    is_container,
    is_mp4,
    open_regular_file,
    reason_from_archive,
    reason_from_head,
    start_behind_tags,
)
from .libsndfile import SoundFileDecoder
from .mpeg.adts_frames import adts_from_file, rate_of_adts
from .mpeg.mp3 import mp3_decoder
from .mpeg.mp3_frames import rate_of_mp3

_OLD_WAVPACK = (
    "WavPack from before version 4, which mer does not open: unpack it first, with wvunpack up to 4.80"
)
_MOST_JUNK = 1 << 20  # bytes that may stand before the first frame of an MP3 or ADTS stream
_FRAME_BYTES = 1 << 17  # in the place of samples, that tell whether they are frames


def open_decoder(path: str | Path, limits: Limits | Budget) -> Decoder:
    """Opens a regular local file: as an MP3 or ADTS stream, with libsndfile, or with FFmpeg.

    The content decides, never the suffix. All decoders can start at any sample, decode little more than
    what is read, and count it against ``limits``, or against a budget that others spend too.

    Raises:
        AudioError: missing, not a regular file, empty, without sound, or in an unknown format.
    """
    file = io.FileIO(open_regular_file(path), "rb")
    budget = limits if isinstance(limits, Budget) else Budget(limits)
    try:
        decoder = _frame_decoder(file, budget, 0) if _may_begin_with_frames(file) else None
        if not decoder:
            _refuse_archive(file)
        decoder = decoder or _other_decoder(file, path, budget)
    except BaseException:
        file.close()
        raise
    return decoder


def _other_decoder(file: io.FileIO, path: str | Path, budget: Budget) -> Decoder:
    whole = None
    # Of streams at once libsndfile reads the first, silent or not, and in VOC the heads of blocks as sound.
    if not (begins_together(file.fileno()) or os.pread(file.fileno(), len(VOC), 0) == VOC):
        with suppress(soundfile.LibsndfileError):
            whole = SoundFileDecoder(os.dup(file.fileno()), budget)
    with ExitStack() as stack:
        if whole is None or whole.is_mp3 or _holds_frames(whole):
            if whole:
                stack.callback(whole.close)
            if decoder := _frame_decoder(file, budget, _most_junk(file, whole is not None)):
                return decoder
        stack.pop_all()
    if not whole:
        _refuse_unplayable(file.fileno())
    parts = parts_from_matroska(file.fileno())
    if whole is None and _may_be_chain(file.fileno()):
        parts = parts_from_ogg(file.fileno(), budget)
    tagged = [] if whole else _behind_tags(file.fileno())
    if tagged or len(parts) > 1:
        return decoder_of_segments(file, tagged or parts, budget)
    with file:
        return _decoder_of_contents(whole, budget) if whole else _ffmpeg_decoder(file, path, budget)


def _ffmpeg_decoder(file: io.FileIO, path: str | Path, budget: Budget) -> Decoder:
    from .ffmpeg.decoder import FFmpegDecoder  # FFmpeg's libraries are loaded only when a file needs them

    try:
        return FFmpegDecoder(path, budget)
    except UnreadableError:
        raise
    except AudioError as error:
        if is_mp4(os.pread(file.fileno(), 8, 0)) and mp4_boxes.breaks_off_in_index(file.fileno()):
            raise _error_without_index("moov") from None
        if isinstance(error, NothingHeardError):  # a picture looks like damaged MP3, for example
            raise AudioError(reason_from_head(path, str(error))) from None
        raise


def _holds_frames(whole: SoundFileDecoder) -> bool:
    """Whether MP3 or ADTS of the stated rate stands in the place of samples, behind a WAV's header."""
    if not whole.first_bytes(4 * whole.channels).startswith(b"\xff"):
        return False
    data = whole.first_bytes(_FRAME_BYTES)
    return whole.sample_rate in (rate_of_mp3(data), rate_of_adts(data))


def _refuse_unplayable(descriptor: int) -> None:
    mp4 = is_mp4(os.pread(descriptor, 8, 0))
    index = (
        "moov" if mp4 and mp4_boxes.breaks_off(descriptor) else "pakt" if caf_breaks_off(descriptor) else ""
    )
    if index:
        raise _error_without_index(index)
    if is_old_wavpack(descriptor):  # which FFmpeg would hear as noise
        raise AudioError(_OLD_WAVPACK)
    encrypted = (mp4_boxes.is_encrypted,) if mp4 else (asf_objects.is_encrypted, matroska.is_encrypted)
    with suppress(Exhausted):
        if any(found(part_of_file(descriptor)) for found in encrypted):
            raise AudioError(
                "is encrypted (DRM): only the player of its shop can open it; label a copy without"
            )


def _error_without_index(name: str) -> AudioError:
    return AudioError(f"breaks off before its index ({name}): copy it again, or let its recorder repair it")


def _behind_tags(descriptor: int) -> list[Span]:
    """What is behind ID3v2 tags that are no part of the format, whose offsets are then too small."""
    start = start_behind_tags(descriptor)
    head = os.pread(descriptor, 8, start)
    known = is_mp4(head) or head.startswith((b"\x1aE\xdf\xa3", b"0&\xb2u"))  # Matroska, ASF
    return [(start, os.fstat(descriptor).st_size)] if start and known else []


def _may_be_chain(descriptor: int) -> bool:
    """Whether an Ogg file that libsndfile does not read may hold more than one.

    Such a file begins with FLAC, or with several streams.
    """
    return os.pread(descriptor, len(PAGE), 0) == PAGE and may_be_chain(descriptor)


def _decoder_of_contents(whole: SoundFileDecoder, budget: Budget) -> Decoder:
    """The decoder itself, or that of what its file holds instead of one sound."""
    try:
        if whole.is_chain:
            return decoder_of_chains(whole, budget)
        if stream := whole.coded_stream():
            from .coded_pcm import CodedPcmDecoder

            return CodedPcmDecoder(whole, stream, budget)
    except BaseException:
        whole.close()
        raise
    return whole


def _may_begin_with_frames(file: io.FileIO) -> bool:
    head = os.pread(file.fileno(), 3, 0)
    return head[:1] == b"\xff" or head == b"ID3"


def _refuse_archive(file: io.FileIO) -> None:
    head = os.pread(file.fileno(), 512, 0)
    if not is_container(head) and (reason := reason_from_archive(head)):
        raise AudioError(reason)


def _frame_decoder(file: io.FileIO, budget: Budget, junk: int) -> Decoder | None:
    """The decoder of an MP3 or ADTS stream with at most ``junk`` bytes before its first frame."""
    if decoder := mp3_decoder(file, budget, junk):
        return decoder
    if parts := adts_from_file(file.fileno(), budget, junk):
        from .mpeg.adts import adts_decoder

        return adts_decoder(file, parts, budget)
    return None


def _most_junk(file: io.FileIO, is_mp3: bool) -> int:
    """The bytes that may stand before the first frame: the header of a WAV that holds an MP3, or junk."""
    head = os.pread(file.fileno(), 8, 0)
    if head.startswith(b"ID3"):  # its size may be wrong: the frames are somewhere
        return os.fstat(file.fileno()).st_size
    return 0 if is_container(head) and not is_mp3 else _MOST_JUNK
