"""The decoder of WAV, AIFF, FLAC, Ogg Vorbis and Opus: libsndfile, through soundfile.

FFmpeg's codecs decode Vorbis and Opus where the file is whole: libsndfile takes two and three times as long.
FFmpeg decodes FLAC and MPEG layer II behind damage, and Ogg behind a joint: libsndfile finds nothing there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import soundfile

from ..arrays import Float32
from ..errors import AudioError
from .channels import channel_names, mono_from_two, two_from_channels
from .containers.file_view import FileView, Span
from .containers.flac_frames import is_hole, stretches_without_frames
from .containers.header_repair import header_from_file, header_of_part
from .containers.ogg_clock import counts_wrongly
from .containers.ogg_pages import check_end, may_be_chain
from .containers.ogg_stream import OGG_HEADS, IrregularError, OggStream, opus_at_48_khz
from .containers.pcm_streams import CodedStream, holds_sync, refuse_dsd, stream_in_samples
from .decoder import TAGS, Budget, length_by_reading
from .full_scale import PROBE_SAMPLES, probe_starts, unit_from_blocks, unit_from_integers
from .sound_handle import SoundHandle

if TYPE_CHECKING:
    from .ffmpeg.decoder import FFmpegDecoder
    from .ffmpeg.ogg_sound import OggSound

_NAME = f"libsndfile {soundfile.__libsndfile_version__}"
_BLOCK = 1 << 20  # values decoded between two checks of the budget
_LEAST = 2_048  # samples: what is lost where a file breaks off
_UNKNOWN_LENGTH = 1 << 53  # libsndfile reports SF_COUNT_MAX where a header has no length
_FLOATS = ("FLOAT", "DOUBLE")
_INTEGERS = ("PCM_16", "PCM_24", "PCM_32")
_WAVS = ("WAV", "WAVEX", "RF64")
_STOPS_AT_DAMAGE = ("FLAC", "MP3")  # MP3: of layer II, or of no constant size
_NO_SEEKS = ("DWVW_12", "DWVW_16", "DWVW_24")  # of which libsndfile says that it can seek in them
_MPEG_BYTES = 1 << 14  # hold ten frames of layer II or more
_PROBE_FRAMES = 8_192  # hold two frames of DTS, or two bursts of AC-3


class SoundFileDecoder:
    """``Decoder`` by libsndfile, exact to the sample in all of its formats.

    In MP3 libsndfile's seeks are slow, the samples after them can be wrong, and the length is a guess
    where no tag states it: there ``mp3`` takes its place.

    Args:
        descriptor: of an open file; it is closed with the decoder, or when opening fails.
        part: the bytes of the file that are read, from where to where; all of them by default.

    Attributes:
        name: of the decoder of what was read last.
        descriptor: that of the file.
        format: libsndfile's name of the container, such as ``WAV``.
        is_chain: more Ogg or FLAC files may follow in the same one: ``length`` may be 0 until ``measure``.

    Raises:
        soundfile.LibsndfileError: libsndfile cannot open the file.
        AudioError: a rate, a number of channels or a size outside the limits.
    """

    def __init__(self, descriptor: int, budget: Budget, part: Span | None = None) -> None:
        self.name = _NAME
        self.descriptor, self._budget, self._part = descriptor, budget, part
        self._unit, self._position = 1.0, 0
        try:
            header = header_of_part(descriptor, part) if part else header_from_file(descriptor)
            opus = opus_at_48_khz(descriptor, part[0] if part else header.start)
            self._header = replace(header, corrections=header.corrections | opus)
            if not part:
                check_end(descriptor)
            self._file = self._open()
            budget.check_format(self._file.samplerate, self._file.channels)
            self.sample_rate, self.channels = self._file.samplerate, self._file.channels
            self.format: str = self._file.format
            # Opus of many channels fills Ogg pages to their limit; libsndfile 1.2.2 then seeks wrongly.
            many = self._file.subtype == "OPUS" and self.channels > 2
            self._seeks = self._file.can_seek and self._file.subtype not in _NO_SEEKS and not many
            is_xiph = self._file.subtype in ("VORBIS", "OPUS")
            # libsndfile leaves ALAC in its own order; what a CAF says of it may be of other samples.
            order = "vorbis" if is_xiph else "alac" if self._file.subtype.startswith("ALAC") else "wav"
            self._names = header.wav.names or channel_names(self.channels, order)
            self.length = self._file.frames
            may_be_ogg = self.format == "OGG" and not part
            self.is_chain = header.may_be_chain or (may_be_ogg and may_be_chain(descriptor))
            self._may_be_plain = is_xiph and not (part or header.corrections or self.is_chain)
            self._plain: OggSound | None = None
            self._ffmpeg: FFmpegDecoder | None = None
            wrong_clock = self._may_be_plain and self._has_wrong_clock()
            if not 0 < self.length < _UNKNOWN_LENGTH and not wrong_clock:
                if self.format == "FLAC":  # cut off, it could not be sought in
                    self._seeks = False
                self.length = 0 if self.is_chain else self.measure()
            holed = self._is_hole(self.length)
            if header.for_ffmpeg or wrong_clock or holed:
                ffmpeg = self.by_ffmpeg(wrong_clock, holed)
                self.length = ffmpeg.length if ffmpeg else self.length
            used, starts = header.wav.bits, probe_starts(self.length)
            if self._file.subtype in _FLOATS and self._seeks:
                self._unit = unit_from_blocks([self._read_two(start, PROBE_SAMPLES) for start in starts])
            elif self._file.subtype == "PCM_32" and 0 < used <= 24:  # quiet music may use the lower of more
                blocks = [self._read_blocks(start, PROBE_SAMPLES, "int32", np.asarray) for start in starts]
                self._unit = unit_from_integers(blocks, used)
            # Its index alone states ALAC's length. A header that is not true may be that of a file cut short.
            if self._file.subtype.startswith("ALAC") and header.corrections:
                self.length = self.length if len(self._read_two(self.length - 1, 1)) else self.measure()
        except BaseException:
            self.close()
            raise

    def read(self, start: int, count: int) -> Float32:
        ffmpeg = self._ffmpeg or (self.by_ffmpeg(holed=True) if self._is_hole(start) else None)
        if ffmpeg is None:
            two = self._read_two(start, count)
            stops = self.format in (*_STOPS_AT_DAMAGE, "OGG") and len(two) < min(count, self.length - start)
            if (ffmpeg := self.by_ffmpeg() if stops else None) is None:
                return mono_from_two(two)
        return ffmpeg.read(start, count)

    def measure(self) -> int:
        self.length = self._ffmpeg.measure() if self._ffmpeg else length_by_reading(self.read)
        return self.length

    def by_ffmpeg(self, untimed: bool = False, holed: bool = False) -> FFmpegDecoder | None:
        """Has FFmpeg read the file from now on; None where it cannot. ``length`` stays.

        Args:
            untimed: as ``FFmpegDecoder`` takes it.
            holed: there are stretches without frames.
        """
        from .ffmpeg.decoder import FFmpegDecoder

        if holed and not self._part:
            holes = stretches_without_frames(self.descriptor, self._header.start)
            self._header = replace(self._header, left_out=holes)
        with suppress(AudioError):
            self._ffmpeg = FFmpegDecoder(self._view(), self._budget, untimed)
            self.name = self._ffmpeg.name
        return self._ffmpeg

    @property
    def is_mp3(self) -> bool:
        return self._file.subtype == "MPEG_LAYER_III"  # in a WAV too

    def first_bytes(self, count: int) -> bytes:
        """The first bytes that stand in the place of a WAV's 16-bit samples; empty for what holds others."""
        if self.format not in _WAVS or self._file.subtype != "PCM_16":
            return b""
        return self.read_int16(0, count // (2 * self.channels)).astype("<i2", copy=False).tobytes()

    def coded_stream(self) -> CodedStream | None:
        """The stream of DTS or the like that stands in the place of samples. Decodes little.

        Raises:
            AudioError: it is DSD.
        """
        if self.channels != 2 or self._file.subtype not in _INTEGERS:
            return None
        for start in (0, self.length // 2):
            samples = self.read_int16(start, _PROBE_FRAMES)
            if self._file.subtype != "PCM_16":
                refuse_dsd(samples)
            if holds_sync(samples):
                return stream_in_samples(self.read_int16(start, 4 * _PROBE_FRAMES))
            if samples[: _PROBE_FRAMES // 2].any():  # or else a stream may begin after silence
                break
        return None

    def read_int16(self, start: int, count: int) -> npt.NDArray[np.int16]:
        """Samples of PCM as they are written, or their upper 16 bits: ``[samples, channels]``."""
        return self._read_blocks(start, count, "int16", lambda block: block)

    def two_from_block(self, block: Float32) -> Float32:
        """Left and right of ``[samples, channels]``, where full scale is 1."""
        two = two_from_channels(block, self._names)
        return two if self._unit == 1.0 else two * np.float32(1 / self._unit)

    def file_bytes(self) -> bytes:
        """All bytes of the file, with its header corrected."""
        return self._view().readall()

    def tags(self) -> dict[str, str]:
        tags = self._file.copy_metadata()
        return {name: tags[name] for name in TAGS if tags.get(name)}

    def close(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
        if ffmpeg := getattr(self, "_ffmpeg", None):
            ffmpeg.close()
        os.close(self.descriptor)

    def _is_hole(self, start: int) -> bool:
        """Whether FLAC or MPEG layer II has no frames about there: libsndfile would seek for minutes."""
        is_known = self.format in _STOPS_AT_DAMAGE and self._seeks and self.length > 0
        if not is_known or start in (0, self._position):
            return False
        first, end = self._part or (self._header.start, os.fstat(self.descriptor).st_size)
        place = first + (end - first) * start // self.length
        if self.format == "FLAC":
            return is_hole(self.descriptor, place, end)
        place = max(first, min(place, end - _MPEG_BYTES))
        return b"\xff" not in os.pread(self.descriptor, _MPEG_BYTES, place)

    def _has_wrong_clock(self) -> bool:
        """Whether the pages of an Ogg are no measure of time. FFmpeg then does not trim the last of them."""
        with suppress(IrregularError, IndexError):
            stream = OggStream(self.descriptor, OGG_HEADS[self._file.subtype.lower()])
            if counts_wrongly(self.descriptor, stream, self.sample_rate):
                self._header = replace(self._header, corrections=stream.without_last())
                return True
        return False

    def _read_two(self, start: int, count: int) -> Float32:
        """As ``read``, but left and right: ``[samples, 1 or 2]``."""
        if self._may_be_plain:
            block = self._read_plain(start, count)
            if block is not None:
                return self.two_from_block(block)
            self._may_be_plain, self.name = False, _NAME
        return self._read_blocks(start, count, "float32", self.two_from_block)

    def _read_plain(self, start: int, count: int) -> Float32 | None:
        """Samples ``[samples, channels]`` of a plain Ogg file; None where it is damaged, or not so plain."""
        if self._plain is None:
            from .ffmpeg.ogg_sound import ogg_sound_from_file  # FFmpeg's libraries, only where needed

            sound = ogg_sound_from_file(self.descriptor, self._file.subtype.lower(), self._budget)
            if sound is None or (sound.length, sound.sample_rate) != (self.length, self.sample_rate):
                return None
            self._plain, self.name = sound, sound.name
        return self._plain.read(start, count)

    def _read_blocks(
        self, start: int, count: int, dtype: Literal["float32", "int16", "int32"], mix: Any
    ) -> npt.NDArray[Any]:
        """The samples that can be read. An error is damage, or the true end of a file that states more."""
        parts: list[npt.NDArray[Any]] = []
        step = max(_LEAST, _BLOCK // self.channels)
        while count > 0:
            try:
                self._move(start)
                block = self._file.read(min(count, step), dtype=dtype, always_2d=True)
            except soundfile.LibsndfileError:
                self._reopen()  # libsndfile's handle cannot be used again
                if step == _LEAST:
                    break
                step = max(_LEAST, step // 16)  # the sound before the error was lost with it
                continue
            if not len(block):
                break
            self._budget.spend(block.size)
            self._position = start = start + len(block)
            count -= len(block)
            parts.append(mix(block))
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts or [mix(np.empty((0, self.channels), dtype))])

    def _move(self, start: int) -> None:
        # Behind damage libsndfile reads on, and does not count what is lost: nothing tells of it.
        is_sure = start == 0 or self.format != "OGG" or not self._seeks
        if self._position == start and is_sure:
            return
        if self._seeks:
            if self._file.subtype == "VORBIS":  # after a small step forward it is up to 896 samples late
                self._file.seek(0)
            self._file.seek(start)
            self._position = start
            return
        if start < self._position:
            self._reopen()
        while self._position < start:
            block = self._file.read(min(start - self._position, _BLOCK // self.channels), always_2d=True)
            if not len(block):
                break
            self._budget.spend(block.size)
            self._position += len(block)

    def _reopen(self) -> None:
        self._file.close()
        self._file, self._position = self._open(), 0

    def _open(self) -> SoundHandle:
        header = self._header
        if self._part or header.corrections or header.left_out or header.start or header.end:
            return SoundHandle(self._view())
        # By descriptor: given a name, libsndfile trusts suffixes such as .vox or .raw.
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        return SoundHandle(os.dup(self.descriptor))

    def _view(self) -> FileView:
        if self._part:
            return FileView(self.descriptor, *self._part, self._header.corrections)
        header = self._header
        end = header.start + header.end if header.end else os.fstat(self.descriptor).st_size
        # libsndfile skips a tag before the header in files, not in file objects.
        return FileView(self.descriptor, header.start, end, header.corrections, header.left_out)
