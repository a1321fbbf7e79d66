"""What the commands of mer-bench print as they are done."""

from __future__ import annotations

from ..engine.text.escape import for_terminal
from ..engine.text.streams import print_out


def echo(line: str) -> None:
    """Prints one line on stdout, escaped.

    Raises:
        ReaderGoneError, MerError: see ``print_out``.
    """
    print_out(for_terminal(line))
