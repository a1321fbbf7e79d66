"""A network that several threads use at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .local import FileByFile


class SharedNetwork:
    """It is closed once it is not wanted any longer and no thread uses it."""

    def __init__(self, network: FileByFile) -> None:
        self._network = network
        self._lock = threading.RLock()  # a signal's handler may close it at any place
        self._users = 1  # with who opened it

    @contextmanager
    def used(self) -> Iterator[FileByFile]:
        """The network, which stays open within the block."""
        with self._lock:
            self._users += 1
        try:
            yield self._network
        finally:
            self.close()

    def close(self) -> None:
        """Says that who opened it wants it no longer; call it once."""
        with self._lock:
            self._users -= 1
            is_unused = not self._users
        if is_unused:
            self._network.close()
