"""A part of a Markdown file between two marks, which a command writes again and again."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from pathlib import Path

from ...engine.cpu import usable_cores
from ...engine.errors import MerError
from ...engine.files import write_whole


def write_section(file: Path, name: str, lines: Sequence[str]) -> None:
    """Puts lines between the marks of ``name``, or at the end of the file where it has none.

    Raises:
        MerError: the file is no text in UTF-8.
    """
    begin, end = f"<!-- mer-train {name}: begin -->", f"<!-- mer-train {name}: end -->"
    text = "\n".join([begin, "", *lines, "", end])
    try:
        before = file.read_text(encoding="utf-8") if file.exists() else "# Results\n"
    except ValueError:
        raise MerError(f"{file} is not a text in UTF-8: name another file for the results") from None
    section = re.search(f"{re.escape(begin)}.*?{re.escape(end)}", before, re.S)
    if section:
        after = before[: section.start()] + text + before[section.end() :]
    else:
        after = f"{before.rstrip()}\n\n{text}\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, after)


def this_machine() -> str:
    """The cores that may be used and the processor's name, for a line under figures of time."""
    return f"{usable_cores()} cores of {_processor()}"


def _processor() -> str:
    try:
        name = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        name = None
    return name.group(1) if name else platform.processor() or platform.machine()
