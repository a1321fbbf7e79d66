"""Where the tracebacks of bugs go that cost a file its label: rows have one line."""

from __future__ import annotations

import traceback
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from ..artifact import models_home
from ..errors import MerError

BUG = "internal error: "
"""How the reason in the row of such a file begins."""

_LARGEST = 1_000_000  # bytes of the log; then it is begun anew, and the one before is kept
_LONGEST = 300  # characters of a reason
_LONGEST_TEXT = 50_000  # characters of a traceback


def bug_log() -> Path:
    """The log, ``$MER_HOME/logs/bugs.log``. It need not exist."""
    return models_home().parent / "logs" / "bugs.log"


def failure_from_bug(error: Exception, item: object) -> tuple[str, str]:
    """(the line for the row, the text for ``log_bug``).

    Args:
        item: what was worked at.
    """
    first_line = next(iter(str(error).splitlines()), "")
    text = f"{item!r:.2000}\n{''.join(traceback.format_exception(error))[-_LONGEST_TEXT:]}"
    return f"{BUG}{type(error).__name__}: {first_line}"[:_LONGEST], text


def log_bug(text: str) -> None:
    """Adds a text to the log, where that can be written."""
    with suppress(OSError, MerError):  # MerError: there is no home
        log = bug_log()
        log.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if log.stat().st_size > _LARGEST:
                log.replace(log.with_name("bugs.old.log"))
        entry = f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}\n"
        # One write: lines of processes that write at the same time do not mix.
        with log.open("ab", buffering=0) as file:
            file.write(entry.encode("utf-8", "backslashreplace"))


def line_about_bugs(count: int) -> str:
    """What a run says at its end that ``count`` bugs have cost files."""
    files = "1 file" if count == 1 else f"{count} files"
    try:
        log = f"what {bug_log()} says"
    except MerError:
        log = "its row: without a home folder there is no log"
    return f"an error inside merkit cost {files} the label; please report it with {log}"
