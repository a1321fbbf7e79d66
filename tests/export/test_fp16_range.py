"""Overflow is caught although a CPU hides it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from merkit.export import fp16_range as ranges
from merkit.export.checks import GateError
from merkit.export.fp16_range import Fp16Range, check_range, fp16_range, layers_to_keep
from merkit.export.onnx_session import open_session
from merkit.export.precision import fp16_from_onnx
from merkit.export.song_log_mels import generated_log_mels
from onnx import helper, numpy_helper
from small_networks import AUDIO, small_network


def test_an_overflow_that_the_cpu_hides_is_caught() -> None:
    log_mels = generated_log_mels(AUDIO, 4).log_mels
    model = fp16_from_onnx(small_network(gain=3e3))
    (logits,) = open_session(model.SerializeToString()).run(["logits"], {"images": log_mels})
    assert np.isfinite(np.asarray(logits)).all()  # this is why the range must be read
    measured = fp16_range(model, log_mels)
    assert "stem" in measured.over
    with pytest.raises(GateError, match=r"overflows at .* FP32") as refused:
        check_range(measured)
    assert refused.value.exit_code == 3
    assert "stem" in refused.value.layers
    assert refused.value.precision == "fp32"


def test_a_range_within_fp16_passes_and_half_of_it_warns() -> None:
    log_mels = generated_log_mels(AUDIO, 4).log_mels
    measured = fp16_range(fp16_from_onnx(small_network()), log_mels)
    check_range(measured)
    assert not measured.near
    assert {"stem", "res_1", "pool"} <= {
        name.split("_input")[0].split("_output")[0] for name, _ in measured.peaks
    }
    # Every FP16 node's peak is what the FP32 graph gives, but for rounding.
    model = small_network()
    model.graph.output.extend([value for value in model.graph.value_info if value.name == "res_1_out"])
    (expected,) = open_session(model.SerializeToString()).run(["res_1_out"], {"images": log_mels})
    assert dict(measured.peaks)["res_1"] == pytest.approx(float(np.abs(np.asarray(expected)).max()), rel=0.01)
    near = Fp16Range((("a", 40_000.0), ("b", 1.0)), 1)
    check_range(near)
    assert near.near == ["a"]
    assert Fp16Range((("a", float("inf")), ("b", 65_505.0), ("c", 65_504.0)), 1).over == ["a", "b"]


def test_only_layers_of_the_source_are_to_be_kept() -> None:
    """Where a Cast of the conversion overflows, the layer that reads from it is to be kept."""
    source = small_network()
    model = fp16_from_onnx(source)
    layers = [node.name for node in source.graph.node]
    (cast,) = (node for node in model.graph.node if node.name == "pool_output_cast0")
    readers = [node.name for node in model.graph.node if cast.output[0] in node.input]
    assert readers
    assert set(readers) <= set(layers)
    assert layers_to_keep(["stem", cast.name, "nowhere"], source, model) == ["stem", *readers]
    measured = Fp16Range(((cast.name, float("inf")),), 1)
    with pytest.raises(GateError, match="overflows at pool_output_cast0") as refused:
        check_range(measured, lambda nodes: layers_to_keep(nodes, source, model))
    assert refused.value.layers == tuple(readers)
    kept = fp16_range(fp16_from_onnx(source, readers), generated_log_mels(AUDIO, 4).log_mels)
    assert cast.name not in dict(kept.peaks)


@pytest.mark.parametrize(("fill", "over"), [(-np.inf, False), (np.inf, False), (-1e30, True)])
def test_infinities_of_the_fp32_graph_are_no_overflow(fill: float, over: bool) -> None:
    """As masks of attention have them, here in the layers of FP32 and of FP16; those of finite values are."""
    source = small_network()
    (head,) = [node for node in source.graph.node if node.name == "head"]
    source.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(0.1, np.float32), "least"),
            numpy_helper.from_array(np.array(fill, np.float32), "fill"),
            numpy_helper.from_array(np.array(1, np.float32), "one"),
        ]
    )
    mask = [
        helper.make_node("Less", ["pool_out", "least"], ["few"], name="less"),
        helper.make_node("Where", ["few", "fill", "pool_out"], ["masked"], name="mask"),
        helper.make_node("Mul", ["masked", "one"], ["scaled"], name="scale"),
        helper.make_node("Softmax", ["scaled"], ["shares"], name="shares"),
    ]
    if fill > 0:
        mask[-1] = helper.make_node("Reciprocal", ["scaled"], ["shares"], name="shares")
    head.input[0] = "shares"
    nodes = [*list(source.graph.node)[:-1], *mask, head]
    del source.graph.node[:]
    source.graph.node.extend(nodes)
    source = onnx.shape_inference.infer_shapes(source)
    log_mels = generated_log_mels(AUDIO, 4).log_mels
    model = fp16_from_onnx(source)
    blind, measured = (fp16_range(model, log_mels, *more) for more in ((), (lambda: source,)))
    assert {"mask_output_cast0", "scale"} <= set(blind.over)
    assert bool(measured.over) == over
    assert dict(measured.peaks)["res_1"] == dict(blind.peaks)["res_1"]
    assert over or dict(measured.peaks)["scale"] > 0  # what is not masked counts


@pytest.mark.parametrize(
    ("windows", "peak"),
    [
        ([1, -7, 3], 7.0),  # the size counts, and every window
        ([1, np.inf, 3], np.inf),
        ([-np.inf, 2, 3], np.inf),
        ([1, np.nan, 3], np.inf),
    ],
)
def test_a_peak_is_of_all_windows(monkeypatch: pytest.MonkeyPatch, windows: list[float], peak: float) -> None:
    session: Any = SimpleNamespace(
        get_outputs=lambda: [
            SimpleNamespace(name="half", type="tensor(float16)"),
            SimpleNamespace(name="single", type="tensor(float)"),
        ],
        run=lambda names, feed: [feed["images"]] * len(names),
    )
    model: Any = SimpleNamespace(SerializeToString=bytes)
    monkeypatch.setattr(ranges, "_with_all_outputs", lambda _: (model, {"half": "conv"}))
    monkeypatch.setattr(ranges, "open_session", lambda _: session)
    log_mels = np.asarray(windows, np.float32).reshape(-1, 1, 1, 1)
    assert fp16_range(model, log_mels) == Fp16Range((("conv", peak),), 3)
