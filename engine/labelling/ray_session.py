"""Joining a Ray cluster, quietly: what goes wrong is one line, and Ray's own pages are not printed."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import MerError
from ..signals import handlers_kept

_REACH_S = 5.0


def join_cluster(address: str) -> Any:
    """Ray's module, connected to "local" (a cluster of this machine's own), "auto" or ``HOST:PORT``.

    Raises:
        MerError: Ray is not installed, or nothing answers there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray writes them between our lines
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MerError(f"--ray needs Ray: pip install 'merkit[ray]' ({error})") from None
    _reach(address)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    more: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        with handlers_kept(), _quiet():  # Ray takes SIGTERM for itself
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **more)
    except Exception as error:  # of many kinds, and Ray says what is wrong
        raise MerError(f"no Ray cluster at {address}: {last_line(error)}") from None
    with suppress(AttributeError):  # its news of dead nodes, many lines on our stdout, has no other switch
        import ray._private.worker as worker

        worker.print_to_stdstream = lambda *_, **__: None
    return ray


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray's C++ part says on stderr that it was told to be quiet."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _reach(address: str) -> None:
    """Ray itself would try for a minute, and print pages."""
    host, found, port = address.rpartition("://")[2].rpartition(":")
    if not found:
        if address not in ("local", "auto"):
            raise MerError(f"--ray {address}: give local, auto or HOST:PORT")
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MerError(f"no Ray cluster answers at {address}: {reason}") from None


def last_line(error: BaseException) -> str:
    """What an error of Ray's says in its end, where it has pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
