"""What is known of an engine: precision layer by layer, as it was built, and by which options."""

from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any

import pytest
from merkit.export import engine_builder
from merkit.export.builders import EngineOptions, open_builder
from merkit.export.engine_builder import engine_from_onnx, precision_of_network
from merkit.export.precision import fp16_from_onnx
from small_networks import small_network

Types = enum.Enum("Types", "FLOAT HALF INT8 BOOL")
Layers = enum.Enum("Layers", "DEQUANTIZE MATRIX_MULTIPLY CONVOLUTION CONSTANT")
TRT = SimpleNamespace(DataType=Types, LayerType=Layers)


def layer(kind: Layers, output: tuple[str, Types], *inputs: tuple[str, Types]) -> Any:
    tensors = [SimpleNamespace(name=name, dtype=dtype) for name, dtype in (output, *inputs)]
    return SimpleNamespace(
        type=kind, num_inputs=len(inputs), get_output=lambda _: tensors[0], get_input=lambda i: tensors[i + 1]
    )


@pytest.mark.parametrize(("weights", "precision"), [("dq_2", "int8"), ("halves", "fp16")])
def test_a_product_is_int8_if_both_factors_are(weights: str, precision: str) -> None:
    layers = [
        layer(Layers.CONSTANT, ("halves", Types.HALF)),
        layer(Layers.DEQUANTIZE, ("dq_1", Types.HALF), ("q_1", Types.INT8)),
        layer(Layers.DEQUANTIZE, ("dq_2", Types.HALF), ("q_2", Types.INT8)),
        layer(Layers.MATRIX_MULTIPLY, ("out", Types.HALF), ("dq_1", Types.HALF), (weights, Types.HALF)),
    ]
    network = SimpleNamespace(num_layers=len(layers), get_layer=layers.__getitem__)
    table = precision_of_network(network, TRT)
    assert table == {"dequantize": {"fp16": 2}, "matrix_multiply": {precision: 1}}


@pytest.mark.parametrize("capability", [None, "8.9"])
def test_layers_as_built_are_asked_for_where_a_gpu_is(
    monkeypatch: pytest.MonkeyPatch, capability: str | None
) -> None:
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr(engine_builder, "gpu_capability", lambda: capability)
    monkeypatch.setattr(engine_builder, "_as_built", lambda *_: "layers")
    content = fp16_from_onnx(small_network()).SerializeToString()
    options = EngineOptions((1, 1, 1), optimization_level=0)  # a level too
    facts = engine_from_onnx(content, options, open_builder("rtx", options)).facts
    assert facts["precision_built"] == ("layers" if capability else None)
    assert facts["options"]["optimization_level"] == 0
