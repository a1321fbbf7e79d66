"""What a path in a list (a playlist or a table) means: lists are written by many programs and systems."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from ..audio.formats import path_in_url
from ..text.escape import path_from_text
from .capitals import folded, names_by_fold
from .reconcile import paths_from_text
from .source import Source, real_path_of, source_from_path

MARKS = "\ufeff\x1a"
"""What lists that were joined have inside: marks of byte order, and what ends a text of DOS."""

_OF_WINDOWS = re.compile(r"/?(?=[a-z]:[\\/])|(?=\\\\)", re.IGNORECASE)
_QUOTED = re.compile(rf"""[\s{MARKS}]*(["'])(.+)\1[\s{MARKS}]*""")  # as "Copy as path" and shells give it
_LONGEST = 16_384  # characters; a path of 4,096 bytes, each percent-encoded, is shorter
# What ANSI is depends on the system that wrote the list. Only a file that exists decides.
_CODE_PAGES = (
    "cp1252 cp1250 cp1251 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 cp874 cp932 gb18030 cp949 cp950 "
    "koi8_r cp850 cp852 cp866 mac_roman"
)


def source_from_list(folder: str, text: str, columns: Mapping[str, Any] | None = None) -> Source:
    """A local entry of a list, relative to the list's folder.

    The file whose name is the text as it stands or, if there is none, the first that a reading of the text
    names: without quotes around it, percent-encoded, with backslashes, below the home that ``~`` stands for,
    in the code page of another system, with ``\\xNN`` for bytes as rows have it, in another normal form; at
    last those in other capitals. If there is none at all, the first reading; an absolute path of Windows
    stays as it is.

    Args:
        folder: of the list.
        text: bytes that are not UTF-8 stand in it as in names of files (U+DC80 to U+DCFF).
    """
    given, text = text, path_from_text(text)
    if len(text) > _LONGEST:  # no file: to read it in all ways would take memory and hours
        text = f"{text[:200]}...{hashlib.sha256(os.fsencode(text)).hexdigest()[:16]}"
        return source_from_path(os.path.join(folder, text), columns)
    plain = os.path.join(folder, text)
    if os.path.lexists(plain):
        return source_from_path(plain, columns)
    first, *others = dict.fromkeys([*_readings(text), *paths_from_text(given)])
    of_windows = _OF_WINDOWS.match(first)
    absent = first[of_windows.end() :] if of_windows else os.path.join(folder, first)
    for find in (_file, _file_in_other_capitals):
        for reading in (first, *others):
            if path := find(folder, reading):
                return replace(source_from_path(path, columns), readings=(absent,) if path != absent else ())
    forms = (unicodedata.normalize(form, each) for each in (first, *others) for form in ("NFC", "NFD"))
    readings = dict.fromkeys(os.path.join(folder, each) for each in (*others, *forms))
    readings.pop(absent, None)
    return replace(source_from_path(absent, columns), readings=tuple(readings))


def folders_of_list(file: str) -> tuple[str, ...]:
    """What a list's entries are relative to: its folder; of a link also that of the file it leads to."""
    folder = os.path.dirname(file)
    if not os.path.islink(file):
        return (folder,)
    behind = os.path.dirname(real_path_of(file))
    return (folder,) if behind == real_path_of(folder or os.curdir) else (folder, behind)


def source_from_folders(
    folders: tuple[str, ...], text: str, columns: Mapping[str, Any] | None = None
) -> Source:
    """``source_from_list`` in the first of a list's folders or, where only there it is, in the second."""
    found = source_from_list(folders[0], text, columns)
    if len(folders) == 1 or os.path.lexists(found.path):
        return found
    other = source_from_list(folders[1], text, columns)
    if os.path.lexists(other.path):
        found, other = other, found
    readings = dict.fromkeys((*found.readings, *other.readings, other.path))
    readings.pop(found.path, None)
    return replace(found, readings=tuple(readings))


def encoding_of_list(file: str) -> str:
    """The encoding of a text file: UTF-16 by its mark or its null bytes, otherwise UTF-8.

    Raises:
        OSError: the file cannot be read.
    """
    with open(file, "rb") as binary:
        head = binary.read(2)
    if head in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if len(head) == 2 and 0 in head:  # lists begin with ASCII
        return "utf-16-le" if head[1] == 0 else "utf-16-be"
    return "utf-8-sig"


def _readings(text: str) -> Iterator[str]:
    quoted = _QUOTED.fullmatch(text)
    for encoded in (*(_without_scheme(quoted[2]) if quoted else ()), *_without_scheme(text)):
        for decoded in _in_code_pages(encoded):
            slashed = decoded.replace("\\", "/")
            if "\\" in decoded and os.sep == "/" and not _OF_WINDOWS.match(decoded):
                yield slashed
            yield decoded
            if slashed.startswith("~/"):
                yield os.path.expanduser(slashed)


def _without_scheme(text: str) -> Iterator[str]:
    stripped = text.strip().strip(MARKS).strip()
    if (rest := path_in_url(stripped)) is not None:
        # "#" and "?" are meant as parts of names more often than as ends of a path.
        yield from (unquote(rest, errors="surrogateescape"), rest)
        yield unquote(re.split("[#?]", rest, maxsplit=1)[0], errors="surrogateescape")
        return
    yield from (stripped, text)
    if "%" in text:
        yield unquote(stripped, errors="surrogateescape")


def _in_code_pages(text: str) -> Iterator[str]:
    yield text
    raw = text.encode("utf-8", "surrogateescape")
    try:
        raw.decode()
    except UnicodeDecodeError:
        for page in _CODE_PAGES.split():
            decoded = raw.decode(page, "replace")
            if "\ufffd" not in decoded:
                yield decoded


def _file(folder: str, path: str) -> str | None:
    """The regular file of this path, whichever normal form each of its names has on the disk."""
    joined = os.path.join(folder, path)
    if os.path.isfile(joined):
        return joined
    return None if path.isascii() else _walked(folder, path, _in_a_normal_form)


def _file_in_other_capitals(folder: str, path: str) -> str | None:
    """The regular file of this path, each name as it is, or the only one that differs in capitals."""
    return _walked(folder, path, _in_other_capitals)


def _walked(folder: str, path: str, find: Callable[[str, str], str | None]) -> str | None:
    """The regular file of this path, where ``find`` gives the place of each name in its folder."""
    current = "/" if path.startswith("/") else folder
    for name in filter(None, path.split("/")):
        if (place := find(current, name)) is None:
            return None
        current = place
    return current if os.path.isfile(current) else None


def _in_a_normal_form(folder: str, name: str) -> str | None:
    forms = (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))
    return next(filter(os.path.lexists, (os.path.join(folder, form) for form in forms)), None)


def _in_other_capitals(folder: str, name: str) -> str | None:
    place = os.path.join(folder, name)
    if os.path.lexists(place):
        return place
    try:
        names = names_by_fold(folder, os.stat(folder or os.curdir).st_mtime_ns)
    except (OSError, ValueError):
        return None
    there = names.get(folded(name))
    return None if there is None else os.path.join(folder, there)
