"""Which files count as audio: the suffixes that a search of folders takes, and what may be opened."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from ..errors import AudioError, UnreadableError
from ..signals import pass_on_from_handler

_HEAD_BYTES = 4_096
_MOST_TAGS = 16  # in a row
_TAG_FRAME = re.compile(rb"[A-Z][A-Z0-9]{3}")
_BEHIND_TAG = re.compile(rb"ID3|\xff[\xe0-\xff]")
_TEXT = re.compile(rb"(?!\s*<)[^\0-\x08\x0b\x0e-\x1f\x7f]*\n[^\0-\x08\x0b\x0e-\x1f\x7f]*")  # and no web page
_PROLOG = rb"(?:\s|<\?xml[^>]*>|<!--.*?-->)*+"  # possessive: going back takes a time that grows exponentially
_FILE_URL = re.compile("file:(?://(?:localhost)?)?(?=/(?!/))", re.IGNORECASE)
_MOST_BYTES = 128 << 30  # a film on the largest disc; to read what is larger takes longer than any limit
VOC = b"Creative Voice File\x1a"
# Containers: what looks like frames in them is left to whoever can read the container.
_CONTAINERS = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"caff", b".snd", b"\x1aE\xdf\xa3",
               b"0&\xb2u", b"FLV", b"\0\0\1\xba", b"wvpk", b"MAC ", b"TTA", VOC)  # fmt: skip
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid")
_TS = ((0, 188), (4, 192), (0, 204))  # MPEG-TS: the offset of the first sync byte, the distance of the next

_LISTS = (".m3u", ".m3u8", ".csv", ".tsv", ".parquet")
_ENDINGS = f"{', '.join(_LISTS[:-1])} or {_LISTS[-1]}"
_LISTED = "name it as PATH itself; lists inside lists are not read"
_LOST = "where a list has ? in place of letters it was saved without them: save it as CSV UTF-8"
_PIPE = "a pipe cannot be sought: save what it gives in a file"


def _text(begins: bytes) -> re.Pattern[bytes]:
    """How a text begins, in capitals or not, behind blanks and the prolog of XML."""
    return re.compile(_PROLOG + b"(?:%b)" % begins, re.IGNORECASE | re.DOTALL)


# What nothing here opens, by what is said of it: {name: its first bytes at offsets, or its first words}.
_OTHERS: dict[str, dict[str, tuple[tuple[int, bytes], ...] | re.Pattern[bytes]]] = {
    "which mer does not open: convert its sound first, for example ffmpeg -i FILE -vn OUT.flac": {
        "AVI": ((8, b"AVI "), (8, b"AVIX")),
        "MPEG program stream": ((0, b"\0\0\1\xba"),),
        "MPEG video": ((0, b"\0\0\1\xb3"),),
        "FLV": ((0, b"FLV\1"),),
        "MXF": ((0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02"),),
        "NUT": ((0, b"nut/multimedia container"),),
        "RealMedia": ((0, b".RMF"),),
        "RealAudio": ((0, b".ra\xfd"),),
        "True Audio (TTA)": ((0, b"TTA1"), (0, b"TTA2")),
        "Monkey's Audio (APE)": ((0, b"MAC "),),
        "WavPack": ((0, b"wvpk"),),
        "Musepack": ((0, b"MPCK"), (0, b"MP+")),
        "DSD (DSF)": ((0, b"DSD "),),
        "DSD (DSDIFF)": ((0, b"FRM8"),),
        "TAK": ((0, b"tBaK"),),
        "Shorten": ((0, b"ajkg"),),
        "TwinVQ (VQF)": ((0, b"TWIN"),),
        "AMR": ((0, b"#!AMR"),),
        "DTS": (
            (0, b"\x7f\xfe\x80\x01"),
            (0, b"\xfe\x7f\x01\x80"),
            (0, b"\x1f\xff\xe8\0"),
            (0, b"\xff\x1f\0\xe8"),
            (0, b"DTSHDHDR"),
        ),
        "TrueHD": ((4, b"\xf8\x72\x6f\xba"),),
        "MLP": ((4, b"\xf8\x72\x6f\xbb"),),
        "AAC (ADIF)": ((0, b"ADIF"),),
        "Audible (AA)": ((4, b"\x57\x90\x75\x36"),),
        "ATRAC (OMA)": ((0, b"ea3\3"), (0, b"EA3\1"), (0, b"EA3\2")),
    },
    "which mer does not open: convert its sound to FLAC first, with the tool of its makers": {
        "OptimFROG": ((0, b"OFR "),),
        "Lossless Audio (LA)": ((0, b"LA0"),),
    },
    "which holds no sound: fetch what it leads to": {
        "a shortcut": _text(rb"(?:\[\{[^\]]*\]\s.*?)?\[InternetShortcut\]|\[Desktop Entry\]"),
    },
    "which holds no sound: git lfs pull fetches the song": {
        "a git-lfs pointer": _text(rb"version https://git-lfs\."),
    },
    "which holds no sound: git annex get fetches the song": {
        "a git-annex pointer": _text(rb"/annex/objects/")
    },
    "which holds no sound: give the files that it names": {
        "a playlist": _text(rb"#EXTM3U|\[playlist\]|ffconcat|<asx|<playlist|<\?[wz]pl"),
    },
    "which holds no sound: give the file that it names; split it first for a row a song (docs/INPUTS.md)": {
        "a cue sheet": _text(rb'(?:FILE|PERFORMER|TITLE) "|REM |CATALOG [0-9]'),
    },
    "which holds no sound: give it to mer-label --from": {
        "a file of mer-label's rows": _text(rb'\{"path": "(?:[^"\\]|\\.)*+", "status": "'),
    },
    "which holds no sound: fetch the song again": {
        "a web page": _text(rb"<(?:!doctype html|html|head|title|meta|body|script|center|h1)\b"),
        "a server's answer (JSON)": _text(rb'\{\s*["}]|\[\s*["{\]]'),
        "a server's answer (XML)": _text(rb"<(?:error|response|fault)"),
        "a picture (JPEG)": ((0, b"\xff\xd8\xff"),),
        "a picture (PNG)": ((0, b"\x89PNG"),),
        "a picture (GIF)": ((0, b"GIF8"),),
        "a picture (WebP)": ((8, b"WEBP"),),
        "a PDF": ((0, b"%PDF-"),),
        "a program": ((0, b"MZ\x90\0"), (0, b"\x7fELF")),
    },
    "as a download that did not end: fetch the song again": {"begins with zeros": ((0, bytes(1_024)),)},
    "which holds no sound: give the songs themselves": {"an XML file": ((0, b"<?xml"),)},
    "which mer does not open: unpack it": {
        "an archive (ZIP)": ((0, b"PK\3\4"),),
        "an archive (tar)": ((257, b"ustar"),),
        "an archive (RAR)": ((0, b"Rar!\x1a\7"),),
        "an archive (gzip)": ((0, b"\x1f\x8b\x08"),),
        "an archive (7z)": ((0, b"7z\xbc\xaf\x27\x1c"),),
    },
    "which holds notes and no sound: render it first": {"MIDI": ((0, b"MThd"), (8, b"RMID"))},
    "which holds notes and instruments: render it first": {
        "a module (XM)": ((0, b"Extended Module: "),),
        "a module (S3M)": ((44, b"SCRM"),),
        "a module (IT)": ((0, b"IMPM"),),
        "a module (MOD)": tuple((1_080, mark) for mark in (b"M.K.", b"M!K!", b"FLT4", b"6CHN", b"8CHN")),
    },
    "which holds no sound: rip the disc that it points to": {"a track of a CD (CDA)": ((8, b"CDDA"),)},
}

_AUDIO = (
    ".mp3 .mp2 .mp1 .mpa .m2a .mpga .aac .adts .m4a .m4b .m4p .m4r .mp4 .m4v .mov .qt .f4a .f4b .f4v .3gp "
    ".3gpp .3ga .3g2 .flac .ogg .oga .ogv .ogx .opus .spx .wav .wave .bwf .w64 .rf64 .aif .aiff .aifc "
    ".caf .au .snd .voc .wma .asf .wmv .mkv .mka .webm .weba"
)
# Mostly of formats among _OTHERS, so that their songs get a row which says so. Not what is something else
# as often (docs/INPUTS.md names these): code is .ts and .mts, a library .la, a language's page .it.
_NOT_OPENED = (
    ".wv .ape .tta .tak .mpc .mp+ .dsf .dff .dsd .ac3 .eac3 .ec3 .ac4 .dts .dtshd .mlp .thd .truehd .amr "
    ".awb .gsm .shn .ofr .ofs .vqf .ra .rm .rmvb .aax .aaxc .oma .aa3 .at3 .loas .latm .cda .mid .midi .kar "
    ".rmi .xm .s3m .avi .divx .flv .mpg .mpeg .mpe .m1v .m2v .m2ts .m2t .vob .ogm .mxf"
)
AUDIO_SUFFIXES = frozenset((*_AUDIO.split(), *_NOT_OPENED.split()))
"""Lower-case suffixes of the audio and video files that a search of folders takes."""


def is_audio_name(name: str) -> bool:
    """Whether a path, or a file's name, ends in one of ``AUDIO_SUFFIXES``, in any case."""
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES


def is_container(head: bytes) -> bool:
    """Whether a file that begins so is a known container."""
    return head.startswith(_CONTAINERS) or is_mp4(head)


def is_mp4(head: bytes) -> bool:
    """Whether a file that begins so is MP4, M4A or MOV."""
    return head[4:8] in _MP4_BOXES


def is_remote(path: str) -> bool:
    """Whether a path is a URL, to be read by fsspec."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.replace("+", "").isalnum()


def path_in_url(text: str) -> str | None:
    """The path, percent-encoded as it stands, of a file: URL of this machine; None for all else."""
    scheme = _FILE_URL.match(text)
    return text[scheme.end() :] if scheme else None


def _is_open_file(path: str | Path) -> bool:
    """Whether a path is stdin, or what a shell gives for <(command): child processes have no such file."""
    return str(path) == "/dev/stdin" or os.path.dirname(path) in ("/dev/fd", "/proc/self/fd")


def open_regular_file(path: str | Path) -> int:
    """Opens a local file and returns its descriptor. Devices, pipes and empty files are refused.

    Raises:
        UnreadableError: there is no such file, it cannot be opened, or is a folder.
        AudioError: it is a device or a pipe, is empty, or larger than 128 GB.
    """
    try:
        # O_NONBLOCK: opening a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        if _is_open_file(path):
            raise AudioError(_PIPE) from None
        lost = f"; {_LOST}" if "??" in os.fspath(path) else ""
        raise UnreadableError(f"no such file{lost}") from None
    except OSError as error:
        pass_on_from_handler(error)
        if error.errno == errno.ENXIO:  # a socket
            raise AudioError("not a regular file") from None
        raise UnreadableError(f"cannot be opened: {error.strerror or error}") from None
    except ValueError as error:  # a null character in the path
        pass_on_from_handler(error)
        raise UnreadableError(f"cannot be opened: {error}") from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= _MOST_BYTES:
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableError("not a regular file")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(_PIPE if _is_open_file(path) else "not a regular file")
    raise AudioError(f"is larger than {_MOST_BYTES >> 30} GB" if status.st_size else "the file is empty")


def start_behind_tags(descriptor: int, start: int = 0) -> int:
    """The position of the first byte behind the ID3v2 tags at ``start``, by the sizes that they state."""
    for _ in range(_MOST_TAGS):
        if not (length := id3v2_length(partial(_read, descriptor, start))):
            break
        start += length
    return start


def id3v2_length(read: Callable[[int, int], bytes]) -> int:
    """The bytes of the ID3v2 tag with which something begins; 0 where it begins with none.

    RealJukebox wrote plain sizes, where 7 bits a byte are the rule: a frame begins such a tag, and sound, or
    another tag, stands behind it.

    Args:
        read: gives bytes from an offset on.
    """
    head = read(0, 10)
    if len(head) < 10 or head[:3] != b"ID3" or head[3] not in (2, 3, 4):
        return 0
    size = head[6:]
    if max(size) < 128:
        return 10 + syncsafe(size) + (10 if head[3] == 4 and head[5] & 0x10 else 0)  # it may have a footer
    end = 10 + int.from_bytes(size, "big")
    return end if _TAG_FRAME.fullmatch(read(10, 4)) and _BEHIND_TAG.match(read(end, 3)) else 0


def syncsafe(data: bytes) -> int:
    """The number that bytes of 7 bits hold, as ID3v2 writes its sizes."""
    return sum((byte & 127) << 7 * power for power, byte in enumerate(reversed(data)))


def _read(descriptor: int, start: int, offset: int, count: int) -> bytes:
    return os.pread(descriptor, count, start + offset)


def reason_from_head(
    path: str | Path, unknown: str = "not an audio file that libsndfile or FFmpeg can open"
) -> str:
    """Why a regular file that gave no sound is no audio file here: what it is, where that is known.

    Its first bytes tell, or those behind its ID3v2 tags. For after everything failed: an MP3 with junk in
    front may begin with any bytes.

    Args:
        unknown: the reason of all other files.
    """
    head = _head(path)
    if _TEXT.fullmatch(head) and _may_be_list(path, head):
        is_list = os.path.splitext(path)[1].lower() in _LISTS
        unknown += (
            f", but a list: {_LISTED}" if is_list else f", but a text: lists of files end in {_ENDINGS}"
        )
    return next(_reasons(head), unknown)


def _may_be_list(path: str | Path, text: bytes) -> bool:
    lines = text.decode("utf-8", "replace").splitlines()
    return os.path.splitext(path)[1].lower() == ".txt" or any(
        os.path.splitext(line)[1].strip().lower() in AUDIO_SUFFIXES for line in lines
    )


def reason_from_archive(head: bytes) -> str | None:
    """Why a file that begins so is refused, though the songs inside could be heard as if they were one."""
    reason = next(_reasons(head), "")
    return reason if reason.startswith("an archive") else None


def _head(path: str | Path) -> bytes:
    """The first bytes behind all ID3v2 tags."""
    with suppress(AudioError), os.fdopen(open_regular_file(path), "rb") as file:
        return os.pread(file.fileno(), _HEAD_BYTES, start_behind_tags(file.fileno()))
    return b""


def _reasons(head: bytes) -> Iterator[str]:
    head = head.removeprefix(b"\xef\xbb\xbf")  # the byte order mark of a text, which may also be UTF-16
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        yield from _reasons(head.decode("utf-16", "ignore").encode())
    for what, formats in _OTHERS.items():
        for name, marks in formats.items():
            if isinstance(marks, re.Pattern):
                begins = bool(marks.match(head))
            else:
                begins = any(head.startswith(mark, offset) for offset, mark in marks)
            if begins:
                yield f"{name}, {what}"
    convert = next(iter(_OTHERS))
    # Those with a short sync word, which must come again where the first packet ends.
    if any(len(head) > 3 * step and {*head[first : 3 * step : step]} == {0x47} for first, step in _TS):
        yield f"MPEG transport stream, {convert}"
    if head[:2] == b"\x0b\x77" and len(head) > 5:
        yield f"{'E-AC-3' if head[5] >> 3 > 10 else 'AC-3'}, {convert}"
    if len(head) > 3 and head[0] == 0x56 and head[1] >> 5 == 7:
        length = 3 + ((head[1] & 0x1F) << 8 | head[2])
        if length >= len(head) - 1 or (head[length] == 0x56 and head[length + 1] >> 5 == 7):
            yield f"AAC (LOAS), {convert}"
