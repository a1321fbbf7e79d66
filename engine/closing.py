"""The base of context managers whose block ends with ``close``."""

from __future__ import annotations

from typing import Self


class ClosedByWith:
    """A context manager that is closed at the end of its block."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
