"""ONNX to an engine: one builder over TensorRT (10.8 or newer, and 11) and TensorRT for RTX.

Networks are strongly typed: the engine's precision is the graph's, and no flag changes it.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Literal

from ..engine.errors import MerError, UsageError

BuilderName = Literal["auto", "tensorrt", "rtx"]

GPUS = {
    "turing": ("SM75",),
    "ampere": ("SM80", "SM86"),
    "ada": ("SM89",),
    "blackwell": ("SM120",),
}
"""Families of cards and their compute capabilities, as tensorrt_rtx.ComputeCapability names them."""

_MODULES = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}
_INSTALL = {"tensorrt": 'pip install "merkit[gpu]"', "rtx": 'pip install "merkit[rtx]"'}
_OLDEST_TENSORRT = (10, 8)


class NoBuilderError(MerError):
    """No builder is installed that can build what is asked."""


@dataclass(frozen=True)
class EngineOptions:
    """What to compile for. ``batches`` is (least, best, most); ``gpu`` one of ``GPUS``.

    What is None or False is left to the builder; TensorRT for RTX knows neither timing caches nor
    the compatibility options, TensorRT no ``gpu``.
    """

    batches: tuple[int, int, int] = (1, 8, 32)
    gpu: str | None = None
    workspace_mb: int | None = None
    optimization_level: int | None = None
    timing_cache: Path | None = None
    hardware_compatible: bool = False
    version_compatible: bool = False

    def __post_init__(self) -> None:
        least, best, most = self.batches
        if not 1 <= least <= best <= most:
            raise UsageError(
                f"batches must be 1 <= min <= opt <= max, not --min-batch {least} --opt-batch {best} "
                f"--max-batch {most}"
            )


@dataclass(frozen=True)
class Builder:
    """An imported builder: ``name`` is "tensorrt" or "rtx"."""

    name: str
    trt: Any


@dataclass(frozen=True)
class Engine:
    """A serialized engine, and what is known of it as plain JSON values."""

    content: bytes
    facts: dict[str, Any]


def open_builder(name: BuilderName, options: EngineOptions) -> Builder:
    """Chooses and imports a builder. "auto" is TensorRT where it and a GPU are, else TensorRT for RTX.

    Raises:
        UsageError: an option that the builder does not support.
        NoBuilderError: the builder's package, or the GPU it needs, is not there.
    """
    if name == "auto":
        full = options.gpu is None and gpu_capability() is not None and _installed("tensorrt")
        name = "tensorrt" if full else "rtx"
    refused = {
        "tensorrt": {"--gpu": options.gpu},
        "rtx": {
            "--timing-cache": options.timing_cache,
            "--hardware-compatible": options.hardware_compatible,
            "--version-compatible": options.version_compatible,
        },
    }[name]
    given = [option for option, value in refused.items() if value]
    title = {"tensorrt": "TensorRT", "rtx": "TensorRT for RTX"}[name]
    if given:
        raise UsageError(f"{title} does not support {', '.join(given)}")
    try:
        trt = import_module(_MODULES[name])
    except (ImportError, OSError) as error:
        raise NoBuilderError(f"{title} is not installed ({error}): {_INSTALL[name]}") from None
    if name == "tensorrt":
        if tuple(map(int, trt.__version__.split(".")[:2])) < _OLDEST_TENSORRT:
            raise NoBuilderError(f"TensorRT {trt.__version__} is too old: 10.8 or newer is needed")
        if gpu_capability() is None:
            raise NoBuilderError(
                "TensorRT compiles on the GPU it will run on, and none is here: --builder rtx"
            )
    return Builder(name, trt)


def engine_from_onnx(content: bytes, options: EngineOptions, builder: Builder) -> Engine:
    """Compiles a single-file ONNX model with input ``images`` ``[batch, 1, mels, frames]``.

    Raises:
        MerError: the parser or the builder refuses; the message is theirs.
    """
    trt = builder.trt
    logger, said = _logger(trt)
    maker = trt.Builder(logger)
    # TensorRT 11 ignores the flag, for all its networks are strongly typed; 10 needs it.
    network = maker.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(content):
        errors = [parser.get_error(at).desc() for at in range(parser.num_errors)]
        raise MerError(f"TensorRT's parser refuses the graph: {'; '.join(errors) or _last(said)}")
    config = maker.create_builder_config()
    profile = maker.create_optimization_profile()
    images = network.get_input(0)
    shapes = [(batch, *tuple(images.shape)[1:]) for batch in options.batches]
    profile.set_shape(images.name, *shapes)
    config.add_optimization_profile(profile)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # FP32 shall mean FP32: by default its products would be rounded to TF32's 10 bits.
    config.clear_flag(trt.BuilderFlag.TF32)
    cache = _configure(config, options, builder)
    made = maker.build_serialized_network(network, config)
    if made is None:
        raise MerError(f"{builder.name} builds no engine: {_last(said)}")
    if cache is not None and options.timing_cache is not None:
        options.timing_cache.write_bytes(bytes(config.get_timing_cache().serialize()))
    engine = bytes(made)
    facts = {
        "builder": _MODULES[builder.name],
        "builder_version": trt.__version__,
        "cuda": _cuda_of(builder),
        "compute_capability": _capability(options, builder),
        "profiles": {images.name: dict(zip(("min", "opt", "max"), map(list, shapes), strict=True))},
        "strongly_typed": True,
        "tf32": False,
        "options": {
            "workspace_mb": options.workspace_mb,
            "optimization_level": config.builder_optimization_level,
            "hardware_compatible": options.hardware_compatible,
            "version_compatible": options.version_compatible,
        },
        "precision_parsed": precision_of_network(network, trt),
        "precision_built": _as_built(engine, logger, trt) if gpu_capability() else None,
    }
    return Engine(engine, facts)


def precision_of_network(network: Any, trt: Any) -> dict[str, dict[str, int]]:
    """Layer type to precision to how many, as TensorRT's own parser read the graph.

    A layer whose input and weights come out of DequantizeLinear from int8 counts as int8, for that
    is what it is fused into. Constants and shuffles of shapes do not count.
    """
    names = {trt.DataType.FLOAT: "fp32", trt.DataType.HALF: "fp16", trt.DataType.INT8: "int8"}
    layers = [network.get_layer(at) for at in range(network.num_layers)]
    from_int8 = {
        layer.get_output(0).name
        for layer in layers
        if layer.type == trt.LayerType.DEQUANTIZE and layer.get_input(0).dtype == trt.DataType.INT8
    }
    table: dict[str, Counter[str]] = {}
    for layer in layers:
        kind = layer.get_output(0).dtype
        if layer.type == trt.LayerType.CONSTANT or kind not in names:
            continue
        inputs = [layer.get_input(at) for at in range(layer.num_inputs)]
        fed = [tensor is not None and tensor.name in from_int8 for tensor in inputs[:2]]
        weighted = layer.type in (trt.LayerType.CONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
        if weighted and len(fed) == 2 and all(fed):
            precision = "int8"
        else:
            precision = names[kind]
            kernel = _kernel_type(layer, trt)
            if kernel is not None and kernel != kind:
                precision = f"{precision} with {names.get(kernel, kernel.name)} weights"
        table.setdefault(layer.type.name.lower(), Counter())[precision] += 1
    return {kind: dict(counts) for kind, counts in sorted(table.items())}


def gpu_capability() -> str | None:
    """The compute capability of the first NVIDIA GPU ("8.9"), asked of its driver; None without one."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    for library in ("libcuda.so.1", "nvcuda.dll"):
        try:
            cuda = ctypes.CDLL(library)
        except OSError:
            continue
        # 75 and 76: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
        done = [cuda.cuInit(0)]
        done += [
            cuda.cuDeviceGetAttribute(ctypes.byref(out), code, 0) for out, code in ((major, 75), (minor, 76))
        ]
        return None if any(done) else f"{major.value}.{minor.value}"
    return None


def _configure(config: Any, options: EngineOptions, builder: Builder) -> Any:
    """Sets the options; gives the timing cache in use, if any."""
    trt = builder.trt
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.gpu is not None:
        capabilities = GPUS[options.gpu]
        config.num_compute_capabilities = len(capabilities)
        for at, name in enumerate(capabilities):
            if not config.set_compute_capability(getattr(trt.ComputeCapability, name), at):
                raise MerError(f"TensorRT for RTX {trt.__version__} does not compile for {options.gpu}")
    if options.timing_cache is None:
        return None
    before = options.timing_cache.read_bytes() if options.timing_cache.exists() else b""
    cache = config.create_timing_cache(before)
    if cache is None or not config.set_timing_cache(cache, False):
        raise MerError(f"{options.timing_cache} is no timing cache of this TensorRT and GPU")
    return cache


def _capability(options: EngineOptions, builder: Builder) -> dict[str, Any]:
    if builder.name == "tensorrt":
        on = "Ampere and newer" if options.hardware_compatible else "this GPU"
        return {"target": on, "capabilities": [gpu_capability()]}
    if options.gpu is None:
        return {
            "target": "portable: RTX cards from Ampere on; kernels are compiled on first use",
            "capabilities": [],
        }
    return {"target": options.gpu, "capabilities": [f"{name[2:-1]}.{name[-1]}" for name in GPUS[options.gpu]]}


def _as_built(engine: bytes, logger: Any, trt: Any) -> str | None:
    """The inspector's JSON of the built layers; needs a GPU."""
    loaded = trt.Runtime(logger).deserialize_cuda_engine(engine)
    if loaded is None:
        return None
    return loaded.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)


def _kernel_type(layer: Any, trt: Any) -> Any:
    if layer.type != trt.LayerType.CONVOLUTION or layer.num_inputs > 1:
        return None
    layer.__class__ = trt.IConvolutionLayer  # the documented way down from ILayer
    return getattr(trt, layer.kernel.dtype.name)


def _logger(trt: Any) -> tuple[Any, list[str]]:
    said: list[str] = []

    class Quiet(trt.ILogger):
        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                said.append(message)

    return Quiet(), said


def _last(said: Sequence[str]) -> str:
    return said[-1] if said else "it gives no reason"


def _cuda_of(builder: Builder) -> str | None:
    """CUDA's major version that the wheels are for; None where the builder is no wheel."""
    for major in ("13", "12"):
        try:
            metadata.version(f"{_MODULES[builder.name]}_cu{major}_bindings")
        except metadata.PackageNotFoundError:
            continue
        return major
    return None


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(_MODULES[name]) is not None
