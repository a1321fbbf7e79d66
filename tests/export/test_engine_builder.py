"""Real engines, compiled by TensorRT for RTX without a GPU."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import MerError
from merkit.export import engine_builder
from merkit.export.builders import Builder, EngineOptions, open_builder
from merkit.export.engine_builder import check_parsed, engine_from_onnx
from merkit.export.precision import fp16_from_onnx, int8_from_onnx, layers_to_quantize, tensors_to_quantize
from onnx import load_from_string
from small_networks import AUDIO, small_network

pytest.importorskip("tensorrt_rtx")
pytestmark = pytest.mark.usefixtures("no_gpu")


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    model = small_network()
    ranges = dict.fromkeys(tensors_to_quantize(model, layers_to_quantize(model)), (-4.0, 4.0))
    models = {"fp32": model, "fp16": fp16_from_onnx(model), "int8": int8_from_onnx(model, ranges)}
    return {name: graph.SerializeToString() for name, graph in models.items()}


@pytest.mark.parametrize("gpu", [None, "ampere", "ada", "blackwell"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_engines_are_compiled_with_the_graphs_precision(
    graphs: dict[str, bytes], precision: str, gpu: Any
) -> None:
    options = EngineOptions((1, 2, 4), gpu=gpu)
    engine = engine_from_onnx(graphs[precision], options, open_builder("auto", options))
    assert len(engine.content) > 1_000
    facts = engine.facts
    assert facts["builder"] == "tensorrt_rtx"
    assert facts["profiles"]["images"] == {
        "min": [1, 1, AUDIO.n_mels, AUDIO.frames],
        "opt": [2, 1, AUDIO.n_mels, AUDIO.frames],
        "max": [4, 1, AUDIO.n_mels, AUDIO.frames],
    }
    capabilities = facts["compute_capability"]["capabilities"]
    assert capabilities == {None: [], "ampere": ["8.0", "8.6"], "ada": ["8.9"], "blackwell": ["12.0"]}[gpu]
    assert ("portable" in facts["compute_capability"]["target"]) == (gpu is None)
    parsed = facts["precision_parsed"]
    if precision == "int8":
        # 9 convolutions: one depthwise, two in squeeze-excite
        assert parsed["convolution"] == {"int8": 6, "fp16": 3}
        assert parsed["matrix_multiply"] == {"int8": 1}
    else:
        assert parsed["convolution"] == {precision: 9}
        assert parsed["matrix_multiply"] == {precision: 1}
    assert parsed["reduce"] == {"fp32": 2}


def test_the_users_model_shrinks_in_fp16_and_runs_on_turing() -> None:
    content = open_artifact("mobilenetv3").content
    half = fp16_from_onnx(load_from_string(content)).SerializeToString()
    builder = open_builder("rtx", EngineOptions())
    sizes = [len(engine_from_onnx(graph, EngineOptions(), builder).content) for graph in (content, half)]
    assert sizes[1] < sizes[0]
    engine_from_onnx(half, EngineOptions(gpu="turing"), builder)
    with pytest.raises(MerError, match="FP32 GEMM is not supported"):
        engine_from_onnx(content, EngineOptions(gpu="turing"), builder)


def test_a_graph_that_the_parser_or_the_builder_refuses(graphs: dict[str, bytes]) -> None:
    builder = open_builder("rtx", EngineOptions())
    with pytest.raises(MerError, match="parser refuses"):
        engine_from_onnx(b"nothing", EngineOptions(), builder)
    content = open_artifact("mobilenetv3").content
    with pytest.raises(MerError, match="builds no engine"):
        engine_from_onnx(content, EngineOptions(gpu="ada", workspace_mb=1), builder)


def test_a_builder_that_does_not_start_is_one_line() -> None:
    """As on a driver that is older than the CUDA that TensorRT is built for."""
    builder = open_builder("rtx", EngineOptions())

    def fail(logger: Any) -> None:
        logger.log(builder.trt.ILogger.ERROR, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    broken = replace(builder, trt=SimpleNamespace(**{**vars(builder.trt), "Builder": fail}))
    for use in (check_parsed, lambda content, builder: engine_from_onnx(content, EngineOptions(), builder)):
        with pytest.raises(MerError, match=r"does not start \(CUDA init.*35\): update the NVIDIA driver"):
            use(b"", broken)


def test_options_reach_the_builder(graphs: dict[str, bytes]) -> None:
    options = EngineOptions(optimization_level=1, workspace_mb=512)
    facts = engine_from_onnx(graphs["fp16"], options, open_builder("rtx", options)).facts
    assert facts["options"]["optimization_level"] == 1
    assert facts["options"]["workspace_mb"] == 512
    facts = engine_from_onnx(graphs["fp16"], EngineOptions(), open_builder("rtx", options)).facts
    assert facts["options"]["optimization_level"] in range(6)  # the builder's own, which it was built with


class Kept:
    """TensorRT's builder, whose config and profile are kept."""

    config: Any
    profile: Any
    flags: int

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder, name)

    def create_builder_config(self) -> Any:
        self.config = self._builder.create_builder_config()
        return self.config

    def create_network(self, flags: int) -> Any:
        self.flags = flags
        return self._builder.create_network(flags)

    def create_optimization_profile(self) -> Any:
        self.profile = self._builder.create_optimization_profile()
        return self.profile


def test_what_the_builder_is_told(graphs: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are tuned for "opt"; FP32 is not rounded to TF32."""
    kept: list[Kept] = []
    original = engine_builder._new_builder
    monkeypatch.setattr(
        engine_builder, "_new_builder", lambda *given: kept.append(Kept(original(*given))) or kept[-1]
    )
    builder = open_builder("rtx", EngineOptions())
    engine_from_onnx(graphs["fp32"], EngineOptions((1, 8, 32), workspace_mb=512), builder)
    assert [shape[0] for shape in kept[0].profile.get_shape("images")] == [1, 8, 32]
    assert not kept[0].config.get_flag(builder.trt.BuilderFlag.TF32)
    assert kept[0].flags == 1 << int(builder.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)  # for 10
    assert kept[0].config.profiling_verbosity == builder.trt.ProfilingVerbosity.DETAILED
    assert kept[0].config.get_memory_pool_limit(builder.trt.MemoryPoolType.WORKSPACE) == 512 << 20


@pytest.mark.parametrize("option", ["hardware_compatible", "version_compatible"])
def test_what_an_engine_is_compatible_with_is_known_of_it(
    graphs: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """By these facts a machine takes it or refuses it."""
    monkeypatch.setattr(engine_builder, "_configure", lambda *_: None)
    options = replace(EngineOptions((1, 1, 1)), **{option: True})
    facts = engine_from_onnx(graphs["fp16"], options, open_builder("rtx", EngineOptions())).facts
    both = ("hardware_compatible", "version_compatible")
    assert {name: facts["options"][name] for name in both} == {name: name == option for name in both}


@pytest.mark.parametrize(
    ("wheel", "major"), [("x_cu13_bindings", "13"), ("x_cu12_bindings", "12"), ("", None)]
)
def test_the_cuda_that_a_builders_wheel_is_for(
    monkeypatch: pytest.MonkeyPatch, wheel: str, major: str | None
) -> None:
    def version(name: str) -> str:
        if name != wheel:
            raise engine_builder.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(engine_builder.metadata, "version", version)
    assert engine_builder._cuda_of(Builder("rtx", "x", None)) == major


def test_the_last_error_is_why() -> None:
    """Warnings are none, and the errors of an earlier step are no reason."""
    trt = open_builder("rtx", EngineOptions()).trt
    logger, errors = engine_builder._logger(trt)
    for severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR, trt.ILogger.WARNING, trt.ILogger.INFO):
        logger.log(severity, severity.name)
    assert errors == ["ERROR", "INTERNAL_ERROR"]
    assert engine_builder._last(errors) == "INTERNAL_ERROR"


class Config:
    """Full TensorRT's, which is not here: what it is told, as it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *given: self.calls.append((name, *given)) or name


class Names:
    """Enumerations by name."""

    def __init__(self, *path: str) -> None:
        self._path = path

    def __getattr__(self, name: str) -> Any:
        return ".".join((*self._path, name)) if self._path else Names(name)


def test_what_full_tensorrt_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Builder("tensorrt", "tensorrt", Names())
    config = Config()
    options = EngineOptions(
        hardware_compatible=True, version_compatible=True, timing_cache=tmp_path / "timings"
    )
    assert engine_builder._configure(config, options, full, []) == "create_timing_cache"
    assert config.hardware_compatibility_level == "HardwareCompatibilityLevel.AMPERE_PLUS"
    assert config.calls == [
        ("clear_flag", "BuilderFlag.TF32"),
        ("set_flag", "BuilderFlag.VERSION_COMPATIBLE"),
        ("create_timing_cache", b""),
        ("set_timing_cache", "create_timing_cache", False),  # one of another GPU is refused
    ]
    monkeypatch.setattr(engine_builder, "gpu_capability", lambda: "8.9")
    assert engine_builder._capability(options, full) == {
        "target": "Ampere and newer",
        "capabilities": ["8.9"],
    }
    assert engine_builder._capability(EngineOptions(), full)["capabilities"] == ["8.9"]


@pytest.mark.parametrize("carries_code", [False, True])
def test_only_an_engine_that_carries_a_runtime_may_bring_code(carries_code: bool) -> None:
    allowed: list[bool] = []

    class Runtime:
        engine_host_code_allowed = False

        def __init__(self, _: Any) -> None:
            pass

        def deserialize_cuda_engine(self, content: bytes) -> None:
            allowed.append(self.engine_host_code_allowed)

    options = EngineOptions(version_compatible=carries_code)
    assert engine_builder._as_built(b"", options, None, SimpleNamespace(Runtime=Runtime)) is None
    assert allowed == [carries_code]


def test_what_the_parser_refuses_is_known_before_any_conversion(graphs: dict[str, bytes]) -> None:
    builder = open_builder("rtx", EngineOptions())
    check_parsed(graphs["fp32"], builder)
    with pytest.raises(MerError, match="parser refuses"):
        check_parsed(b"nothing", builder)


def test_a_timing_cache_is_read_and_written_back(
    graphs: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT for RTX has the calls, though it measures nothing."""
    cache = tmp_path / "timings"
    options = EngineOptions((1, 1, 1), timing_cache=cache)
    builder = open_builder("rtx", EngineOptions())
    for _ in range(2):
        engine_from_onnx(graphs["fp16"], options, builder)
        assert cache.stat().st_size > 0
    with monkeypatch.context() as patch:
        patch.setattr(builder.trt.ITimingCache, "serialize", lambda self: None)
        with pytest.raises(MerError, match="timing cache cannot be serialized"):
            engine_from_onnx(graphs["fp16"], options, builder)
    assert cache.stat().st_size > 0
    nowhere = EngineOptions((1, 1, 1), timing_cache=tmp_path / "nowhere" / "timings")
    with pytest.raises(MerError, match="timings cannot be written"):
        engine_from_onnx(graphs["fp16"], nowhere, builder)


@pytest.mark.parametrize("how", ["none", "an error alone", "too large", "a pipe"])
def test_a_file_that_is_no_timing_cache_stays(
    graphs: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    cache = tmp_path / "timings"
    cache.write_bytes(b"something else")
    options = EngineOptions((1, 1, 1), timing_cache=cache)
    builder = open_builder("rtx", EngineOptions())
    logged: list[list[str]] = []
    create, logger = builder.trt.IBuilderConfig.create_timing_cache, engine_builder._logger

    def create_and_say(config: Any, content: bytes) -> Any:
        if how == "none":
            return None
        logged[-1].append("Serialization assertion magicTagRead == kMAGIC_TAG failed.")  # as TensorRT 8.6
        return create(config, b"")

    def keep(trt: Any) -> Any:
        made, errors = logger(trt)
        logged.append(errors)
        return made, errors

    if how == "too large":
        monkeypatch.setattr(engine_builder, "_LARGEST_TIMING_CACHE", 10)
    elif how == "a pipe":
        cache.unlink()
        os.mkfifo(cache)
    else:
        monkeypatch.setattr(builder.trt.IBuilderConfig, "create_timing_cache", create_and_say)
        monkeypatch.setattr(engine_builder, "_logger", keep)
    with pytest.raises(MerError, match="timings is no"):
        engine_from_onnx(graphs["fp16"], options, builder)
    assert how == "a pipe" or cache.read_bytes() == b"something else"


def test_no_engine_and_no_reason(graphs: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Kept):
        def build_serialized_network(self, *_: Any) -> None:
            pass

    original = engine_builder._new_builder
    monkeypatch.setattr(engine_builder, "_new_builder", lambda *given: Silent(original(*given)))
    with pytest.raises(MerError, match="rtx builds no engine: it gives no reason"):
        engine_from_onnx(graphs["fp16"], EngineOptions(), open_builder("rtx", EngineOptions()))


def test_a_family_that_this_version_does_not_compile_for_is_refused() -> None:
    """Else the engine would be for other cards than its sidecar says."""
    config: Any = Config()
    config.set_compute_capability = lambda capability, index: index == 0
    kinds = {kind: Names(kind) for kind in ("ProfilingVerbosity", "BuilderFlag", "ComputeCapability")}
    rtx = Builder("rtx", "tensorrt_rtx", SimpleNamespace(**kinds, __version__="9.9"))
    with pytest.raises(MerError, match=r"TensorRT for RTX 9\.9 does not compile for ampere"):
        engine_builder._configure(config, EngineOptions(gpu="ampere"), rtx, [])


def test_an_engine_is_known_by_the_whole_version_and_cuda_of_its_builder(
    graphs: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine compares both with what it has."""
    builder = open_builder("rtx", EngineOptions())
    builder = replace(builder, trt=SimpleNamespace(**{**vars(builder.trt), "__version__": "1.7.1.2"}))
    monkeypatch.setattr(engine_builder, "_cuda_of", lambda _: "13")
    facts = engine_from_onnx(graphs["fp16"], EngineOptions((1, 1, 1)), builder).facts
    assert (facts["builder_version"], facts["cuda"]) == ("1.7.1.2", "13")


def test_layers_are_not_told_where_tensorrt_does_not_start() -> None:
    """The engine is built by then; whoever opens it is told why it does not run."""

    def fail(_: Any) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    trt = SimpleNamespace(Runtime=fail)
    assert engine_builder._as_built(b"", EngineOptions(), None, trt) is None
