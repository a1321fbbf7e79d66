"""One file a runtime, behind one small contract; chosen by name, never by trying."""

from __future__ import annotations

from importlib import import_module
from types import TracebackType
from typing import Protocol, Self

from ..artifact import Artifact
from ..decoders import Float32
from ..errors import MerError, UsageError

RUNTIMES = ("onnxruntime", "openvino", "tensorrt", "null")


class Runtime(Protocol):
    """A loaded network. ``infer`` takes float32 ``[n, 1, mels, frames]``, gives ``[n, labels]``."""

    name: str

    def infer(self, images: Float32) -> Float32: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


def name_of_runtime(artifact: Artifact, name: str | None = None) -> str:
    """Which of ``RUNTIMES`` runs an artifact: the one named, or the one that its suffix says.

    Raises:
        UsageError: an unknown name, or no runtime for such a file.
    """
    name = name or {".onnx": "onnxruntime", ".engine": "tensorrt"}.get(artifact.path.suffix)
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
