"""Starts a child process from any program: a script, one on stdin, a notebook."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

_STARTING = threading.Lock()  # one thread must not put back what another one has hidden


def start_process(process: Any) -> None:
    """Starts a process of multiprocessing, which needs nothing of the program's main module.

    Its child runs the main module's file again, and dies where that is none: "<stdin>" in
    ``python - < script.py``, a pipe, a script that was deleted. There ``__file__`` is hidden meanwhile, so
    that the child leaves the main module alone, as it does in a notebook.
    """
    with _STARTING:
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


def runs_main_again() -> bool:
    """Whether child processes import the main module, which then needs ``if __name__ == "__main__":``."""
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is not None:  # python -m
        return True
    file = getattr(main, "__file__", None)
    return file is not None and os.path.isfile(file)
