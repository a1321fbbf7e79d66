"""No network: all logits are 0, so that a pipeline can run, and be timed, without its network's work."""

from __future__ import annotations

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact


class NullRuntime:
    """See ``Runtime``."""

    name = "null"

    def __init__(self, labels: int) -> None:
        self._labels = labels

    def infer(self, log_mels: Float32) -> Float32:
        return np.zeros((len(log_mels), self._labels), np.float32)

    def close(self) -> None:
        pass

    def __enter__(self) -> NullRuntime:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def open_runtime(artifact: Artifact, threads: int) -> NullRuntime:
    """See ``merkit.engine.runtimes.open_runtime``."""
    return NullRuntime(len(artifact.spec.labels))
