"""Joining a Ray cluster without Ray's own output; an error is one line."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import MerError
from ..signals import handlers_kept
from ..temporary import process_folder, socket_folder
from .child_process import stderr_in

_CONNECT_S = 5.0
_THREADS_S = 10.0  # for threads of Ray Data to end; they do within tenths of a second
_DATA_THREADS = ("iter_threaded", "StreamingExecutor", "ray-data-metadata")
_LONGEST_REASON = 300  # characters


def join_cluster(address: str) -> Any:
    """Connects to a Ray cluster, and gives the module ``ray``.

    Args:
        address: "local" starts a cluster on this machine; "auto" is the one that this machine belongs to;
            else ``HOST:PORT``.

    Raises:
        MerError: Ray is not installed, or no cluster answers there.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray's log lines would come between ours
    # A cluster of this machine is found where it began, and not in this command's own folder.
    os.environ.setdefault("RAY_TMPDIR", str(process_folder().parent))
    more = _kept_local() if address == "local" else {}
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MerError(f"Ray is not installed ({error}): pip install 'merkit[ray]'") from None
    _check_address(address)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        # Ray sets a handler of its own for SIGTERM, and its C++ part says that its log level was changed.
        with handlers_kept(), stderr_in(Path(os.devnull)), _no_questions_about_the_cloud():
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **more)
    except Exception as error:  # of many classes
        raise MerError(f"no Ray cluster at {address}: {last_line(error)}") from None
    with suppress(AttributeError):  # nothing else keeps Ray from printing many lines about each dead node
        import ray._private.worker as worker

        worker.print_to_stdstream = lambda *_, **__: None
    return ray


def leave_cluster(ray: Any) -> None:
    """Leaves the cluster, and ends a local one, once no thread of Ray Data is at work.

    Ray ends the whole process with exit code 1, in silence, when a thread asks it for something after its
    shutdown; the threads of an iterator that is closed early go on for a moment.
    """
    until = time.monotonic() + _THREADS_S
    for thread in threading.enumerate():
        if thread.name.startswith(_DATA_THREADS):
            thread.join(max(0.0, until - time.monotonic()))
    ray.shutdown()


def _kept_local() -> dict[str, Any]:
    """Arguments of ``ray.init`` for a cluster whose sockets, logs and token go with this process.

    It listens on this machine's own address only. Ray would make a token in the user's home, and ask by which
    address the internet sees this machine.
    """
    # Despite its name: loopback, on Linux too.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"} & os.environ.keys():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    folder = socket_folder(len("/session_2000-01-01_00-00-00_123456_1234567/sockets/plasma_store.12"))
    return {"include_dashboard": False, "_temp_dir": str(folder), "_node_ip_address": "127.0.0.1"}


@contextmanager
def _no_questions_about_the_cloud() -> Iterator[None]:
    """Leaves out the process of Ray that asks for the metadata of three clouds, whatever is switched off."""
    try:
        from ray._private.node import Node

        start = Node.start_api_server
    except (ImportError, AttributeError):  # another version of Ray: it asks
        yield
        return

    def leave_out(self: Node, *, include_dashboard: bool | None, raise_on_failure: bool) -> None:
        self._webui_url = ""

    Node.start_api_server = leave_out
    try:
        yield
    finally:
        Node.start_api_server = start


def last_line(error: BaseException) -> str:
    """The last line of an error's text: Ray's errors have pages, and their reason at the end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:_LONGEST_REASON]


def _check_address(address: str) -> None:
    """Tries to connect first: Ray itself would try for a minute, and print pages."""
    if address in ("local", "auto"):
        return
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdecimal():
        raise MerError(f"{address!r} names no Ray cluster: give local, auto or HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except OSError as error:
        raise MerError(f"no Ray cluster answers at {address}: {error.strerror or error}") from None
    except (UnicodeError, OverflowError) as error:  # no host name, or no port from 0 to 65535
        raise MerError(f"no Ray cluster answers at {address}: {error}") from None
