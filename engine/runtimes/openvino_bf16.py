"""OpenVINO in bf16, on CPUs that compute it. It has a name of its own, which rows record."""

from __future__ import annotations

from ..artifact import Artifact
from .openvino import OpenVino


def open_runtime(artifact: Artifact, threads: int) -> OpenVino:
    """See ``merkit.engine.runtimes.open_runtime``.

    Raises:
        MerError: this CPU does not compute bf16.
    """
    return OpenVino(artifact, threads, "bf16")
