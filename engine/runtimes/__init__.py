"""One file a runtime: log-mels in, logits out. The contracts are ``Runtime`` and ``DeviceRuntime``, here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..errors import MerError, UsageError

if TYPE_CHECKING:  # commands ask for the names alone: --help must not load NumPy
    from ..arrays import Float32
    from ..artifact import Artifact

RUNTIMES = ("onnxruntime", "openvino", "tensorrt", "null")
"""The names of all runtimes: of their files here, of ``--runtime``, and in a run's folder."""

_BY_SUFFIX = {".onnx": "onnxruntime", ".engine": "tensorrt"}


class Runtime(Protocol):
    """A loaded network; a context manager."""

    name: str

    def infer(self, log_mels: Float32) -> Float32:
        """float32 ``[n, 1, mels, frames]`` to logits, float32 ``[n, labels]``."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class Pending(Protocol):
    """Logits that are being computed."""

    def result(self) -> Float32:
        """Waits for them: float32 ``[n, labels]``."""
        ...


class DeviceRuntime(Runtime, Protocol):
    """A runtime on a GPU, which takes log-mels that are there already and computes while others wait.

    ``batch`` windows are computed at once, at most. ``stream`` is the handle of the CUDA stream that
    computes: what is queued there before ``submit`` is seen by it.
    """

    batch: int

    @property
    def stream(self) -> int: ...

    def submit(self, log_mels: Any) -> Pending:
        """Begins to compute and returns; ``log_mels`` must be held, and not changed, until the result."""
        ...


def name_of_runtime(artifact: Artifact, name: str | None = None) -> str:
    """Which of ``RUNTIMES`` runs an artifact: the one named, or the one that its suffix says.

    Raises:
        UsageError: an unknown name, or no runtime for such a file.
    """
    name = name or _BY_SUFFIX.get(artifact.path.suffix)
    if name not in RUNTIMES:
        raise UsageError(f"no runtime {name!r} for {artifact.path.name}; there are: {', '.join(RUNTIMES)}")
    return name


def open_runtime(artifact: Artifact, name: str | None = None, threads: int = 0, gpu: int = 0) -> Runtime:
    """Loads an artifact.

    Args:
        name: one of ``RUNTIMES``; by default what the file's suffix says.
        threads: for the network; 0 leaves it to the runtime.
        gpu: which GPU, for those runtimes that use one.

    Raises:
        UsageError: an unknown name, or no runtime for such a file.
        MerError: the runtime's package is not installed.
    """
    name = name_of_runtime(artifact, name)
    try:
        module = import_module(f".{name}", __name__)
    except ModuleNotFoundError as error:
        raise MerError(f"the runtime {name} needs the package {error.name}, which is not installed") from None
    if name == "tensorrt":
        return module.open_runtime(artifact, threads, gpu)
    return module.open_runtime(artifact, threads)
