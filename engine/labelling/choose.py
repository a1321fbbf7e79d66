"""Chooses and opens the backend that labels: this machine's CPU, its GPUs, or a cluster."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from typing import Literal

from ..artifact import Artifact
from ..errors import DaliMissingError, DeviceError, UsageError
from ..runtimes import name_of_runtime, open_runtime
from ..runtimes.choice import DEFAULT, chosen_runtime
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
    batch: int = 0,
) -> LabelBackend:
    """Opens the backend that labels with an artifact.

    With "auto" an engine runs on the GPU; where DALI is missing or cannot start, its log-mels are computed on
    the CPU. An .onnx file runs on the CPU.

    Args:
        runtime: one of ``RUNTIMES``; by default the best one for the file on this machine, for which see
            ``name_of_runtime``, and for all nodes of a cluster the one that every node has.
        workers: processes that decode, of all GPUs together or of each actor of a cluster; 0 is one a core.
        gpus: above 1, a process for each of so many GPUs.
        ray: the address of a cluster, as ``join_cluster`` takes it; its nodes choose their devices.
        say: is called with a line where something was chosen: the device, and why not the other one; the
            runtime, and why.
        batch: windows that a GPU computes at once; 0 is what the engine is tuned for.

    Raises:
        UsageError: an .onnx file for the GPU, an engine or a GPU's runtime for the CPU, a batch where no
            engine takes it, or a cluster without an address.
        ArtifactError: the runtime refuses the model, or it fails on a trial.
        DeviceError: an engine, and no GPU that it can run on.
        MerError: no cluster answers, or the runtime is not installed.
    """
    runtime = None if runtime == "auto" else runtime
    if batch and (ray or not artifact.facts or runtime not in (None, "tensorrt")):
        raise UsageError("only an engine on this machine's GPU takes a size of batch: leave it out")
    if ray == "":
        raise UsageError("the address of the Ray cluster is empty: local, auto or HOST:PORT")
    if ray:
        from ..runtimes.trial import check_by_trial
        from .ray_cluster import RayCluster

        name = name_of_runtime(artifact, runtime if runtime or artifact.facts else DEFAULT)
        if name == "onnxruntime":  # which every node has, and so does this machine
            for model in (artifact, *artifact.further):
                check_by_trial(model, name)
        recorded = artifact.facts["builder"] if name == "tensorrt" else name  # as one machine's rows have it
        return RayCluster(ray, name, recorded, workers)
    if artifact.facts and runtime in (None, "tensorrt"):
        backend, reason = _for_engine(artifact, device, workers, gpus, batch)
    else:
        name = name_of_runtime(artifact, runtime)
        backend, reason = _for_onnx(artifact, name, runtime is not None, device, workers, gpus)
        if runtime is None:
            say(f"runtime: {name} ({chosen_runtime(artifact)[1]})")
    if device == "auto":
        say(f"device: {reason}")
    return backend


def _for_onnx(
    artifact: Artifact, runtime: str, asked: bool, device: Device, workers: int, gpus: int
) -> tuple[LabelBackend, str]:
    file, on_gpu = artifact.path.name, runtime == "onnxruntime_rtx"
    if device == "cpu" and on_gpu:
        raise UsageError(f"{runtime} runs on a GPU only: for the CPU leave it out")
    if device == "cuda" and not on_gpu:
        model = artifact.name if artifact.is_bundled else shlex.quote(str(artifact.path))
        raise UsageError(
            f"a GPU runs engines by TensorRT, and this is {runtime if asked else file}: make one by "
            f"mer-export -m {model} --fp16 -o FOLDER/"
        )
    if gpus > 1:
        where = "one GPU" if on_gpu else "the CPU"
        raise UsageError(
            f"{runtime if asked else file} runs on {where}: several GPUs need an engine of mer-export"
        )
    why = f"{runtime} was asked for" if asked else f"{file} is no engine; mer-export makes one for a GPU"
    network = FileByFile(open_runtime(artifact, runtime, network_threads(workers)))
    where = "cuda for the network, cpu for the log-mels" if on_gpu else "cpu"
    return LocalBackend(network, workers), f"{where} ({why})"


def _for_engine(
    artifact: Artifact, device: Device, workers: int, gpus: int, batch: int
) -> tuple[LabelBackend, str]:
    from ..runtimes.cuda_devices import check_gpu_count
    from .gpu_pipeline import open_gpu_pipeline, open_on_its_gpu

    file = artifact.path.name
    if device == "cpu":
        raise UsageError(f"{file} runs on a GPU only: for the CPU give the .onnx that it was made of")
    if gpus > 1:
        from .gpu_processes import GpuProcesses

        name = artifact.facts["builder"]
        check_gpu_count(gpus)  # all else is found out in the processes: this one opens no GPU
        backend = GpuProcesses(gpus, name, workers, partial(open_on_its_gpu, batch=batch))
        return backend, f"cuda, {gpus} GPUs (DALI and {name})"
    try:
        network = open_gpu_pipeline(artifact, batch=batch)
    except DaliMissingError as error:
        if device == "cuda":
            raise
        backend = LocalBackend(FileByFile(open_runtime(artifact), batch), workers)
        return backend, f"cuda for the network, cpu for the log-mels ({error})"
    except DeviceError as error:
        if device == "cuda":
            raise
        raise DeviceError(
            f"no device for {file}: not cuda, since {error}; not cpu, for it is an engine"
        ) from None
    backend = LocalBackend(network, workers)
    return backend, f"cuda (DALI and {network.name}; not cpu, for {file} is an engine)"
