"""What an argument that is not there may have been meant to name."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from urllib.parse import unquote

from ..artifact import known_models
from ..audio.formats import path_in_url

_QUOTES = "'\"\u2018\u2019\u201c\u201d"  # the last four are those of word processors and of pages


def hint_of(argument: str) -> str:
    """What belongs behind "no such file"; nothing where the argument is there, or no reading of it is.

    It looks at the disk: a share that does not answer holds the caller.
    """
    if os.path.lexists(argument):
        return ""
    for reading in _readings(argument):
        if os.path.lexists(reading) or (glob.has_magic(reading) and next(glob.iglob(reading), None)):
            return f"; did you mean {reading}?"
    return f"; {argument} is a model: --model goes before each name" if argument in known_models() else ""


def _readings(argument: str) -> Iterator[str]:
    """As a shell would have read it without the quotes around it, or a browser as an address."""
    bare = argument.strip().strip(_QUOTES).strip()
    for text in dict.fromkeys((argument, bare, re.sub(r"\\(.)", r"\1", bare))):
        url = path_in_url(text)
        path = os.path.expanduser(text if url is None else unquote(url, errors="surrogateescape"))
        if path != argument:
            yield path
