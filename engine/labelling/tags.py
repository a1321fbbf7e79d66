"""Reads the tags of many files again, without their sound, in child processes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from itertools import islice, takewhile

from ..cpu import usable_cores
from .file_windows import WindowOptions, tags_from_file
from .worker_pool import Failure, WorkerPool

_FILES_A_PROCESS = 50  # fewer are not worth another process
_AT_ONCE = 1_000


def read_tags(
    paths: Iterable[str], options: WindowOptions, stop: threading.Event | None = None
) -> Iterator[dict[str, str] | Failure]:
    """The tags of each local file, in order, or why there are none. No process starts for no files.

    Args:
        stop: once set, no more files are begun, and it ends at the first one whose tags are not there.

    Raises:
        MerError: a child process cannot start.
    """
    stop = stop or threading.Event()
    stream = iter(paths)
    chunk = list(islice(stream, _AT_ONCE))
    if not chunk:
        return
    processes = min(usable_cores(), 1 + len(chunk) // _FILES_A_PROCESS)
    with WorkerPool(tags_from_file, options, processes, options.limits.seconds) as pool:
        while chunk:
            begun = takewhile(lambda _: not stop.is_set(), chunk)
            tags = dict(pool.map(begun, stop=stop))
            for position in range(len(chunk)):
                if position not in tags:
                    return
                yield tags[position]
            chunk = list(islice(stream, _AT_ONCE))
