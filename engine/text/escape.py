"""Escapes text that anyone can have written (names of files, tags, labels), with one function a format."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import os
import re
from collections.abc import Iterable
from typing import Any

# How a formula begins (OWASP, "CSV Injection"), also in the full width of East Asian keyboards. Blanks,
# controls and characters of no width may stand before it: programs drop them.
_BLANK = "[\0-\x08\x0b\x0c\x0e-\x20\x7f-\xa0\xad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]"
_FORMULA = rf"'*{_BLANK}*[=+\-@\uff1d\uff0b\uff0d\uff20]"
# As programs write one. "-0,35" and "+91 98" are text: what they are depends on a spreadsheet's settings.
_NUMBER = r"[+-](?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|nan)\Z"
_BEGINS = re.compile(rf"(?!{_NUMBER})(?:{_FORMULA}|'*[\t\r\n])", re.IGNORECASE | re.ASCII)
# A spreadsheet that takes semicolons or tabs for the ends of cells begins one after each, whatever is quoted.
_AFTER = re.compile(rf"([;\t\r\n])(?={_FORMULA})")
_AFTER_GUARD = re.compile(rf"([;\t\r\n])'(?={_FORMULA})")
# Bytes of a name that are not UTF-8 stand in it as U+DC80 to U+DCFF; no format can hold a lone surrogate.
_UNDECODABLE = re.compile("[\ud800-\udfff]")
# Controls, what ends a line, and what turns the order of the text around it. All else belongs to names, also
# what does not show: Indic and Arabic words, emoji and flags hold joiners, marks and tags.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def for_terminal(text: str) -> str:
    """One line that a terminal shows as it stands, and that is still the name of its file.

    Control characters, separators of lines, bidirectional overrides and isolates, and bytes that are not
    UTF-8 become escapes (``\\x1b``).
    """
    return _UNSAFE.sub(_escaped, text)


def for_csv(value: Any) -> Any:
    """A CSV cell that no spreadsheet runs as a formula: a ``'`` stands where one would begin.

    That is at the cell's beginning, unless the whole is a number, and after what may end a cell elsewhere: a
    semicolon, a tab, the end of a line. ``text_from_csv`` is the inverse.
    """
    if not isinstance(value, str):
        return value
    return ("'" if _BEGINS.match(value) else "") + _AFTER.sub(r"\1'", value)


def text_from_csv(cell: str) -> str:
    """The text of a cell that ``for_csv`` made; other cells hold no such ``'``."""
    own = cell[1:] if cell.startswith("'") and _BEGINS.match(cell, 1) else cell
    return _AFTER_GUARD.sub(r"\1", own)


def csv_line(cells: Iterable[Any]) -> str:
    """A line of CSV that ends in ``\\n``, with every cell as ``for_csv`` makes it."""
    text = io.StringIO(newline="")
    # The writer quotes only the characters of its line terminator: a bare CR would end the line for others.
    csv.writer(text, lineterminator="\r\n").writerow(map(for_csv, cells))
    return text.getvalue().removesuffix("\r\n") + "\n"


def for_markdown(text: str) -> str:
    """One line of Markdown without any markup or control character."""
    line = for_terminal(" ".join(str(text).split()))
    return "".join(f"\\{c}" if c in "\\|<>[]*_`#&" else c for c in line)


def for_markdown_cell(text: str) -> str:
    """A cell of a Markdown table: one line, without HTML tags; emphasis and links stay as they are."""
    # Backslashes first: one before a pipe would end the cell.
    text = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return for_terminal(text.replace("\n", " ").replace("\r", " "))


def for_xml(text: str) -> str:
    """One line of XML's text, or of an attribute in quotes, of the characters that XML 1.0 allows."""
    return html.escape(for_terminal(text).translate({0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"}))


def text_from_path(path: str) -> str:
    """A path as rows hold it: text in UTF-8, whatever the locale; other bytes in it become ``\\xNN``."""
    if path.isascii():
        return path
    try:
        text = os.fsencode(path).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # of no file
        return storable(path)
    # Not by "backslashreplace", whose time grows with the square of the length.
    return re.sub("[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text)


def path_from_text(text: str) -> str:
    """The path whose name is this text in UTF-8, whatever the locale.

    In ``LC_ALL=C`` the characters of a path are its bytes; elsewhere it is the text.
    """
    if text.isascii():
        return text
    try:
        return os.fsdecode(text.encode("utf-8", "surrogateescape"))
    except UnicodeError:
        return text


def storable(text: str) -> str:
    """Text that every format can hold: lone surrogates become escapes."""
    return _UNDECODABLE.sub(_escaped, text)


def _escaped(character: re.Match[str]) -> str:
    code = ord(character.group())
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.group().encode("unicode_escape").decode()


def policy_hash(text: str) -> str:
    """How a content security policy allows a script or a style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
