"""What all commands share: exit codes, errors as one line, and a type of option."""

from __future__ import annotations

import errno
import math
import os
import select
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any

import click
from click.core import ParameterSource

from ..audio.spread import MOST_WINDOWS
from ..cpu import MOST_WORKERS
from ..errors import MerError
from ..signals import INTERRUPTED, sigterm_interrupts
from ..temporary import process_folder, temporary_files_in
from ..text.streams import ReaderGoneError, make_streams_safe, print_err, stdout_failed

_REFUSED = {
    errno.EAGAIN: "ulimit -u",
    errno.EMFILE: "ulimit -n",
    errno.ENFILE: "",
    errno.ENOMEM: "",
    errno.EFBIG: "ulimit -f",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM), ""),
    errno.ENAMETOOLONG: "",
}
"""What is refused by the system, and which limit of the shell is in force where it is one."""

# Of a disk or share that went away, or does not answer. Without the name of a file it may be another thing.
_AWAY = (
    errno.ENOTCONN, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOLINK, errno.ETIMEDOUT,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH,
    errno.ECONNABORTED, errno.ECONNRESET, errno.ECONNREFUSED,
)  # fmt: skip

EXIT_FAILURE = 1
EXIT_GATE = 3
EXIT_SOME_FAILED = 4
EXIT_READER_GONE = 141  # as if the signal of a broken pipe had ended the command
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "show_default": True}
"""Click's context settings of every command."""

version_option = click.version_option(package_name="merkit")


class WindowCountType(click.ParamType):
    """A number from 1 to 100,000, or "all"."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "all" or isinstance(value, int):
            return value
        try:
            number = int(value) if str(value).isdecimal() else 0
        except ValueError:  # more digits than Python reads
            number = MOST_WINDOWS + 1
        if number < 1:
            self.fail(f"{value!r} is neither a number above 0 nor 'all'", param, ctx)
        if number > MOST_WINDOWS:
            self.fail(f"at most {MOST_WINDOWS:,}, or 'all'", param, ctx)
        return number


class FiniteRange(click.FloatRange):
    """A number in a range. NaN, which compares false with every bound, and infinities are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


WORKERS = click.IntRange(0, MOST_WORKERS)
"""Child processes or threads; 0 is one a core. Who starts far too many of them answers to no signal."""


def decorator_of(*options: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """One decorator for several options of a command, in the order in which its help lists them."""
    return lambda command: reduce(lambda inner, option: option(inner), reversed(options), command)


def options_given(names: Iterable[str]) -> list[str]:
    """Of these parameters of the command that runs, the flags of those that its command line names."""
    context = click.get_current_context()
    given = {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    }
    return [given[name] for name in names if name in given]


class QuietCommand(click.Command):
    """A command, or a group, that ends with ``EXIT_READER_GONE`` where nobody reads its help any more.

    Click prints that itself, and would end with 1; where it cannot be written, with a traceback.
    """

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        make_streams_safe()  # click prints on them before a command runs
        with _quiet_end():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _quiet_end():  # a group makes the contexts of its commands here
            return super().invoke(ctx)


class QuietGroup(QuietCommand, click.Group): ...


def report_errors(command: Callable[..., int]) -> Callable[..., None]:
    """Exits with a command's return value; prints a MerError as one line and exits with its code.

    What the system refuses (files, processes, memory, room) is one line too, and a signal that the command
    does not handle. That the reader of stdout has gone needs no line. Temporary files of the command and its
    child processes lie in the process's own folder.
    """
    from functools import wraps

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        make_streams_safe()
        with sigterm_interrupts() as stop:
            try:
                with _own_folder():
                    code = command(*arguments, **options)
            except KeyboardInterrupt:
                code = stop.code or INTERRUPTED
                print_err("stopped")
            except ReaderGoneError:
                code = EXIT_READER_GONE
            except (MerError, OSError, MemoryError, RuntimeError, ImportError) as error:
                if _reader_gone(error):
                    sys.exit(EXIT_READER_GONE)
                known = error if isinstance(error, MerError) else _refusal(error)
                if known is None:
                    raise
                said = "; ".join([f"Error: {known}", *getattr(error, "__notes__", ())])
                for line in said.split("\n"):  # file names in it may hold control characters
                    print_err(line)
                code = known.exit_code
        sys.exit(code)

    return run


@contextmanager
def _own_folder() -> Iterator[None]:
    """Temporary files lie in ``process_folder``, Matplotlib's list of fonts too: not in the user's home.

    Matplotlib draws files alone. A notebook names its own backend in the environment of the commands that it
    starts, which may be missing where they are installed.
    """
    folder = process_folder()
    before = {name: os.environ.get(name) for name in ("MPLCONFIGDIR", "MPLBACKEND")}
    with temporary_files_in(folder):
        os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
        os.environ["MPLBACKEND"] = "agg"
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


@contextmanager
def _quiet_end() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if _reader_gone(error):
            sys.exit(EXIT_READER_GONE)
        if error.filename is not None or _refusal(error) is None:
            raise
        print_err(f"Error: {stdout_failed(error)}")  # click's help and version; commands print their own
        sys.exit(EXIT_FAILURE)


def _reader_gone(error: Exception) -> bool:
    """Whether an error is that stdout's reader has gone; what is printed from then on vanishes.

    Other pipes break too, those to child processes.
    """
    if not isinstance(error, OSError) or error.errno != errno.EPIPE or sys.stdout is None:
        return False
    try:
        sys.stdout.flush()  # what could not be written stands in its buffer still
        if not hasattr(select, "poll"):
            return False
        poll = select.poll()  # under python -u there is no buffer
        poll.register(sys.stdout.fileno(), 0)
        gone = bool(poll.poll(0))
    except OSError as again:
        gone = again.errno == errno.EPIPE
    if gone:
        stdout_failed(error)
    return gone


def _refusal(error: Exception) -> MerError | None:
    """What the system refuses, in a line; None for what may be a bug of ours."""
    unmapped = isinstance(error, ImportError) and "failed to map segment" in str(error)
    if isinstance(error, MemoryError) or unmapped:
        return MerError("the memory is full, or the limit on it is reached (ulimit -v)")
    if isinstance(error, OSError) and error.errno in _REFUSED:
        limit = _REFUSED[error.errno]
        where = f"{error.filename}: " if error.filename is not None else ""
        return MerError(f"{where}{error.strerror}" + (f": the limit is {limit}" if limit else ""))
    if isinstance(error, OSError) and error.filename is not None and error.errno in _AWAY:
        return MerError(f"{error.filename}: {error.strerror}: its disk or share is away: bring it back")
    if "can't start new thread" in str(error):  # a RuntimeError
        return MerError("no further thread can be started: the limit is ulimit -u")
    return None
