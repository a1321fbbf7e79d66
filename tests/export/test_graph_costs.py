import onnx
import pytest
from merkit.engine.artifact import known_models, open_artifact
from merkit.export.evidence import without_evidence
from merkit.export.graph_costs import workload_from_onnx
from merkit.export.precision import fp16_from_onnx, layers_to_quantize, qdq_from_onnx, tensors_to_quantize
from onnx import TensorProto, helper, numpy_helper
from small_networks import Net, small_network


def test_a_convolution_and_what_is_fused_to_it() -> None:
    net = Net(0)
    left = net.op("Relu", "left", net.conv("conv", "images", 1, 8, 3, 2))
    right = net.conv("pointwise", left, 8, 8)
    net.nodes.append(helper.make_node("Add", [left, right], ["logits"], name="add"))
    graph = helper.make_graph(
        net.nodes,
        "block",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, 16, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 8, 8, 16])],
        net.weights,
    )
    workload = workload_from_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))
    out = 8 * 8 * 16
    assert workload.params == 8 * 9 + 8 + 8 * 8 + 8
    assert workload.macs == out * 9 + out * 8
    assert workload.weight_bytes == 4 * workload.params
    by_name = {layer.name: layer.activation_bytes for layer in workload.layers}
    assert by_name == {"conv": 4 * (16 * 32 + out), "left": 0, "pointwise": 8 * out, "add": 4 * out}


def test_precision_weighs_less_and_costs_the_same_arithmetic() -> None:
    model = small_network()
    layers = layers_to_quantize(model)
    ranges = dict.fromkeys(tensors_to_quantize(model, layers), (-3.0, 3.0))
    full, half = workload_from_onnx(model), workload_from_onnx(fp16_from_onnx(model))
    int8 = workload_from_onnx(qdq_from_onnx(model, ranges))
    assert full.macs == half.macs == int8.macs
    assert full.params == half.params == int8.params
    assert full.weight_bytes == 2 * half.weight_bytes
    assert int8.weight_bytes < full.weight_bytes
    assert int8.activation_bytes < full.activation_bytes


def test_big_weights_values_are_not_needed() -> None:
    model = small_network()
    before = workload_from_onnx(model)
    axes = {name for node in model.graph.node for name in node.input if name == "axes"}
    assert axes
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(0 * numpy_helper.to_array(tensor), tensor.name))
    assert workload_from_onnx(model) == before


def test_as_many_flops_as_torch_counts() -> None:
    torch = pytest.importorskip("torch")
    from merkit.training.networks.backbones import build_backbone
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    network = build_backbone("mobilenetv3", 4).eval()
    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        network(torch.zeros(1, 1, 128, open_artifact("mobilenetv3").spec.audio.frames))
    alone, _ = without_evidence(onnx.load(known_models()["mobilenetv3"]))
    workload = workload_from_onnx(alone)
    assert 2 * workload.macs == counted.get_total_flops()
    folded = sum(
        2 * module.num_features  # a scale and a mean; the convolution's bias takes the rest
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
    )
    weights = sum(parameter.numel() for parameter in network.parameters())
    assert weights - folded <= workload.params <= weights
