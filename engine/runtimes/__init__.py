"""Log-mels in, logits out: one file a runtime. The contracts are ``Runtime`` and ``DeviceRuntime``, here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..artifact import is_engine
from ..errors import MerError, UsageError

if TYPE_CHECKING:  # commands ask for the names alone: --help must not load NumPy
    from ..arrays import Float32
    from ..artifact import Artifact

RUNTIMES = ("onnxruntime", "openvino", "openvino-bf16", "tensorrt", "onnxruntime_rtx", "null")
"""The names of all runtimes: of their files here, in options of commands, and in a run's folder."""


class Runtime(Protocol):
    """A loaded network; a context manager."""

    name: str

    def infer(self, log_mels: Float32) -> Float32:
        """float32 ``[n, 1, mels, frames]`` to logits, float32 ``[n, labels]``.

        The other outputs of ``ModelSpec.outputs`` stand beside them, as further columns.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class DeviceRuntime(Runtime, Protocol):
    """A runtime on a GPU. It takes log-mels that are there already, and computes while the caller goes on.

    ``batch`` is the most windows that are computed at once.
    """

    batch: int

    @property
    def gpu(self) -> GpuInfo:
        """The GPU that it runs on."""
        ...

    @property
    def stream(self) -> int:
        """The handle of the CUDA stream that computes; work queued there before ``submit`` is waited for."""
        ...

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A NumPy array of zeros from which the GPU copies by itself; it is freed with the runtime.

        Raises:
            DeviceError: there is no memory for it.
        """
        ...

    def submit(self, log_mels: Float32 | DeviceArray) -> Pending:
        """Begins to compute and returns; an array on the GPU must not be changed until the result."""
        ...


class GpuInfo(Protocol):
    """A GPU: its ``name``, and two versions such as "8.9".

    ``capability`` is its compute capability, ``driver`` the newest CUDA that its driver supports.
    """

    name: str
    capability: str
    driver: str


class DeviceArray(Protocol):
    """An array on a GPU, by the CUDA Array Interface, which Numba defines.

    Its version 3 may name the ``stream`` that has yet to write the array: that one is waited for. DALI's are
    of version 2, which knows no stream: they are ready for the one that ``DaliLogMel.take`` was given.
    """

    @property
    def __cuda_array_interface__(self) -> Mapping[str, Any]: ...


class Pending(Protocol):
    """Logits that are being computed."""

    def result(self) -> Float32:
        """Waits for them: float32 ``[n, labels]``, with further columns as ``Runtime.infer`` gives."""
        ...


def name_of_runtime(artifact: Artifact, name: str | None = None) -> str:
    """Which of ``RUNTIMES`` runs an artifact: the one named, or else (None, "auto") the best one here.

    That is TensorRT for an engine; for ONNX it is what ``choice.chosen_runtime`` says.

    Raises:
        UsageError: an unknown name, or no runtime for such a file.
        MerError: the user's own table of runtimes cannot be read.
    """
    name = None if name == "auto" else name
    if name is None and is_engine(artifact.path):
        name = "tensorrt"
    elif name is None:
        from .choice import chosen_runtime

        name, _ = chosen_runtime(artifact)
    if name not in RUNTIMES:
        raise UsageError(f"no runtime {name!r} for {artifact.path.name}; there are: {', '.join(RUNTIMES)}")
    if is_engine(artifact.path) and name not in ("tensorrt", "null"):  # its content is no checked graph
        raise UsageError(
            f"{artifact.path.name} is an engine, which {name} does not run: leave the runtime out"
        )
    if name == "tensorrt" and not is_engine(artifact.path):
        raise UsageError(f"{artifact.path.name} is no engine: TensorRT runs what mer-export makes of it")
    return name


def open_runtime(artifact: Artifact, name: str | None = None, threads: int = 0, gpu: int = 0) -> Runtime:
    """Loads an artifact.

    Args:
        name: one of ``RUNTIMES``; by default see ``name_of_runtime``.
        threads: for the network; 0 leaves it to the runtime.
        gpu: the number of the GPU, for TensorRT and onnxruntime_rtx.

    Raises:
        UsageError: an unknown name, or no runtime for such a file.
        ArtifactError: the runtime refuses the artifact, or it fails on a trial (``check_by_trial``).
        MerError: the runtime's package is not installed; DeviceError, if it is a GPU's.
    """
    name = name_of_runtime(artifact, name)
    if artifact.further:
        from .side_by_side import SideBySide

        return SideBySide(artifact, lambda model: open_runtime(model, name, threads, gpu))
    try:
        module = import_module(f".{name.replace('-', '_')}", __name__)
    except ModuleNotFoundError as error:
        raise MerError(f"the runtime {name} needs the package {error.name}, which is not installed") from None
    if name == "tensorrt":
        return module.open_runtime(artifact, threads, gpu)
    if name != "null" and not artifact.is_bundled:
        from .trial import check_by_trial

        # On a GPU a trial's limits of memory mean nothing; what the graph costs, the CPU tells.
        check_by_trial(artifact, "onnxruntime" if name == "onnxruntime_rtx" else name)
    if name == "onnxruntime_rtx":
        return module.open_runtime(artifact, threads, gpu)
    return module.open_runtime(artifact, threads)
