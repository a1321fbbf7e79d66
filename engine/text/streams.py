"""The standard streams: what cannot be printed on them ends no work, and corrupts no file."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

from ..errors import MerError
from .escape import for_terminal


class ReaderGoneError(Exception):
    """The reader of stdout has gone, as ``head`` does when it has its lines."""


def make_streams_safe() -> None:
    """Before any file is opened: characters that a stream's encoding lacks are printed as escapes.

    A stream that was closed becomes the null device: otherwise the next file that is opened would get its
    number, and whatever a library prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number: this one
    sys.stderr = sys.stderr or os.fdopen(2, "w")  # that stdout was closed is told by sys.stdout
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_out(line: str) -> None:
    """Prints a line on stdout at once; if stdout is closed, nothing.

    Raises:
        ReaderGoneError: its reader has gone. From then on, as after other errors, what is printed vanishes.
        MerError: it cannot be written: the disk is full.
    """
    if sys.stdout is None:
        return
    try:
        print(line, file=sys.stdout, flush=True)
    except OSError as error:
        raise stdout_failed(error) from None


def print_err(line: str) -> None:
    """Prints one line on stderr, escaped. Whether it can be written changes nothing."""
    if sys.stderr is not None:
        try:
            print(for_terminal(line), file=sys.stderr, flush=True)
        except OSError:
            _discard(sys.stderr)


def stdout_failed(error: OSError) -> Exception:
    """The exception for an error of stdout, which loses all else that is written to it."""
    _discard(sys.stdout)
    if isinstance(error, BrokenPipeError):
        return ReaderGoneError()
    return MerError(f"standard output cannot be written: {error.strerror or error}")


def _discard(stream: TextIO) -> None:
    """Lets the rest vanish: what stands in the stream's buffer would raise again when Python ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
    finally:
        os.close(null)
