"""Who is named in a cell about artists: several people may be, or nobody."""

from __future__ import annotations

import ast
import html
import re
from contextlib import suppress

from .cleaning import comparison_key

ARTIST_COLUMNS = (
    "artist", "artists", "singer", "performer", "speaker", "album_artist", "album artist", "albumartist",
)  # fmt: skip
"""Columns whose cells name people."""

_NOBODY = frozenset(
    ("unknown", "unknown artist", "unknown artists", "various", "various artist", "various artists", "va",
     "v/a", "no artist", "nan", "na", "none", "null", "n/a", "-", "?")
)  # fmt: skip
_AROUND = "<>[]() "  # words of nobody
_OF_THE_NAME_BEFORE = frozenset(("jr", "jr.", "sr", "sr."))  # "Harry Connick; Jr."

# What mer writes between the artists of a file's tags, and what titles and shops write. Not a comma, an
# ampersand or a slash, which are parts of names: "Brown, Ruth", "Earth, Wind & Fire", "AC/DC".
# Of a word without its point a name follows: "Little Feat & Friends".
_BETWEEN = re.compile(r";|[ (\[]+(?:(?:feat|ft)\.|(?:feat|ft|featuring)(?= (?![&(\[/+-]|(?:and|with) )))")
_LIST = re.compile(r"""\[(['"].*['"])?\]""")  # as pandas writes a column of several names
_BEFORE_A_CLOSED_BRACKET = re.compile(r"[^(\[]*(?=[)\]])")


def artist_keys(cell: str) -> tuple[str, ...]:
    """The comparison keys of the names between semicolons and around ``feat.``, ``ft.`` and ``featuring``.

    Words that stand for nobody, such as ``Various Artists``, are no names.
    """
    unescaped = html.unescape(cell)
    listed = ";".join(_listed(cell) or _listed(unescaped) or [unescaped])
    names: list[str] = []
    for name in map(str.strip, _BETWEEN.split(comparison_key(listed))):
        name = name.rstrip(" ,-") or name
        if name in _OF_THE_NAME_BEFORE and names:
            names[-1] += f"; {name}"
        else:
            within = _BEFORE_A_CLOSED_BRACKET.match(name)  # of "(feat. B)" it is what was opened before
            names.append(within[0].strip() if within else name)
    return tuple(name for name in dict.fromkeys(names) if name and not _is_nobody(name))


def _listed(cell: str) -> list[str]:
    """The names of a list, an empty one as ""; [] where it is none."""
    cell = cell.strip()
    if _LIST.fullmatch(cell):
        # A key that is a list; deep nesting is the reason of the last two.
        with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return [html.unescape(str(name)) for name in ast.literal_eval(cell)] or [""]
    return []


def _is_nobody(name: str) -> bool:
    return name.replace(".", "").strip(_AROUND) in _NOBODY
