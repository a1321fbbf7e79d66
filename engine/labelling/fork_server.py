"""A fork server beside the one of multiprocessing, which is the program's own.

That one's children have what its first start gave it: where it writes stderr, its environment, its imports.
Since Python 3.14 it starts every process on Linux that a program does not ask for otherwise.
"""

from __future__ import annotations

import os
from contextlib import suppress
from multiprocessing import forkserver, popen_forkserver
from multiprocessing.context import ForkServerProcess
from types import FunctionType
from typing import Any


class _ForkServer(forkserver.ForkServer):
    """Stands in for multiprocessing's module, too, where a process is started."""

    read_signed = staticmethod(forkserver.read_signed)

    def runs(self) -> bool:
        """Whether it can be asked for children; where it cannot any longer it is forgotten."""
        pid, address = self._forkserver_pid, self._forkserver_address  # pyright: ignore
        if pid is None:
            return False
        with suppress(ChildProcessError):  # the program has waited for it, or for all that it starts
            if os.waitpid(pid, os.WNOHANG) == (0, 0) and os.path.exists(address):
                return True
        self.forget()  # one whose socket was deleted ends with its last child
        return False

    def forget(self) -> None:
        """Leaves a server that is another process's, or cannot be reached, and has none."""
        alive = self._forkserver_alive_fd  # pyright: ignore
        self.__init__()
        if alive is not None:
            os.close(alive)  # it ends when nobody has this open any longer


SERVER = _ForkServer()


class _Popen(popen_forkserver.Popen):
    def _launch(self, process_obj: Any) -> None:
        """As multiprocessing has it, but for the server."""
        names = {**vars(popen_forkserver), "forkserver": SERVER}
        launch: Any = popen_forkserver.Popen._launch  # pyright: ignore
        FunctionType(launch.__code__, names)(self, process_obj)


class OwnProcess(ForkServerProcess):
    """A process of multiprocessing that ``SERVER`` forks."""

    @staticmethod
    def _Popen(process_obj: Any) -> _Popen:
        return _Popen(process_obj)
