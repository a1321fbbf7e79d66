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
        MerError: the file is no text in UTF-8, or one of the two marks is lost.
    """
    begin, end = f"<!-- mer-train {name}: begin -->", f"<!-- mer-train {name}: end -->"
    try:
        before = file.read_bytes().decode("utf-8") if file.exists() else "# Results\n"
    except ValueError:
        raise MerError(f"{file} is not a text in UTF-8: name another file for the results") from None
    # As the file ends its lines.
    line = "\r\n" if "\r\n" in before else "\n"
    text = line.join([begin, "", *lines, "", end])
    section = re.search(f"{re.escape(begin)}((?!{re.escape(begin)}).)*?{re.escape(end)}", before, re.S)
    if not section and (begin in before or end in before):
        raise MerError(
            f"{file} has not both {begin} and, after it, {end}: put the lost mark back, or remove "
            "the other one and the table"
        )
    if section:
        after = before[: section.start()] + text + before[section.end() :]
    else:
        after = f"{before.rstrip()}{line}{line}{text}{line}"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, after)


def this_machine() -> str:
    """The cores that may be used and the processor's name, for a line under figures of time."""
    try:
        name = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        name = None
    processor = name.group(1) if name else platform.processor() or platform.machine()
    return f"{usable_cores()} cores of {processor}"
