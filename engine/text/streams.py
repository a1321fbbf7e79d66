"""The standard streams: what cannot be printed on them ends no work, and corrupts no file."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from contextlib import suppress
from typing import Any, TextIO

from ..errors import MerError
from .escape import for_terminal

_stdout_was_closed = False  # where it is a terminal


class ReaderGoneError(Exception):
    """The reader of stdout has gone: ``head`` when it has its lines, a terminal that was closed."""


class _Terminal(io.FileIO):
    """A terminal; once it is closed, or its connection has ended, what is printed on it vanishes.

    Rich and click print on it too, and in a background job no signal tells of its end.
    """

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            global _stdout_was_closed
            _stdout_was_closed |= self.fileno() == 1
            return memoryview(data).nbytes


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
    sys.stdout = _safe(sys.stdout)  # None if it was closed
    sys.stderr = _safe(sys.stderr or os.fdopen(2, "w", closefd=False))


def stdout_was_closed() -> bool:
    """Whether stdout is a terminal that was closed; what was printed since is lost."""
    return _stdout_was_closed


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
    if _stdout_was_closed:
        raise ReaderGoneError


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


def _safe(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    has_buffer = hasattr(stream.buffer, "raw")  # under python -u there is none
    raw = stream.buffer.raw if has_buffer else stream.buffer
    if type(raw) is io.FileIO and stat.S_ISCHR(os.fstat(raw.fileno()).st_mode):  # not Windows' console
        with suppress(OSError):
            stream.flush()  # or what stands in its buffer comes last
        terminal = _Terminal(raw.fileno(), "w", closefd=False)
        stream = io.TextIOWrapper(
            io.BufferedWriter(terminal) if has_buffer else terminal,
            stream.encoding,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
    stream.reconfigure(errors="backslashreplace")
    return stream


def _discard(stream: TextIO) -> None:
    """Lets the rest vanish: what stands in the stream's buffer would raise again when Python ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
    finally:
        os.close(null)
