"""Starts a child process from any program: a script, one on stdin, a notebook."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from ..cpu import BLAS_THREADS
from ..temporary import process_folder, socket_folder

FolderId = tuple[int, int]
"""A folder's device and number."""

_MOST_FILES = 1 << 16  # descriptors that a process has opened by the time that it is copied
_STARTING = threading.Lock()  # one thread must not put back what another one has hidden


def start_process(process: Any) -> None:
    """Starts a process of multiprocessing, which needs nothing of the program's main module.

    Its child runs the main module's file again, and dies where that is none: "<stdin>" in
    ``python - < script.py``, a pipe, a script that was deleted. There ``__file__`` is hidden meanwhile, so
    that the child leaves the main module alone, as it does in a notebook.
    """
    with _STARTING, _with_one_blas_thread(), _with_a_start_method(), _out_of_a_closed_folder():
        main = sys.modules["__main__"]
        if "__file__" not in vars(main) or runs_main_again():
            process.start()
            return
        file = main.__file__
        del main.__file__  # not for good: Python itself deletes it when a script on stdin has ended
        try:
            process.start()
        finally:
            main.__file__ = file


def leave(process: Any) -> None:
    """Has Python not wait for a process of multiprocessing when this one ends."""
    from multiprocessing import process as processes

    with suppress(AttributeError):  # the name is not public
        processes._children.discard(process)  # pyright: ignore


def working_folder() -> str:
    """The path of this process's working folder; empty where that was removed."""
    with suppress(OSError):
        return os.getcwd()
    return ""


def working_folder_id() -> FolderId | None:
    """Which folder that is, whatever its path by now: it may have been renamed, or removed."""
    with suppress(OSError):
        facts = os.stat(".")
        return facts.st_dev, facts.st_ino
    return None


def runs_main_again() -> bool:
    """Whether child processes import the main module, which then needs ``if __name__ == "__main__":``."""
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is not None:  # python -m
        return True
    file = getattr(main, "__file__", None)
    return file is not None and os.path.isfile(file)


def start_fork_server(module: str, as_copy: bool = False) -> None:
    """Starts the fork server, which imports ``module``, unless it runs.

    Its socket has a short path, and what it and its children say on stderr before they work is kept for
    ``last_words``.

    Args:
        as_copy: imports the module here and forks this process, in place of a new Python that imports all
            again. Only a command at its beginning may ask for it: every child has what it has by then. Where
            other threads run, which a fork would leave in the middle of something, it is ignored.

    Raises:
        OSError: the system starts no process.
        MerError: there is no folder for temporary files.
    """
    from multiprocessing import resource_tracker

    from .fork_server import SERVER

    with _STARTING:
        if SERVER.runs():
            return
        as_copy = as_copy and threading.active_count() == 1 and _can_be_copied()
        if as_copy:
            import_module(module)
        else:
            resource_tracker.ensure_running()  # it serves the program's processes too: with its own stderr
        SERVER.set_forkserver_preload([module, SERVER.__module__])
        begun = _copies_as_processes() if as_copy else _with_one_blas_thread()
        sockets = _sockets_in(socket_folder(len("/listener-12345678")))
        with sockets, _with_a_start_method(), stderr_in(_stderr_file()), begun:
            SERVER.ensure_running()


@contextmanager
def _sockets_in(folder: Path) -> Iterator[None]:
    """Within the block multiprocessing makes its sockets here, not where the program's are."""
    from multiprocessing import process

    config: dict[str, Any] = vars(process.current_process()).get("_config", {})
    kept = config.get("tempdir")
    config["tempdir"] = str(folder)
    try:
        yield
    finally:
        config["tempdir"] = kept


@contextmanager
def _with_a_start_method() -> Iterator[None]:
    """Processes that are started within the block are told of a start method that they know.

    What they are told is the program's own, which only joblib's workers know in those; where the program
    has chosen none yet, being asked for it would be its choice.
    """
    from multiprocessing import get_all_start_methods, get_start_method, set_start_method

    method = get_start_method(allow_none=True)
    if method in get_all_start_methods():
        yield
        return
    if method is not None:
        set_start_method("spawn", force=True)
    try:
        yield
    finally:
        set_start_method(method, force=True)


@contextmanager
def _out_of_a_closed_folder() -> Iterator[None]:
    """Processes that are started within the block do not enter a working folder that is closed to this user.

    ``sudo -u`` leaves a program in one. Multiprocessing's processes go there first, and would end.
    """
    from multiprocessing import spawn

    facts_for_child = spawn.get_preparation_data
    if os.access(".", os.X_OK) or not working_folder():
        yield
        return

    def without_folder(name: str) -> dict[str, Any]:
        return {key: value for key, value in facts_for_child(name).items() if key != "dir"}

    spawn.get_preparation_data = without_folder
    try:
        yield
    finally:
        spawn.get_preparation_data = facts_for_child


@contextmanager
def _with_one_blas_thread() -> Iterator[None]:
    """Processes that are started within the block have no thread of NumPy's BLAS for each core."""
    if BLAS_THREADS in os.environ:
        yield
        return
    os.environ[BLAS_THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[BLAS_THREADS]


def _can_be_copied() -> bool:
    """Whether multiprocessing has the names that a copy leans on, none of which is public."""
    from multiprocessing import resource_tracker, util

    return hasattr(util, "spawnv_passfds") and hasattr(resource_tracker, "_resource_tracker")


@contextmanager
def _copies_as_processes() -> Iterator[None]:
    """Within the block multiprocessing starts its own processes as copies of this one."""
    from multiprocessing import util

    start: Any = util.spawnv_passfds

    def fork(path: Any, arguments: Any, descriptors: Any) -> int:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                _forget_the_first(descriptors)
                # What a new Python would be given. Behind it newer ones put this process's arguments.
                exec(arguments[arguments.index("-c") + 1], {})
                code = 0
            except SystemExit:
                code = 0
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(code)  # nothing of the first process's is to be cleaned up
        return pid

    util.spawnv_passfds = fork  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        util.spawnv_passfds = start


def _forget_the_first(descriptors: Iterable[int]) -> None:
    """In a copy of a process: no more of what the first one has open, handles or was about to do."""
    from multiprocessing import resource_tracker

    first, descriptors = 3, {*descriptors}
    for descriptor in sorted({2, *descriptors}):  # the end of others would not be seen while they are open
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, _MOST_FILES)
    if 1 not in descriptors:  # a child that a disk holds may outlive the first: no reader must wait for it
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    resource_tracker._resource_tracker.__init__()  # pyright: ignore


def _forget_processes() -> None:
    """In a forked child: no more of the processes that its parent has started, for which it cannot wait.

    The resource tracker goes on serving both, as Python has it: they share what it knows of.
    """
    global _STARTING
    _STARTING = threading.Lock()  # another thread may have held it, or that of the resource tracker
    process = sys.modules.get("multiprocessing.process")
    with suppress(AttributeError):  # of names that are not public
        process._children.clear()  # pyright: ignore  # else they are ended when this process ends
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    with suppress(AttributeError):
        tracker._resource_tracker._lock._at_fork_reinit()  # pyright: ignore
    module = sys.modules.get(f"{__package__}.fork_server")
    with suppress(AttributeError, OSError):
        module.SERVER.forget()  # pyright: ignore


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_processes)


def last_words(whole: bool = False) -> str:
    """The last line that the fork server or a child said on stderr, or all of it."""
    try:
        text = _stderr_file().read_text("utf-8", "replace").strip()
    except OSError:
        return ""
    return text if whole else text.rpartition("\n")[2].strip()


def _stderr_file() -> Path:
    return process_folder() / "stderr"


@contextmanager
def stderr_in(path: Path) -> Iterator[None]:
    """This process, and those that it starts within the block, write their stderr to a file."""
    with suppress(OSError, ValueError, AttributeError):  # it may be closed, or no stream at all
        sys.stderr.flush()
    kept = None
    with suppress(OSError):  # descriptor 2 may be closed
        kept = os.dup(2)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.dup2(file, 2)
        yield
    finally:
        if kept is None:
            os.close(2)
        else:
            os.dup2(kept, 2)
            os.close(kept)
        if file != 2:
            os.close(file)
