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
from merkit.export.builders import EngineOptions, open_builder
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
