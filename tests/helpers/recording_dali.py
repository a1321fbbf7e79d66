"""A DALI without a GPU and without DALI: it records how its pipeline is made, fed and read."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np


class Node:
    """What an operator of the graph gives; ``device`` is where it is computed."""

    def __init__(self, device: str) -> None:
        self.device = device

    def gpu(self) -> Node:
        return Node("gpu")

    def __getitem__(self, _: Any) -> Node:
        return self

    def __sub__(self, other: Any) -> Node:
        if isinstance(other, Node):  # DALI computes with both on one device, and refuses others
            assert other.device == self.device, f"{self.device} with {other.device}"
        return self

    __add__ = __radd__ = __mul__ = __rmul__ = __rsub__ = __sub__


class RecordingDali:
    """In the place of the module ``nvidia.dali``. ``calls`` are the pipeline's, in their order.

    ``options`` are those of the pipeline, ``operators`` the device of each operator's first input,
    ``sources`` what each ``external_source`` was made with, by its name.
    """

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.operators: dict[str, str] = {}
        self.sources: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.fn = self
        self.reductions = self
        self.math = self
        self.types = SimpleNamespace(FLOAT="float", INT16="int16", Constant=lambda value: value)

    def __getattr__(self, name: str) -> Callable[..., Node]:
        def operator(*inputs: Any, device: str = "", **options: Any) -> Node:
            if name == "external_source":
                self.sources[options.pop("name")] = options
            source = next((value for value in inputs if isinstance(value, Node)), None)
            self.operators[name] = device or (source.device if source else "cpu")
            return Node(self.operators[name])

        return operator

    def pipeline_def(self, **options: Any) -> Callable[[Callable[[], Node]], Callable[[], Any]]:
        self.options = options

        def decorate(definition: Callable[[], Node]) -> Callable[[], Any]:
            def make() -> RecordingPipeline:
                self.operators["output"] = definition().device
                return RecordingPipeline(self.calls)

            return make

        return decorate


class RecordingPipeline:
    """What ``pipeline_def`` makes."""

    def __init__(self, calls: list[tuple[Any, ...]]) -> None:
        self._calls = calls
        self._batches: list[int] = []

    def build(self) -> None:
        self._calls.append(("build",))

    def feed_input(self, name: str, data: np.ndarray, **options: Any) -> None:
        if name == "samples":
            self._batches.append(len(data))
        self._calls.append(("feed_input", name, len(data), *options.items()))

    def schedule_run(self) -> None:
        self._calls.append(("schedule_run",))

    def outputs(self, cuda_stream: Any = "DALI's own") -> tuple[Any]:
        self._calls.append(("outputs", cuda_stream))
        count = self._batches.pop(0)
        return (SimpleNamespace(as_tensor=lambda: SimpleNamespace(windows=count)),)

    def __del__(self) -> None:
        self._calls.append(("closed",))
