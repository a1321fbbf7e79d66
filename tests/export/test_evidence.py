"""The second output is taken off before a conversion, and comes back as it was."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from merkit.engine.artifact import open_artifact
from merkit.engine.spec import QUADRANTS, AudioSpec, EvidenceSpec, ModelSpec
from merkit.export import checks
from merkit.export.checks import GateError, check_evidence
from merkit.export.evidence import products_as_sums, without_evidence
from merkit.export.plain_graph import plain_from_onnx
from merkit.export.precision import fp16_from_onnx
from onnx import TensorProto, numpy_helper
from onnx_files import tiny_onnx

SPEC = ModelSpec("tiny", QUADRANTS, AudioSpec(window_samples=16_000, frames=32, n_mels=32))
EVIDENT = dataclasses.replace(SPEC, evidence=EvidenceSpec(0.0, (0.0, 1.0), 1.0, 0.3))
IMAGES = np.random.default_rng(0).normal(0, 1, (5, 1, 32, 32)).astype(np.float32)


def outputs(model: onnx.ModelProto, *names: str) -> list[np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_outputs()] == list(names)
    return [np.asarray(value) for value in session.run(list(names), {"images": IMAGES})]


def test_off_and_on_again() -> None:
    logits, evidence = outputs(tiny_onnx(EVIDENT), "logits", "evidence")
    alone, part = without_evidence(plain_from_onnx(tiny_onnx(EVIDENT)))
    assert part is not None
    # The mean over time is what both are computed from: each has its own.
    assert [node.op_type for node in part.nodes] == ["ReduceMean", "MatMul"]
    np.testing.assert_array_equal(outputs(alone, "logits")[0], logits)
    again = outputs(part.added_to(alone), "logits", "evidence")
    np.testing.assert_array_equal(again[0], logits)
    np.testing.assert_array_equal(again[1], evidence)


def test_it_stays_fp32_beside_fp16() -> None:
    whole = tiny_onnx(EVIDENT)
    alone, part = without_evidence(plain_from_onnx(whole))
    assert part is not None
    model = part.added_to(fp16_from_onnx(alone))
    logits, evidence = outputs(model, "logits", "evidence")
    np.testing.assert_array_equal(evidence, outputs(whole, "logits", "evidence")[1])
    assert 0 < np.abs(logits - outputs(whole, "logits", "evidence")[0]).max() < 0.01
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert types["evidence/evidence_weight"] == TensorProto.FLOAT
    check_evidence(whole.SerializeToString(), model.SerializeToString(), IMAGES)


@pytest.mark.parametrize("network", ["tiny", "squeezenet"])
def test_its_products_as_sums(network: str) -> None:
    """A bundled network's has products of every kind: with weights on either side, and with a bias."""
    whole = tiny_onnx(EVIDENT) if network == "tiny" else onnx.load_from_string(open_artifact(network).content)
    alone, part = without_evidence(plain_from_onnx(whole))
    assert part is not None
    alone = part.added_to(alone)
    content, others = (
        alone.SerializeToString(),
        [n.name for n in alone.graph.node if "evidence" not in n.name],
    )
    sums = products_as_sums(alone)
    onnx.checker.check_model(sums, full_check=True)
    left = {node.op_type for node in sums.graph.node if node.name.startswith("evidence/")}
    assert left.isdisjoint(("MatMul", "Gemm"))
    assert [node.name for node in sums.graph.node if "evidence" not in node.name] == others
    shape = [dim.dim_value for dim in sums.graph.input[0].type.tensor_type.shape.dim][1:]
    images = np.random.default_rng(0).normal(0, 1, (3, *shape)).astype(np.float32)
    check_evidence(content, sums.SerializeToString(), images)


def test_a_graph_without_it_stays_as_it_is() -> None:
    plain = plain_from_onnx(tiny_onnx(SPEC))
    before = plain.SerializeToString()
    assert without_evidence(plain)[1] is None
    assert plain.SerializeToString() == before


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_another_evidence_is_refused(factor: float) -> None:
    whole, broken = tiny_onnx(EVIDENT), tiny_onnx(EVIDENT)
    (weight,) = (tensor for tensor in broken.graph.initializer if tensor.name == "evidence_weight")
    weight.CopyFrom(numpy_helper.from_array(factor * numpy_helper.to_array(weight), weight.name))
    with pytest.raises(GateError, match="evidence is off by"):
        check_evidence(whole.SerializeToString(), broken.SerializeToString(), IMAGES)


@pytest.mark.parametrize("change", [-0.5, 0.5, np.nan])
def test_evidence_is_off_whichever_way(monkeypatch: pytest.MonkeyPatch, change: float) -> None:
    given = {b"source": np.ones((2, 2)), b"exported": np.asarray([[1 + change, 1], [1, 1]])}

    def opened(content: bytes) -> Any:
        return SimpleNamespace(run=lambda *_: [given[content]])

    monkeypatch.setattr(checks, "open_session", opened)
    check_evidence(b"source", b"source", IMAGES)
    with pytest.raises(GateError, match=f"evidence is off by {abs(change):.2g}"):
        check_evidence(b"source", b"exported", IMAGES)
