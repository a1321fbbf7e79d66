"""What runs in a child process of ``WorkerPool``: an item in, its result or a ``Failure`` out."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..errors import AudioError, MerError, SilentError, UnreadableError
from ..signals import ignore_interrupts
from ..temporary import temporary_files_in
from .bug_log import failure_from_bug
from .child_process import working_folder as present_folder
from .shared_results import ResultWriter


@dataclass(frozen=True)
class Failure:
    """Why an item has no result: one line for its row.

    ``unreadable``: another day it may have one, since its file could not be read at all. ``silent``: its file
    is silence, and ``facts`` are its ``FileFacts``. ``traceback`` is that of a bug, which the pool puts into
    the log.
    """

    reason: str
    unreadable: bool = False
    traceback: str = field(default="", compare=False, repr=False)
    silent: bool = False
    facts: Any = None


def work(
    pipe: Connection,
    working_folder: str,
    folder: Path,
    function: Callable[[Any, Any], Any],
    options: Any,
    memory: Connection | None,
) -> None:
    """Runs in a child: sends (None, CPU seconds of its start), then (result, idle seconds) for each item.

    Args:
        working_folder: from which paths are read; it may be gone.
        folder: for temporary files.
        memory: of the ``ResultReader`` that reads what is sent.
    """
    ignore_interrupts()
    _end_with_the_parent()
    _keep_memory()
    # mpg123 writes a line for every damaged frame; errors that matter come back as results.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        os.chdir(working_folder)  # the parent may be elsewhere by now
    except OSError:
        if present_folder() != working_folder:  # it is not merely closed to this user
            os.chdir(folder)  # an empty one: relative paths are missing, and no other song is read
    with suppress(EOFError, OSError), temporary_files_in(folder):
        writer = ResultWriter(memory)
        # Ready: if it dies after this, an item killed it.
        pipe.send_bytes(writer.bytes_from_result((None, time.process_time())))
        finished = time.monotonic()
        while True:
            item = pipe.recv()
            idle_s = time.monotonic() - finished
            result = _result(function, item, options)
            finished = time.monotonic()
            try:
                content = writer.bytes_from_result((result, idle_s))
            except MemoryError as error:
                content = writer.bytes_from_result((_short_of_memory(error), idle_s))
            pipe.send_bytes(content)


def _end_with_the_parent() -> None:
    """Has Linux kill this process when the pool's own ends, whatever this one is doing then.

    A child that waits sees by its pipe that nobody is there any longer; one that hangs sees nothing.
    """
    parent = parent_process()
    with suppress(AttributeError, ImportError, OSError):
        import fcntl

        # Readable when the parent has ended; then the kernel sends the signal that is set here.
        sentinel = parent.sentinel  # pyright: ignore[reportOptionalMemberAccess]
        fcntl.fcntl(sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    if parent is not None and not parent.is_alive():  # it has ended before that: no signal will come
        os._exit(1)


def _keep_memory() -> None:
    """Lets glibc keep up to 256 MB of freed memory.

    It would return big blocks to the system at once, and decoding would spend a sixth of its time on having
    them mapped again. Other C libraries have no such setting.
    """
    import ctypes

    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, 256 << 20)  # M_TRIM_THRESHOLD
        mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD: its largest value


def _result(function: Callable[[Any, Any], Any], item: Any, options: Any) -> Any:
    try:
        return function(item, options)
    except MerError as error:  # a package that is missing says nothing about the file either
        unreadable = isinstance(error, UnreadableError) or not isinstance(error, AudioError)
        silent, facts = isinstance(error, SilentError), getattr(error, "facts", None)
        return Failure(str(error), unreadable, silent=silent, facts=facts)
    except Exception as error:  # a bug costs one row, not the run
        # Where a limit on memory is low, a library that is there cannot be mapped.
        if isinstance(error, MemoryError | ImportError) and not isinstance(error, ModuleNotFoundError):
            return _short_of_memory(error)
        reason, text = failure_from_bug(error, item)
        return Failure(reason, traceback=text)


def _short_of_memory(error: Exception) -> Failure:
    reason = " ".join(str(error).split()) or type(error).__name__
    return Failure(f"cannot be read: memory may be short ({reason})", unreadable=True)
