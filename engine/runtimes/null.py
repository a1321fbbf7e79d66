"""No network: all outputs are 0, so that a pipeline can run, and be timed, without its network's work."""

from __future__ import annotations

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact
from ..closing import ClosedByWith


class NullRuntime(ClosedByWith):
    """See ``Runtime``."""

    name = "null"

    def __init__(self, columns: int) -> None:
        self._columns = columns

    def infer(self, log_mels: Float32) -> Float32:
        return np.zeros((len(log_mels), self._columns), np.float32)

    def close(self) -> None:
        pass


def open_runtime(artifact: Artifact, threads: int) -> NullRuntime:
    """See ``merkit.engine.runtimes.open_runtime``."""
    return NullRuntime(sum(artifact.spec.outputs.values()))
