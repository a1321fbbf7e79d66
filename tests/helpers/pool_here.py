"""A pool of workers that works in this process: child processes take seconds to start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

from merkit.engine.errors import MerError, UnreadableError
from merkit.engine.labelling.worker_pool import Failure


def pool_here(on_item: Callable[[Any], None] = lambda item: None) -> type:
    """In place of ``WorkerPool``; ``on_item`` gets each item before it is worked on."""

    class Pool:
        def __init__(
            self, function: Callable[..., Any], options: Any, workers: int = 0, seconds: float = 0.0
        ) -> None:
            self.function, self.options = function, options

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def map(self, items: Any) -> Iterator[tuple[int, Any]]:
            for number, item in enumerate(items):
                on_item(item)
                try:
                    yield number, self.function(item, self.options)
                except MerError as error:
                    yield number, Failure(str(error), isinstance(error, UnreadableError))

        def close(self) -> None:
            pass

    return Pool
