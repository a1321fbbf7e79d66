"""Which backend labels: this machine's CPU, its GPUs, or a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ..artifact import Artifact
from ..errors import DaliMissingError, DeviceError, UsageError
from ..runtimes import name_of_runtime, open_runtime
from .contract import LabelBackend
from .local import FileByFile, LocalBackend, network_threads

Device = Literal["auto", "cpu", "cuda"]


def open_backend(
    artifact: Artifact,
    runtime: str | None = None,
    device: Device = "auto",
    workers: int = 0,
    gpus: int = 1,
    ray: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> LabelBackend:
    """Opens what labels with an artifact.

    "auto" takes the GPU for an engine where driver, TensorRT and DALI are there; without DALI only the
    network runs on it. An .onnx file runs on the CPU.

    Args:
        runtime: one of ``RUNTIMES``; by default what the file's suffix says.
        workers: processes that decode (on a cluster: of each actor), shared by all GPUs; 0 is one a core.
        gpus: above 1, one process for each of so many GPUs.
        ray: the address of a cluster, as ``join_cluster`` takes it; its nodes choose their devices.
        say: with "auto", is called with a line that names the device and says why not the other.

    Raises:
        UsageError: an .onnx file for the GPU, or an engine for the CPU.
        DeviceError: an engine, and no GPU that it can run on.
        MerError: no cluster.
    """
    if ray:
        from .ray_cluster import RayCluster

        return RayCluster(ray, name_of_runtime(artifact, runtime), workers)
    if artifact.facts and runtime in (None, "tensorrt"):
        backend, reason = _for_engine(artifact, device, workers, gpus)
    else:
        backend, reason = _for_cpu(artifact, runtime, device, workers, gpus)
    if device == "auto":
        say(f"device: {reason}")
    return backend


def _for_cpu(
    artifact: Artifact, runtime: str | None, device: Device, workers: int, gpus: int
) -> tuple[LabelBackend, str]:
    file = artifact.path.name
    if device == "cuda":
        raise UsageError(
            f"a GPU runs engines by TensorRT, and this is {runtime or file}: make one by "
            f"mer-export -m {artifact.name} --fp16 -o FOLDER/"
        )
    if gpus > 1:
        raise UsageError(f"{runtime or file} runs on the CPU: several GPUs need an engine of mer-export")
    why = f"{runtime} was asked for" if runtime else f"{file} is no engine; mer-export makes one for a GPU"
    network = FileByFile(open_runtime(artifact, runtime, network_threads(workers)))
    return LocalBackend(network, workers), f"cpu ({why})"


def _for_engine(artifact: Artifact, device: Device, workers: int, gpus: int) -> tuple[LabelBackend, str]:
    from .gpu_pipeline import open_gpu_pipeline

    file = artifact.path.name
    if device == "cpu":
        raise UsageError(f"{file} runs on a GPU only: for the CPU give the .onnx that it was made of")
    try:
        network = open_gpu_pipeline(artifact)
    except DaliMissingError as error:
        if device == "cuda":
            raise
        backend = LocalBackend(FileByFile(open_runtime(artifact)), workers)
        return backend, f"cuda for the network, cpu for the log-mels ({error})"
    except DeviceError as error:
        if device == "cuda":
            raise
        raise DeviceError(
            f"no device for {file}: not cuda, since {error}; not cpu, for it is an engine"
        ) from None
    if gpus > 1:
        from .gpu_processes import GpuProcesses

        network.close()  # it has shown that the first GPU can be used
        backend = GpuProcesses(gpus, network.name, workers)
        return backend, f"cuda, {gpus} GPUs (DALI and {network.name})"
    backend = LocalBackend(network, workers)
    return backend, f"cuda (DALI and {network.name}; not cpu, for {file} is an engine)"
