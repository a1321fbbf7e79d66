"""Precision lives in the graph: node by node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import MerError, UsageError
from merkit.engine.runtimes import open_runtime
from merkit.export.evidence import without_evidence
from merkit.export.onnx_session import open_session
from merkit.export.plain_graph import plain_from_onnx
from merkit.export.precision import (
    UnknownLayerError,
    fp16_from_onnx,
    int8_from_onnx,
    layers_to_quantize,
    precision_by_op,
    qdq_from_onnx,
    tensors_to_quantize,
)
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from placement import check_fp16, check_int8
from small_networks import AUDIO, Net, small_network


def ranges_of(model: ModelProto) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(tensors_to_quantize(model, layers_to_quantize(model)), (-4.0, 4.0))


@pytest.fixture(scope="module")
def bundled() -> ModelProto:
    """As the export converts it: with its weights in FP32 again, and without the evidence."""
    plain = plain_from_onnx(onnx.load_from_string(open_artifact("mobilenetv3").content))
    return without_evidence(plain)[0]


def test_fp16_of_the_small_and_the_bundled_network(bundled: ModelProto) -> None:
    for model in (small_network(), bundled):
        before = model.SerializeToString()
        converted = fp16_from_onnx(model)
        check_fp16(converted)
        assert model.SerializeToString() == before
        assert {node.name for node in model.graph.node} <= {node.name for node in converted.graph.node}
        assert [(prop.key, prop.value) for prop in converted.metadata_props] == [
            (prop.key, prop.value) for prop in model.metadata_props
        ]


def test_a_layer_can_be_kept_in_fp32() -> None:
    converted = fp16_from_onnx(small_network(), ["res_1"])
    assert precision_by_op(converted)["Conv"] == {"fp16": 8, "fp32": 1}
    with pytest.raises(AssertionError, match="res_1"):
        check_fp16(converted)


def test_a_kept_layer_may_read_a_weight_twice() -> None:
    """As a batch normalisation of ones and zeros does, of which exporters write one tensor each."""
    model = small_network()
    (stem,) = [node for node in model.graph.node if node.name == "stem"]
    channels = next(t.dims[0] for t in model.graph.initializer if t.name == stem.input[1])
    tensors = {"one": np.ones(channels, np.float32), "zero": np.zeros(channels, np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in tensors.items())
    inputs = ["before", "one", "zero", "zero", "one"]
    place = list(model.graph.node).index(stem) + 1
    norm = helper.make_node("BatchNormalization", inputs, [stem.output[0]], "norm", epsilon=0.0)
    model.graph.node.insert(place, norm)
    stem.output[0] = "before"
    model = onnx.shape_inference.infer_shapes(model)
    converted = fp16_from_onnx(model, ["norm"])
    assert precision_by_op(converted)["BatchNormalization"] == {"fp32": 1}
    np.testing.assert_allclose(logits_of(converted), logits_of(model), atol=0.2)


def logits_of(model: ModelProto) -> np.ndarray:
    log_mels = np.random.default_rng(0).normal(size=(2, 1, AUDIO.n_mels, AUDIO.frames)).astype(np.float32)
    return np.asarray(open_session(model.SerializeToString()).run(["logits"], {"images": log_mels})[0])


def test_a_weight_that_a_kept_layer_shares_serves_both_precisions() -> None:
    model = small_network()
    (second,) = [node for node in model.graph.node if node.name == "res_2"]
    (expand,) = [node for node in model.graph.node if node.name == "se_expand"]
    expand.input[2] = second.input[2]  # 16 biases of both
    for kept in ("res_2", "se_expand"):
        converted = fp16_from_onnx(model, [kept])
        assert precision_by_op(converted)["Conv"] == {"fp16": 8, "fp32": 1}
        np.testing.assert_allclose(logits_of(converted), logits_of(model), atol=0.05)


def test_a_cast_in_the_graph_keeps_its_meaning() -> None:
    model = small_network()
    (relu,) = [node for node in model.graph.node if node.name == "res_relu"]
    cast = helper.make_node("Cast", ["res_1_out"], ["cast_out"], name="cast", to=TensorProto.FLOAT)
    model.graph.node.insert(list(model.graph.node).index(relu), cast)
    relu.input[0] = "cast_out"
    model = onnx.shape_inference.infer_shapes(model)
    for converted in (fp16_from_onnx(model), int8_from_onnx(model, ranges_of(model))):
        assert logits_of(converted).dtype == np.float32
    np.testing.assert_allclose(logits_of(fp16_from_onnx(model)), logits_of(model), atol=0.05)


def test_a_layer_whose_weights_are_computed_is_not_quantized() -> None:
    model = small_network()
    (layer,) = [node for node in model.graph.node if node.name == "res_1"]
    scale = numpy_helper.from_array(np.asarray(0.5, np.float32), "scale")
    model.graph.initializer.append(scale)
    model.graph.node.insert(0, helper.make_node("Mul", [layer.input[1], "scale"], ["scaled"], name="scaling"))
    layer.input[1] = "scaled"
    model = onnx.shape_inference.infer_shapes(model)
    assert "res_1" not in layers_to_quantize(model)
    assert precision_by_op(int8_from_onnx(model, ranges_of(model)))["Conv"] == {"int8": 5, "fp16": 4}


def test_what_a_converter_says_is_one_line_that_names_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("\n no such\ttype \nsecond line")

    monkeypatch.setattr("onnxconverter_common.float16.convert_float_to_float16", fails)
    with pytest.raises(
        MerError, match=r"^the conversion to FP16 failed: ValueError: no such type second line$"
    ):
        fp16_from_onnx(small_network())


def test_the_output_is_fp32_also_behind_a_node_kept_in_fp32() -> None:
    model = small_network()
    last = next(node for node in model.graph.node if model.graph.output[0].name in node.output)
    converted = fp16_from_onnx(model, [last.name])
    assert converted.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    log_mels = np.random.default_rng(0).normal(size=(2, 1, AUDIO.n_mels, AUDIO.frames)).astype(np.float32)
    exact, half = (
        np.asarray(onnxruntime.InferenceSession(graph.SerializeToString()).run(None, {"images": log_mels})[0])
        for graph in (model, converted)
    )
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, exact, atol=0.05)


def test_weights_beyond_fp16_are_left_in_fp32() -> None:
    model = small_network()
    for tensor in model.graph.initializer:
        if tensor.name == "res_1.weight":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1e6, tensor.name))
    assert precision_by_op(fp16_from_onnx(model))["Conv"] == {"fp16": 8, "fp32": 1}


def test_layers_with_weights_too_small_for_fp16_are_left_in_fp32() -> None:
    """What makes up for them is beyond FP16 itself, and the layer must not be rounded to zero between."""
    model = small_network()
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for tensor in model.graph.initializer:
        if tensor.name in ("head.weight", "head.bias"):
            tensor.CopyFrom(numpy_helper.from_array(arrays[tensor.name] * np.float32(1e-8), tensor.name))
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(1e8, np.float32), "times"))
    model.graph.node[-1].output[0] = "small"
    model.graph.node.append(helper.make_node("Mul", ["small", "times"], ["logits"], name="larger"))
    model = onnx.shape_inference.infer_shapes(model)
    converted = fp16_from_onnx(model)
    assert precision_by_op(converted)["Gemm"] == {"fp32": 1}
    np.testing.assert_allclose(logits_of(converted), logits_of(model), atol=0.05)
    assert "head" not in layers_to_quantize(model)


def test_only_layers_stay_fp32_for_small_weights() -> None:
    """A bias near zero is none of them, nor what keeps a division from one by zero: FP16 makes it larger."""
    model = small_network()
    for tensor in model.graph.initializer:
        if tensor.name in ("res_1.bias", "res_2.weight"):
            array = np.zeros(tensor.dims, np.float32) + (1e-8 if tensor.name == "res_1.bias" else 0)
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), tensor.name))
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(1e-12, np.float32), "epsilon"))
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node("Add", ["before", "epsilon"], ["logits"], name="above"))
    table = precision_by_op(fp16_from_onnx(onnx.shape_inference.infer_shapes(model)))
    assert table["Conv"] == {"fp16": 9}
    assert table["Add"] == {"fp16": 3}


def test_a_name_that_is_not_there_is_wrong_usage() -> None:
    model = small_network()
    with pytest.raises(UnknownLayerError, match="nowhere"):
        fp16_from_onnx(model, ["nowhere"])
    with pytest.raises(UnknownLayerError, match="nowhere") as refused:
        int8_from_onnx(model, ranges_of(model), ["nowhere"])
    assert refused.value.exit_code == 2


def test_int8_placement_node_by_node(bundled: ModelProto) -> None:
    small = small_network()
    assert layers_to_quantize(small) == ["stem", "expand", "project", "res_1", "res_2", "res_down", "head"]
    assert check_int8(int8_from_onnx(small, ranges_of(small)), small) == 7
    # MobileNetV3-Small: 52 convolutions, 11 depthwise, 18 squeeze-excite; 2 Gemm
    assert check_int8(int8_from_onnx(bundled, ranges_of(bundled)), bundled) == 52 - 11 - 18 + 2


def test_int8_is_symmetric_and_uses_all_of_its_range() -> None:
    """TensorRT takes no zero point but 0, also for what is never negative. 127 steps each way, not 64."""
    small = small_network()
    ranges = dict.fromkeys(tensors_to_quantize(small, layers_to_quantize(small)), (0.0, 6.0))
    converted = qdq_from_onnx(small, ranges)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in converted.graph.initializer}
    kinds = ("QuantizeLinear", "DequantizeLinear")
    zero_points = {node.input[2] for node in converted.graph.node if node.op_type in kinds}
    assert len(zero_points) > len(ranges)
    assert not any(arrays[name].any() for name in zero_points)
    weights = [array for array in arrays.values() if array.dtype == np.int8 and array.ndim > 1]
    assert len(weights) == 7
    assert {int(np.abs(array.astype(int)).max()) for array in weights} == {127}


def test_the_projected_shortcut_is_quantized_not_the_main_branch() -> None:
    small = small_network()
    tensors = tensors_to_quantize(small, layers_to_quantize(small))
    assert "res_down_out" in tensors
    assert "res_2_out" not in tensors
    assert "project_out" not in tensors


def test_the_placement_check_can_fail() -> None:
    small = small_network()
    bad = qdq_from_onnx(small, ranges_of(small), keep=["res_1"])
    with pytest.raises(AssertionError, match="res_1: its"):
        check_int8(fp16_from_onnx(bad), small)
    with pytest.raises(AssertionError, match="its bias is FP32"):
        check_int8(qdq_from_onnx(small, ranges_of(small)), small)
    shared = int8_from_onnx(small, ranges_of(small))
    (project,) = [node for node in shared.graph.node if node.name == "project"]
    (depth,) = [node for node in shared.graph.node if node.name == "depth"]
    depth.input[0] = project.input[0]
    with pytest.raises(AssertionError, match="depth is depthwise"):
        check_int8(shared, small)


def test_kept_layers_are_fp16_or_fp32() -> None:
    small = small_network()
    converted = int8_from_onnx(small, ranges_of(small), ["res_1", "head"], ["res_2"])
    assert precision_by_op(converted)["Conv"] == {"int8": 4, "fp16": 4, "fp32": 1}
    assert precision_by_op(converted)["Gemm"] == {"fp16": 1}


def test_int8_by_name_only_is_refused() -> None:
    small = small_network()
    with pytest.raises(UsageError, match="no layer is left"):
        int8_from_onnx(small, ranges_of(small), layers_to_quantize(small))
    with pytest.raises(UsageError, match="no layer is left"):
        int8_from_onnx(small, {}, keep_fp32=layers_to_quantize(small))


@pytest.mark.parametrize("bad", [None, (float("nan"), 1.0), (-1.0, float("inf"))])
def test_a_range_that_is_missing_or_not_finite_is_refused(bad: tuple[float, float] | None) -> None:
    small = small_network()
    ranges = ranges_of(small)
    if bad is None:
        del ranges["res_down_out"]
    else:
        ranges["res_down_out"] = bad
    with pytest.raises(MerError, match="res_down_out"):
        int8_from_onnx(small, ranges)


def test_the_runtime_computes_the_int8_graph_as_it_is_written(tmp_path: Path) -> None:
    """ONNX Runtime's bias quantization ruins FP16 QDQ graphs unless it is turned off."""
    small = small_network(seed=3)
    converted = int8_from_onnx(small, ranges_of(small)).SerializeToString()
    log_mels = np.random.default_rng(0).standard_normal((2, 1, AUDIO.n_mels, AUDIO.frames)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession(converted, options, providers=["CPUExecutionProvider"])
    path = tmp_path / "small_int8.onnx"
    path.write_bytes(converted)
    with open_runtime(open_artifact(str(path))) as runtime:
        logits = runtime.infer(log_mels)
    expected = np.asarray(plain.run(["logits"], {"images": log_mels})[0])
    assert np.abs(logits - expected).max() < 0.02 * np.abs(expected).max()


def test_nothing_uses_what_tensorrt_11_removed() -> None:
    folder = Path(__file__).parents[2] / "export"
    assert len(list(folder.glob("*.py"))) > 5
    removed = ("BuilderFlag.FP16", "BuilderFlag.INT8", "IInt8", "int8_calibrator", "set_dynamic_range",
               "max_workspace_size", "build_engine(", "EXPLICIT_BATCH", "platform_has_fast")  # fmt: skip
    for path in folder.glob("*.py"):
        text = path.read_text()
        assert not [name for name in removed if name in text], path


def test_precision_is_read_from_the_graph() -> None:
    model = helper.make_model(small_network().graph, opset_imports=[helper.make_opsetid("", 20)])
    assert precision_by_op(model)["Conv"] == {"fp32": 9}
    assert set(precision_by_op(model)["Gemm"]) == {"fp32"}


def operators_before(name: str, producers: dict[str, NodeProto]) -> list[str]:
    """The operators on the way from the input to a tensor."""
    made = producers.get(name)
    return [] if made is None else [made.op_type, *operators_before(made.input[0], producers)]


def branched_network(joined: str) -> ModelProto:
    """A convolution and a Gemm beside statistics of the log-mels and another Gemm, whose logits are added."""
    net = Net(0)
    features = net.op("Relu", "relu", net.conv("conv", "images", 1, 8, 3))
    axes = net.constant("axes", np.array([2, 3]))
    pooled = net.op("ReduceMean", "pool", features, axes, keepdims=0)
    first = net.op("Gemm", "head", pooled, net.weight("head.weight", 4, 8), transB=1)
    statistics = net.op(joined, "statistics", "images", net.constant("time", np.array([3])), keepdims=0)
    flat = net.op("Flatten", "flat", statistics)
    second = net.op("Gemm", "other", flat, net.weight("other.weight", 4, AUDIO.n_mels), transB=1)
    net.nodes.append(helper.make_node("Add", [first, second], ["logits"], name="sum"))
    shape = ["batch", 1, AUDIO.n_mels, AUDIO.frames]
    graph = helper.make_graph(
        net.nodes,
        "branched",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        net.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def test_the_sum_of_two_gemms_is_no_residual() -> None:
    model = branched_network("ReduceMean")
    assert tensors_to_quantize(model, layers_to_quantize(model)) == ["images", "pool_out", "flat_out"]


@pytest.mark.parametrize("joined", ["ReduceMean", "ReduceMax"])
def test_statistics_of_the_log_mels_are_taken_before_they_are_quantized(joined: str) -> None:
    model = branched_network(joined)
    ranges = dict.fromkeys(
        tensors_to_quantize(model, layers_to_quantize(model)), (-0.5, 0.5)
    )  # most is clipped
    for converted in (qdq_from_onnx(model, ranges), int8_from_onnx(model, ranges)):
        nodes = {node.name: node for node in converted.graph.node}
        producers = {name: node for node in converted.graph.node for name in node.output}
        assert "QuantizeLinear" not in operators_before(nodes["statistics"].input[0], producers)
        assert "DequantizeLinear" in operators_before(nodes["conv"].input[0], producers)
