"""Values of tags, and the text in their bytes."""

from __future__ import annotations

import codecs
from contextlib import suppress

Tags = dict[str, list[str]]
"""The values of each of ``TAGS`` that a file has."""

LONGEST = 1 << 16
"""Bytes of a value that are read: a title is shorter."""

MOST_VALUES = 100
"""Values of one tag."""


def add(tags: Tags, name: str | None, *texts: str) -> None:
    """Adds those texts that are new; ``name`` is None for what is no tag of ours."""
    for text in map(_trimmed, texts):
        if name and text and text not in (values := tags.get(name, [])) and len(values) < MOST_VALUES:
            tags.setdefault(name, []).append(text)


def text_from_bytes(data: bytes) -> str:
    """UTF-8, whatever a tag says that it is, or else Windows-1252, of which Latin-1 is a part, or Shift-JIS.

    The last character of UTF-8 and Shift-JIS may be cut off, as in ID3v1.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(data)
        if not decoder.getstate()[0] or not text.isascii():
            return text
    except UnicodeDecodeError:
        pass
    with suppress(UnicodeDecodeError):
        return data.decode("cp1252")
    with suppress(UnicodeDecodeError):  # many letters begin with one of the five bytes that cp1252 leaves out
        text = codecs.getincrementaldecoder("cp932")().decode(data)
        if sum(not letter.isascii() for letter in text) > 1:
            return text
    return data.decode("latin-1")


def text_from_utf16(data: bytes, codec: str = "utf-16-le") -> str:
    """UTF-16 with a byte order mark, or else by ``codec``; half of a last character is left out."""
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        codec = "utf-16-le" if data[:2] == codecs.BOM_UTF16_LE else "utf-16-be"
    return data[: len(data) // 2 * 2].decode(codec, "replace")


def _trimmed(text: str) -> str:
    return text.strip("\0\ufeff \t\r\n")
