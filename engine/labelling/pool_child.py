"""A child process of ``WorkerPool``, as its parent has it: its start, its pipe, its end, and why it died."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe, current_process, get_all_start_methods, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..errors import MerError
from ..temporary import process_folder
from .child_process import last_words, leave, runs_main_again, start_fork_server, start_process
from .shared_results import ResultReader
from .worker import Failure, work

# A plain fork would copy locks that the runtimes' threads hold. The fork server is a process without such
# threads: it imports what the children need once, and forks them.
_HAS_FORK_SERVER = "forkserver" in get_all_start_methods()
_Process: Any = get_context("spawn").Process
if _HAS_FORK_SERVER:
    from .fork_server import OwnProcess as _Process

_DEATH_S = 2.0  # from SIGKILL to the end of a process that nothing holds
_MOST_HELD = 8
_NO_FORK_SERVER = 255  # the exit code that multiprocessing gives where the fork server died before it knew

Item = tuple[int, Any]
"""Position and item."""


@dataclass(eq=False)
class Child:
    """A child process. ``items`` are the ones that it has, the one at work first.

    ``alone`` is set while it has one item of a child that died. ``watched_s`` is for how long its oldest
    item was seen to be at work. ``folder`` is for its temporary files. ``lost_starts`` counts those before it
    in its place that died, one after the other, before they had begun.
    """

    process: Any
    pipe: Connection
    folder: Path
    results: ResultReader
    items: deque[Item] = field(default_factory=deque)
    ready: bool = False
    alone: bool = False
    watched_s: float = 0.0
    lost_starts: int = 0

    def end(self) -> None:
        """Ends the process; what it had is lost.

        A process that waits for a disk that does not answer is left: it ends when the disk answers. Python
        would wait for it at its own end.
        """
        self.process.kill()
        self.process.join(_DEATH_S)
        if self.process.exitcode is None:
            leave(self.process)
        self.pipe.close()
        self.results.close()
        shutil.rmtree(self.folder, ignore_errors=True)  # what it was copying when it was killed

    def failure(self) -> Failure:
        """Why the process died of an item."""
        if self._was_killed():  # not by a decoder, and of the file nothing is known
            reason = "the process that read it was killed (SIGKILL), as the system does when memory runs out"
            return Failure(reason, unreadable=True)
        if self.was_ended():
            return Failure("the process that read it was ended by a signal", unreadable=True)
        return Failure(f"the decoder crashed ({self._death()})")

    def why_no_start(self) -> str:
        """Why the process died before it had begun."""
        start = f"a worker process cannot start ({self._death()}"
        if self.process.exitcode == 1 and runs_main_again() and "bootstrapping" in last_words(whole=True):
            return start + '); a script that labels needs: if __name__ == "__main__":'
        if self._was_killed():  # what was said last is not by this process
            return f"{start}): memory may be short; take fewer --workers"
        words = last_words()
        return f"{start}: {words})" if words else f"{start})"

    def was_ended(self) -> bool:
        """Whether a SIGTERM ended it, or its fork server: timeout(1) sends one to the whole group."""
        return self._death() in ("SIGTERM", f"exit code {_NO_FORK_SERVER}")

    def _was_killed(self) -> bool:
        return self._death() == "SIGKILL"

    def _death(self) -> str:
        exit_code = self.process.exitcode
        if exit_code is not None and exit_code < 0:
            with suppress(ValueError):
                return signal.Signals(-exit_code).name
        return f"exit code {exit_code}"


def held_of(killed: list[Any]) -> list[Any]:
    """Of processes that were killed, those that have not ended.

    Raises:
        MerError: ``_MOST_HELD`` of them. Each keeps its memory, and what reads that disk next is held, too.
    """
    held = [process for process in killed if process.exitcode is None]
    if len(held) < _MOST_HELD:
        return held
    raise MerError(
        f"a disk or share does not answer: {len(held)} worker processes wait for it and cannot be ended. "
        "Bring it back and run the same command again"
    )


def start_ahead(as_copy: bool = False) -> None:
    """Starts the fork server and its imports, while the caller does something else.

    Args:
        as_copy: see ``start_fork_server``.

    Raises:
        MerError: the system starts no process, there is no folder for its socket, or this process may have no
            children.
    """
    if current_process().daemon:
        raise MerError(
            "a daemonic process, such as one of multiprocessing.Pool, may start no worker processes: "
            "label one song at a time by label(), or use concurrent.futures.ProcessPoolExecutor "
            "(Celery: -P threads or -P solo; Dask: distributed.worker.daemon: false)"
        )
    with refusals():
        _start_server(as_copy)


def _start_server(as_copy: bool = False) -> None:
    if _HAS_FORK_SERVER:
        start_fork_server(f"{__package__}.file_windows", as_copy)


def start_child(function: Callable[[Any, Any], Any], options: Any, share: bool, working_folder: str) -> Child:
    """Starts a process that runs ``work``.

    Args:
        share: see ``ResultReader``.

    Raises:
        MerError: the system starts no process.
    """
    with refusals(), ExitStack() as on_failure:
        _start_server()  # again, where it has died or its folder was deleted
        folder = Path(tempfile.mkdtemp(prefix="worker-", dir=process_folder()))
        ours, theirs = Pipe()
        on_failure.callback(ours.close)
        results = ResultReader(share)
        with theirs:
            arguments = (theirs, working_folder, folder, function, options, results.memory)
            process = _Process(target=work, args=arguments, daemon=True)
            on_failure.callback(results.close)
            start_process(process)
        on_failure.pop_all()
    results.started()
    return Child(process, ours, folder, results)


@contextmanager
def refusals() -> Iterator[None]:
    """What the system refuses to a process that is to start, in a line.

    Raises:
        MerError: the system starts no process.
    """
    try:
        yield
    except EOFError:  # the fork server has died of it
        reason = last_words()
        if reason.startswith("AssertionError"):  # of multiprocessing: it was to receive a file too many
            reason = os.strerror(errno.EMFILE)
    except OSError as error:
        reason = str(error.strerror or error)
        if error.errno == errno.ENOENT:
            missing = f"{error.filename} is gone"
            if error.filename is None:  # children begin in the working folder
                missing = "is the working folder gone?"
            raise MerError(f"a worker process cannot start: {missing} ({reason})") from None
    else:
        return
    advice = "the limits on files (ulimit -n), processes (-u) or memory (-v) may be too low"
    raise MerError(f"a worker process cannot start ({reason or 'the system starts none'}): {advice}")
