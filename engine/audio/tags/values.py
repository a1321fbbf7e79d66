"""Values of tags, and the text in their bytes."""

from __future__ import annotations

import codecs
import re
from contextlib import suppress

Tags = dict[str, list[str]]
"""The values of each tag, by its name here, that a file has."""

LONGEST = 1 << 16
"""Bytes of a value that are read: a title is shorter."""

MOST_VALUES = 100
"""Values of one tag."""

_CYRILLIC = re.compile("[\\0-~\u0410-\u044fЁё\u0406\u0456ЇїЄє«»“”\u2013\u2014…№]+")
_WORD, _MIXED = re.compile(r"[^\W\d_]+"), re.compile("[A-Za-z]")
_COMMON = frozenset("аеиноскблтвмдпуягы")
_NORDIC = frozenset("дежцшь")  # as which Ä, Å, Æ, Ö, Ø and Ü are read


def add(tags: Tags, name: str | None, *texts: str) -> None:
    """Adds those texts that are new; ``name`` is None for what is no tag of ours."""
    for text in (text.strip("\0\ufeff \t\r\n") for text in texts):
        if name and text and text not in (values := tags.get(name, [])) and len(values) < MOST_VALUES:
            tags.setdefault(name, []).append(text)


def text_from_bytes(data: bytes) -> str:
    """UTF-8, whatever a tag says that it is, or else Windows-1251, Windows-1252 with Latin-1, or Shift-JIS.

    The last character of UTF-8 and Shift-JIS may be cut off, as in ID3v1.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(data)
        if not decoder.getstate()[0] or not text.isascii():
            return text
    except UnicodeDecodeError:
        pass
    if _is_cyrillic(text := data.decode("cp1251", "replace")):
        return text
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


def _is_cyrillic(text: str) -> bool:
    """Whether text that was read as Windows-1251 is no other that is read so.

    In Western languages no word has three letters of which all are accented, but for rows of vowels. Those of
    Turkish have letters that are rare in Russian, those of Greek capitals inside.
    """
    words = [word for word in _WORD.findall(text) if not word.isascii()]
    letters = "".join(words).lower()
    return (
        _CYRILLIC.fullmatch(text) is not None
        and max(map(len, words), default=0) >= 3
        and all(word.isupper() or word[1:].islower() or len(word) == 1 for word in words)
        and not any(map(_MIXED.search, words))
        and 2 * sum(letter in _COMMON for letter in letters) >= len(letters)
        and 1 < len(set(letters)) > len(set(letters) & _NORDIC)
    )
