"""Networks that parse and are wrong: sizes, operators, wiring and specs that a stranger may have written."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from merkit.engine.artifact import SPEC_KEY
from onnx import ModelProto, TensorProto, helper, numpy_helper

_EDGES = (0, -1, 1, 2, 7, 65_536, 2**31 - 1, 2**31, 2**40, 2**62, -(2**63))
# Operators that make much of little, that run for ever, or that other operators can be taken for.
_OPERATORS = (
    "ConstantOfShape", "Expand", "Tile", "Range", "Resize", "Pad", "Gather", "Reshape", "Transpose", "MatMul",
    "Conv", "Relu", "NonZero", "TopK", "CumSum", "OneHot", "Einsum", "DepthToSpace", "Nonsense",
)  # fmt: skip


def mutated_model(content: bytes, rng: random.Random) -> bytes:
    """A network after one to three changes of its graph or of its spec."""
    model = onnx.load_from_string(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(_CHANGES)(model, rng)
    return model.SerializeToString()


def _edge(rng: random.Random) -> int:
    return rng.choice(_EDGES)


def _change_operator(model: ModelProto, rng: random.Random) -> None:
    rng.choice(model.graph.node).op_type = rng.choice(_OPERATORS)


def _change_attribute(model: ModelProto, rng: random.Random) -> None:
    attributes = [a for node in model.graph.node for a in node.attribute]
    if not attributes:
        return
    attribute = rng.choice(attributes)
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = _edge(rng)
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = _edge(rng)
    else:
        attribute.name = "nonsense"


def _change_wiring(model: ModelProto, rng: random.Random) -> None:
    node = rng.choice(model.graph.node)
    if node.input:
        other = rng.choice(model.graph.node)
        node.input[rng.randrange(len(node.input))] = rng.choice(
            (*other.output, *other.input, "images", "", "x")
        )


def _change_weights(model: ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    array = numpy_helper.to_array(tensor)
    change = rng.randrange(5)
    if change == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = _edge(rng)
    elif change == 1:
        tensor.raw_data = tensor.raw_data[: rng.randrange(1 + len(tensor.raw_data))]
    elif change == 2:
        tensor.data_type = rng.choice((*range(24), 99))
    elif change == 3 and array.dtype == np.int64:
        tensor.CopyFrom(numpy_helper.from_array(np.full_like(array, _edge(rng)), tensor.name))
    elif array.dtype == np.float32:
        filled = np.full_like(array, rng.choice((np.nan, np.inf, 3e38, 0)))
        tensor.CopyFrom(numpy_helper.from_array(filled, tensor.name))


def _external_data(model: ModelProto, rng: random.Random) -> None:
    """Weights that lie in a file of the victim's, somewhere in the model."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=rng.choice(("/etc/passwd", "../song.wav")))
    place = rng.randrange(3)
    if place == 0:
        model.graph.initializer.append(tensor)
    elif place == 1:
        model.graph.node.append(helper.make_node("Constant", [], ["w"], value=tensor))
    else:
        branch = helper.make_graph([helper.make_node("Constant", [], ["w"], value=tensor)], "b", [], [])
        node = helper.make_node("If", ["images"], ["unused"], then_branch=branch, else_branch=branch)
        model.graph.node.append(node)


def _change_shape(model: ModelProto, rng: random.Random) -> None:
    value = rng.choice((*model.graph.input, *model.graph.output))
    dims = value.type.tensor_type.shape.dim
    if dims:
        dims[rng.randrange(len(dims))].dim_value = _edge(rng)


def _change_header(model: ModelProto, rng: random.Random) -> None:
    if rng.random() < 0.5:
        model.ir_version = rng.choice((0, 1, 3, 99, 2**31))
    elif model.opset_import:
        model.opset_import[0].version = rng.choice((0, 1, 7, 99, 2**40))


def _change_spec(model: ModelProto, rng: random.Random) -> None:
    prop = next(prop for prop in model.metadata_props if prop.key == SPEC_KEY)
    spec = json.loads(prop.value)
    part: dict[str, Any] = (
        spec["audio"] if rng.random() < 0.7 and isinstance(spec.get("audio"), dict) else spec
    )
    name = rng.choice(list(part))
    part[name] = rng.choice(
        (
            None,
            -1,
            0,
            1,
            10**9,
            10**18,
            1e308,
            float("nan"),
            "x",
            "\x1b[2J",
            "\ud800",
            [],
            ["a", "a"],
            {},
            True,
        )
    )
    prop.value = json.dumps(spec)
    if rng.random() < 0.1:
        prop.value = rng.choice(("", "[" * 50_000, '{"a":' * 50_000, "9" * 5_000, "null", prop.value[:-5]))


_CHANGES: tuple[Callable[[ModelProto, random.Random], None], ...] = (
    _change_operator, _change_attribute, _change_wiring, _change_weights, _change_weights, _external_data,
    _change_shape, _change_header, _change_spec, _change_spec,
)  # fmt: skip
