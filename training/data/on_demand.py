"""Arrays that are read when they are asked for: a process may have a thousand files open, data has more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import overload

from ...engine.arrays import Float32


class OnDemand(Sequence[Float32]):
    """Arrays of which each is made anew whenever it is asked for, and none is kept.

    Whoever keeps one that is memory-mapped keeps its file open.
    """

    def __init__(self, makers: Iterable[Callable[[], Float32]]) -> None:
        self._makers = tuple(makers)

    def __len__(self) -> int:
        return len(self._makers)

    @overload
    def __getitem__(self, position: int) -> Float32: ...
    @overload
    def __getitem__(self, position: slice) -> OnDemand: ...
    def __getitem__(self, position: int | slice) -> Float32 | OnDemand:
        if isinstance(position, slice):
            return OnDemand(self._makers[position])
        return self._makers[position]()

    def __iter__(self) -> Iterator[Float32]:
        return (make() for make in self._makers)  # Sequence's own takes a maker's IndexError for the end


def chosen_of(arrays: Sequence[Float32], positions: Iterable[int]) -> OnDemand:
    """Those at these positions, in their order."""
    return OnDemand(partial(arrays.__getitem__, int(position)) for position in positions)


def joined(*parts: Sequence[Float32]) -> OnDemand:
    """All arrays of the parts, one part after another."""
    return OnDemand(partial(part.__getitem__, i) for part in parts for i in range(len(part)))
