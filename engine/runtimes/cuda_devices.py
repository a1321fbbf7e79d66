"""Which GPUs a machine has for several processes: one each, and none that opens another one's."""

from __future__ import annotations

import os

from ..errors import DeviceError
from .cuda_gpu import started_cuda

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def check_gpu_count(count: int) -> None:
    """Opens no context: in the mode EXCLUSIVE_PROCESS the process that needs the GPU would then not get it.

    Raises:
        DeviceError: there are fewer GPUs than ``count``, or none can be used.
    """
    slices = [name for name in _listed() if name.startswith("MIG-")]
    if len(slices) >= count:  # CUDA counts one of them only, in every process
        return
    cuda = started_cuda()
    there = max(len(slices), cuda.Device.count())
    if there >= count:
        return
    name = cuda.Device(0).name() if there else ""
    listed = f" ({_VISIBLE} is {os.environ[_VISIBLE]})" if _listed() else ""
    advice = ""
    if " MIG " in name:
        advice = (
            f"; CUDA shows a process one slice of a GPU: list them in {_VISIBLE}, as nvidia-smi -L names them"
        )
    raise DeviceError(
        f"{count} GPUs were asked for, and there {'is' if there == 1 else 'are'} {there}{listed}{advice}"
    )


def show_only(gpu: int) -> None:
    """Makes one GPU or slice (MIG) of those that can be used the only one, number 0, of this process.

    It must be called before CUDA starts in the process, and counts for the processes that this one starts.
    """
    names = _listed()
    os.environ[_VISIBLE] = names[gpu] if gpu < len(names) else str(gpu)


def _listed() -> list[str]:
    return [name.strip() for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
