"""ONNX Runtime with NVIDIA's execution provider TensorRT RTX: an .onnx on an RTX card, without an engine.

The provider is a package of its own (onnxruntime-ep-nv-tensorrt-rtx), which ONNX Runtime loads. It compiles
the network when it is opened, which takes seconds. Log-mels come from the host's memory and logits go there.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
import onnxruntime

from ..arrays import Float32
from ..artifact import Artifact
from ..closing import ClosedByWith
from ..errors import DeviceError, MerError
from ..signals import pass_on_from_handler
from .answers import checked, failure, one_line

_PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"
_BEST, _MOST = 64, 256  # windows at once; the provider compiles for 1 to the most


class OnnxRuntimeRtx(ClosedByWith):
    """See ``Runtime``.

    Args:
        device: one of ``onnxruntime.get_ep_devices()``.

    Raises:
        ArtifactError: the provider refuses the graph, or a part of it; of ``infer``, it cannot compute it.
    """

    name = "onnxruntime_rtx"

    def __init__(self, artifact: Artifact, device: Any) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # What the provider leaves to the CPU would be slow without a word.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        audio = artifact.spec.audio
        shapes = {
            f"nv_profile_{name}_shapes": f"images:{batch}x1x{audio.n_mels}x{audio.frames}"
            for name, batch in (("min", 1), ("opt", _BEST), ("max", _MOST))
        }
        try:
            options.add_provider_for_devices([device], shapes)
            self._session: Any = onnxruntime.InferenceSession(artifact.content, options)
        except Exception as error:  # its exceptions have no narrower base class
            raise failure(artifact, "TensorRT RTX refuses it", error) from None
        self._artifact = artifact

    def infer(self, log_mels: Float32) -> Float32:
        if not len(log_mels):  # which is below what the provider compiles for
            return np.zeros((0, sum(self._artifact.spec.outputs.values())), np.float32)
        parts = [log_mels[start : start + _MOST] for start in range(0, len(log_mels), _MOST)]
        names = list(self._artifact.spec.outputs)
        try:
            answers = [(self._session.run(names, {"images": part}), part) for part in parts]
        except Exception as error:  # as above
            raise failure(self._artifact, "TensorRT RTX cannot compute it", error) from None
        return np.concatenate([checked(outputs, part, self._artifact) for outputs, part in answers])

    def close(self) -> None:
        self._session = None


def open_runtime(artifact: Artifact, threads: int, gpu: int = 0) -> OnnxRuntimeRtx:
    """See ``merkit.engine.runtimes.open_runtime``.

    Raises:
        MerError: the provider is not installed, or ONNX Runtime is too old for it.
        DeviceError: it cannot be loaded, or there is no such RTX card.
    """
    devices = _devices()
    if gpu >= len(devices):
        raise DeviceError(f"no GPU number {gpu} for TensorRT RTX: it finds {len(devices)}")
    return OnnxRuntimeRtx(artifact, devices[gpu])


@lru_cache
def _devices() -> list[Any]:
    """The cards that the provider finds; it is loaded once in a process."""
    try:
        package = import_module(_PACKAGE)
    except ModuleNotFoundError:
        raise MerError(
            "ONNX Runtime's provider for TensorRT RTX is not installed: "
            'pip install "merkit[onnxruntime-rtx]"'
        ) from None
    if not hasattr(onnxruntime, "register_execution_provider_library"):
        raise MerError(
            f"onnxruntime {onnxruntime.__version__} loads no providers: install onnxruntime 1.24 or newer"
        )
    name = package.get_ep_name()
    try:
        onnxruntime.register_execution_provider_library(name, package.get_library_path())
    except Exception as error:  # as above: without a driver
        pass_on_from_handler(error)
        raise DeviceError(
            f"TensorRT RTX's provider cannot be loaded, and needs an NVIDIA driver: {one_line(error)}"
        ) from None
    return [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
