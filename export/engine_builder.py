"""ONNX to an engine, by either builder, and what is known of the engine.

Networks are strongly typed: the engine has the graph's precision, and no flag changes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ..engine.errors import MerError, os_errors_say
from ..engine.files import write_whole
from ..engine.runtimes.engine_compatibility import CARDS
from ..engine.runtimes.tensorrt_engine import error_logger, why_not_started
from .builders import Builder, EngineOptions, gpu_capability

_LARGEST_TIMING_CACHE = 256 << 20  # bytes; those of nine networks together have a few MB


@dataclass(frozen=True)
class Engine:
    """A serialized engine; ``facts`` are what is known of it, as plain JSON values."""

    content: bytes
    facts: dict[str, Any]


def engine_from_onnx(content: bytes, options: EngineOptions, builder: Builder) -> Engine:
    """Compiles a single-file ONNX model with input ``images`` ``[batch, 1, mels, frames]``.

    Raises:
        MerError: the parser or the builder refuses, with its own message, or the timing cache is of
            another TensorRT or GPU.
    """
    trt = builder.trt
    logger, errors = _logger(trt)
    trt_builder = _new_builder(builder, logger, errors)
    network = _parsed(content, trt_builder, logger, errors, trt)
    config = trt_builder.create_builder_config()
    profile = trt_builder.create_optimization_profile()
    log_mels = network.get_input(0)
    shapes = [(batch, *tuple(log_mels.shape)[1:]) for batch in options.batches]
    profile.set_shape(log_mels.name, *shapes)
    config.add_optimization_profile(profile)
    timing_cache = _configure(config, options, builder, errors)
    serialized = trt_builder.build_serialized_network(network, config)
    if serialized is None:
        raise MerError(f"{builder.name} builds no engine: {_last(errors)}")
    if timing_cache is not None and options.timing_cache is not None:
        timings = config.get_timing_cache().serialize()
        if timings is None:
            raise MerError(f"the timing cache cannot be serialized: {_last(errors)}")
        with os_errors_say(f"the timing cache {options.timing_cache} cannot be written"):
            write_whole(options.timing_cache, bytes(timings))
    engine = bytes(serialized)
    facts = {
        "builder": builder.module,
        "builder_version": trt.__version__,
        "cuda": _cuda_of(builder),
        "compute_capability": _capability(options, builder),
        "profiles": {log_mels.name: dict(zip(("min", "opt", "max"), map(list, shapes), strict=True))},
        "strongly_typed": True,
        "tf32": False,
        "options": {
            "workspace_mb": options.workspace_mb,
            "optimization_level": config.builder_optimization_level,
            "hardware_compatible": options.hardware_compatible,
            "version_compatible": options.version_compatible,
        },
        "precision_parsed": precision_of_network(network, trt),
        "precision_built": _as_built(engine, options, logger, trt) if gpu_capability() else None,
    }
    return Engine(engine, facts)


def check_parsed(content: bytes, builder: Builder) -> None:
    """Lets TensorRT's parser read an ONNX model: what it refuses needs no conversion first.

    Raises:
        MerError: it refuses, with its own message.
    """
    logger, errors = _logger(builder.trt)
    _parsed(content, _new_builder(builder, logger, errors), logger, errors, builder.trt)


def precision_of_network(network: Any, trt: Any) -> dict[str, dict[str, int]]:
    """Counts layers by type and precision, as TensorRT's own parser read the graph.

    A layer with input and weights that come out of a DequantizeLinear from int8 counts as int8: TensorRT
    fuses the three into one. Constants and shuffles of shapes do not count.
    """
    names = {trt.DataType.FLOAT: "fp32", trt.DataType.HALF: "fp16", trt.DataType.INT8: "int8"}
    all_layers = map(network.get_layer, range(network.num_layers))
    layers = [layer for layer in all_layers if layer.get_output(0) is not None]  # a loop's own have none
    from_int8 = {
        layer.get_output(0).name
        for layer in layers
        if layer.type == trt.LayerType.DEQUANTIZE and layer.get_input(0).dtype == trt.DataType.INT8
    }
    table: dict[str, Counter[str]] = {}
    for layer in layers:
        output_type = layer.get_output(0).dtype
        if layer.type == trt.LayerType.CONSTANT or output_type not in names:
            continue
        inputs = [layer.get_input(i) for i in range(layer.num_inputs)]
        fed = [tensor is not None and tensor.name in from_int8 for tensor in inputs[:2]]
        weighted = layer.type in (trt.LayerType.CONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
        if weighted and len(fed) == 2 and all(fed):
            precision = "int8"
        else:
            precision = names[output_type]
            kernel_type = _kernel_type(layer, trt)
            if kernel_type is not None and kernel_type != output_type:
                precision = f"{precision} with {names.get(kernel_type, kernel_type.name)} weights"
        table.setdefault(layer.type.name.lower(), Counter())[precision] += 1
    return {kind: dict(counts) for kind, counts in sorted(table.items())}


def _new_builder(builder: Builder, logger: Any, errors: Sequence[str]) -> Any:
    try:
        return builder.trt.Builder(logger)
    except TypeError as error:  # pybind11's: "factory function returned nullptr"
        raise MerError(why_not_started(builder.module, errors, error)) from None


def _parsed(content: bytes, trt_builder: Any, logger: Any, errors: Sequence[str], trt: Any) -> Any:
    """TensorRT's network of an ONNX model."""
    # TensorRT 11 ignores the flag, since all its networks are strongly typed; 10 needs it.
    network = trt_builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(content):
        reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise MerError(f"TensorRT's parser refuses the graph: {'; '.join(reasons) or _last(errors)}")
    return network


def _configure(config: Any, options: EngineOptions, builder: Builder, errors: Sequence[str]) -> Any:
    """Sets the options and returns the timing cache in use, or None."""
    trt = builder.trt
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # By default TF32 would round the factors of FP32 products to 10 bits.
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.gpu is not None:
        cards = CARDS[options.gpu]
        config.num_compute_capabilities = len(cards)
        for i, card in enumerate(cards):
            name = f"SM{card.replace('.', '')}"
            if not config.set_compute_capability(getattr(trt.ComputeCapability, name), i):
                raise MerError(f"TensorRT for RTX {trt.__version__} does not compile for {options.gpu}")
    if options.timing_cache is None:
        return None
    before = len(errors)
    cache = config.create_timing_cache(_read_timing_cache(options.timing_cache))
    # For some files it makes an empty cache and only logs that the file is none, which would be replaced.
    said = [error for error in errors[before:] if "erializ" in error or "iming cache" in error]
    if cache is None or said or not config.set_timing_cache(cache, False):
        raise MerError(f"{options.timing_cache} is no timing cache of this TensorRT and GPU")
    return cache


def _read_timing_cache(path: Path) -> bytes:
    """Its content; nothing where there is no such file yet."""
    try:
        if path.exists() and not path.is_file():
            raise MerError(f"{path} is no regular file")
        with path.open("rb") as file:
            content = file.read(_LARGEST_TIMING_CACHE + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise MerError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST_TIMING_CACHE:
        raise MerError(f"{path} is no timing cache: it is larger than {_LARGEST_TIMING_CACHE >> 20} MB")
    return content


def _capability(options: EngineOptions, builder: Builder) -> dict[str, Any]:
    if builder.name == "tensorrt":
        target = "Ampere and newer" if options.hardware_compatible else "this GPU"
        return {"target": target, "capabilities": [gpu_capability()]}
    if options.gpu is None:
        return {
            "target": "portable: RTX cards from Ampere on; kernels are compiled on first use",
            "capabilities": [],
        }
    return {"target": options.gpu, "capabilities": list(CARDS[options.gpu])}


def _as_built(engine: bytes, options: EngineOptions, logger: Any, trt: Any) -> str | None:
    """The engine inspector's JSON of the layers; None where this GPU cannot load the engine."""
    try:
        runtime = trt.Runtime(logger)
    except TypeError:  # pybind11's: it does not start here; whoever opens the engine says why
        return None
    if options.version_compatible:
        runtime.engine_host_code_allowed = True  # the engine carries a runtime, and was compiled just now
    loaded = runtime.deserialize_cuda_engine(engine)
    if loaded is None:
        return None
    return loaded.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)


def _kernel_type(layer: Any, trt: Any) -> Any:
    if layer.type != trt.LayerType.CONVOLUTION or layer.num_inputs > 1:
        return None
    layer.__class__ = trt.IConvolutionLayer  # the documented cast from ILayer
    return getattr(trt, layer.kernel.dtype.name)


def _logger(trt: Any) -> tuple[Any, list[str]]:
    """A logger, and the list to which it appends errors."""
    errors: list[str] = []
    return error_logger(trt, errors), errors


def _last(errors: Sequence[str]) -> str:
    return errors[-1] if errors else "it gives no reason"


def _cuda_of(builder: Builder) -> str | None:
    """CUDA's major version that the builder's wheel is for; None where it was not installed from a wheel."""
    for major in ("13", "12"):
        try:
            metadata.version(f"{builder.module}_cu{major}_bindings")
        except metadata.PackageNotFoundError:
            continue
        return major
    return None
