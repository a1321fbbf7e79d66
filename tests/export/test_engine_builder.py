"""Real engines, compiled by TensorRT for RTX without a GPU; what a builder cannot do is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import MerError, UsageError
from merkit.export import engine_builder as tensorrt
from merkit.export.engine_builder import GPUS, EngineOptions, NoBuilderError, engine_from_onnx, open_builder
from merkit.export.precision import fp16_from_onnx, int8_from_onnx, layers_to_quantize, tensors_to_quantize
from onnx import load_from_string
from small_networks import AUDIO, small_network

pytest.importorskip("tensorrt_rtx")


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "gpu_capability", lambda: None)


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    model = small_network()
    ranges = dict.fromkeys(tensors_to_quantize(model, layers_to_quantize(model)), (-4.0, 4.0))
    made = {"fp32": model, "fp16": fp16_from_onnx(model), "int8": int8_from_onnx(model, ranges)}
    return {name: graph.SerializeToString() for name, graph in made.items()}


@pytest.mark.parametrize("gpu", [None, "ampere", "ada", "blackwell"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_engines_are_compiled_with_the_graphs_precision(
    graphs: dict[str, bytes], precision: str, gpu: str | None
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
    sizes = [len(engine_from_onnx(each, EngineOptions(), builder).content) for each in (content, half)]
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


def test_options_reach_the_builder(graphs: dict[str, bytes]) -> None:
    options = EngineOptions(optimization_level=1, workspace_mb=512)
    facts = engine_from_onnx(graphs["fp16"], options, open_builder("rtx", options)).facts
    assert facts["options"]["optimization_level"] == 1
    assert facts["options"]["workspace_mb"] == 512


@pytest.mark.parametrize("batches", [(2, 1, 4), (1, 5, 4), (0, 1, 4), (4, 4, 3)])
def test_batches_must_rise(batches: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="min <= opt <= max"):
        EngineOptions(batches)


@pytest.mark.parametrize(
    ("option", "value"),
    [("timing_cache", Path("cache")), ("hardware_compatible", True), ("version_compatible", True)],
)
def test_what_rtx_does_not_support_is_refused(option: str, value: Any) -> None:
    for name in ("rtx", "auto"):
        with pytest.raises(UsageError, match=option.replace("_", "-")):
            open_builder(name, EngineOptions(**{option: value}))  # pyright: ignore[reportArgumentType]


def test_full_tensorrt_needs_its_package_its_version_and_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorrt_rtx

    def installed(version: str, gpu: str | None) -> None:
        full = SimpleNamespace(**{**vars(tensorrt_rtx), "__version__": version})
        monkeypatch.setattr(
            tensorrt, "import_module", lambda name: full if name == "tensorrt" else tensorrt_rtx
        )
        monkeypatch.setattr(tensorrt, "_installed", lambda name: True)
        monkeypatch.setattr(tensorrt, "gpu_capability", lambda: gpu)

    with pytest.raises(NoBuilderError, match=r"merkit\[gpu\]"):
        open_builder("tensorrt", EngineOptions())
    installed("10.7.0", "8.9")
    with pytest.raises(NoBuilderError, match=r"10\.8"):
        open_builder("tensorrt", EngineOptions())
    installed("11.0.0", None)
    with pytest.raises(NoBuilderError, match="none is here"):
        open_builder("tensorrt", EngineOptions())
    assert open_builder("auto", EngineOptions()).name == "rtx"
    installed("11.0.0", "8.9")
    assert open_builder("auto", EngineOptions()).name == "tensorrt"
    assert open_builder("auto", EngineOptions(gpu="ada")).name == "rtx"
    with pytest.raises(UsageError, match="--gpu"):
        open_builder("tensorrt", EngineOptions(gpu="ada"))


def test_every_family_is_known_to_the_builder() -> None:
    known = open_builder("rtx", EngineOptions()).trt.ComputeCapability
    assert all(hasattr(known, name) for names in GPUS.values() for name in names)
