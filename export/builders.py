"""Which builder compiles: TensorRT (10.8 or newer, and 11), or TensorRT for RTX; and with which options."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from ..engine.errors import MerError, UsageError
from ..engine.runtimes.engine_compatibility import takes_rtx_portable

BuilderName = Literal["auto", "tensorrt", "rtx"]
GpuFamily = Literal["turing", "ampere", "ada", "blackwell"]

_TITLES = {"tensorrt": "TensorRT", "rtx": "TensorRT for RTX"}
_MODULES = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}
_INSTALL = {"tensorrt": 'pip install "merkit[gpu]"', "rtx": 'pip install "merkit[rtx]"'}
_OLDEST_TENSORRT = (10, 8)
_UNSUPPORTED = {"tensorrt": ("gpu",), "rtx": ("timing_cache", "hardware_compatible", "version_compatible")}


class NoBuilderError(MerError):
    """No installed builder can build this engine."""


class UnsupportedOptionError(UsageError):
    """Options that the chosen builder does not know; ``options`` are names of fields of EngineOptions."""

    def __init__(self, title: str, options: Sequence[str]) -> None:
        super().__init__(f"{title} does not support {', '.join(options)}")
        self.title = title
        self.options = tuple(options)


@dataclass(frozen=True)
class EngineOptions:
    """What to compile for. An option that is None or False is left to the builder.

    Attributes:
        batches: the least, the best and the most windows at once.
        gpu: compile ahead for one family of cards (TensorRT for RTX only).
        workspace_mb: scratch memory for the builder, in MiB.
        optimization_level: how long the builder searches, 0 to 5.
        timing_cache: a file of measured timings to reuse and extend (TensorRT only).
        hardware_compatible: run on Ampere and newer (TensorRT only).
        version_compatible: run on later TensorRT versions (TensorRT only).

    Raises:
        UsageError: the batches do not rise.
    """

    batches: tuple[int, int, int] = (1, 64, 64)
    gpu: GpuFamily | None = None
    workspace_mb: int | None = None
    optimization_level: int | None = None
    timing_cache: Path | None = None
    hardware_compatible: bool = False
    version_compatible: bool = False

    def __post_init__(self) -> None:
        least, best, most = self.batches
        if not 1 <= least <= best <= most:
            raise UsageError(f"batches must be 1 <= min <= opt <= max, not {least}, {best} and {most}")


@dataclass(frozen=True)
class Builder:
    """An imported builder: ``name`` is "tensorrt" or "rtx", ``module`` its Python module's name.

    ``choice`` says which one "auto" chose, and why; it is empty where the builder was named.
    """

    name: str
    module: str
    trt: Any
    choice: str = ""


def open_builder(name: BuilderName, options: EngineOptions) -> Builder:
    """Chooses and imports a builder. "auto" is TensorRT where it and a GPU are, else TensorRT for RTX.

    Raises:
        UnsupportedOptionError: an option that the builder does not support.
        NoBuilderError: the builder's package, or the GPU it needs, is not there.
    """
    choice = ""
    if name == "auto":
        name, why = _chosen(options)
        choice = f"{_TITLES[name]}: {why}"
    title = _TITLES[name]
    values = asdict(options)
    unsupported = [option for option in _UNSUPPORTED[name] if values[option]]
    if unsupported:
        raise UnsupportedOptionError(title, unsupported)
    try:
        trt = import_module(_MODULES[name])
    except (ImportError, OSError) as error:
        raise NoBuilderError(f"{title} is not installed ({error}): {_INSTALL[name]}") from None
    if name == "tensorrt":
        if tuple(map(int, trt.__version__.split(".")[:2])) < _OLDEST_TENSORRT:
            raise NoBuilderError(f"TensorRT {trt.__version__} is too old: 10.8 or newer is needed")
        if gpu_capability() is None:
            raise NoBuilderError(
                "TensorRT compiles on the GPU it will run on, and none is here; the builder rtx needs none"
            )
    return Builder(name, _MODULES[name], trt, choice)


def _chosen(options: EngineOptions) -> tuple[Literal["tensorrt", "rtx"], str]:
    """The builder that "auto" is, and why."""
    if options.gpu is not None:
        return "rtx", f"it alone compiles for the family {options.gpu}"
    capability = gpu_capability()
    if capability is None:
        return "rtx", "no NVIDIA GPU is here, and TensorRT compiles on the GPU it will run on"
    if _installed("tensorrt"):
        return "tensorrt", f"it is installed, and compiles for the GPU that is here ({capability})"
    why = "TensorRT is not installed"
    if not takes_rtx_portable(capability):
        why += f"; the engine will not run on the GPU that is here ({capability}): {_INSTALL['tensorrt']}"
    return "rtx", why


def gpu_capability() -> str | None:
    """The compute capability of the first NVIDIA GPU ("8.9"), read from its driver; None without one."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    for library in ("libcuda.so.1", "nvcuda.dll"):
        try:
            cuda = ctypes.CDLL(library)
        except OSError:
            continue
        # 75 and 76: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
        failures = [cuda.cuInit(0)]
        failures += [
            cuda.cuDeviceGetAttribute(ctypes.byref(out), code, 0) for out, code in ((major, 75), (minor, 76))
        ]
        return None if any(failures) else f"{major.value}.{minor.value}"
    return None


def _installed(name: str) -> bool:
    return find_spec(_MODULES[name]) is not None
