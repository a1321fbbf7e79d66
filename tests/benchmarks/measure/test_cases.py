from pathlib import Path

import onnx
import pytest
from merkit.benchmarks.measure.cases import find_cases, fp32_of, precision_of
from merkit.engine.errors import UsageError
from merkit.export.precision import fp16_from_onnx
from merkit.export.source import EXPORT_KEY
from small_networks import small_network


def test_a_row_for_every_runtime_and_precision(networks: Path) -> None:
    (networks / "small_fp16.onnx").write_bytes(fp16_from_onnx(small_network()).SerializeToString())
    cases = find_cases([networks], untrained=False, quick=True)
    kinds = {(case.model, case.source, case.runtime, case.precision): case.reason for case in cases}
    for bundled in ("audiocnn", "mobilenetv3", "squeezenet"):
        assert kinds[bundled, "bundled", "onnxruntime", "fp32"] is None
        assert (bundled, "bundled", "openvino", "bf16") in kinds
        assert (bundled, "bundled", "torch", "fp32") in kinds
    assert ("small_fp16", "folder", "onnxruntime", "fp16") in kinds
    assert ("small_fp16", "folder", "torch", "fp16") not in kinds  # a peer is the FP32 network
    assert "no backbone small" in str(kinds["small", "folder", "torch", "fp32"])
    assert "--quick" in str(kinds["mobilenetv3", "bundled", "torch.compile", "fp32"])
    assert not any(runtime == "tensorrt" for _, _, runtime, _ in kinds)  # no .engine there
    assert precision_of((networks / "small_fp16.onnx").read_bytes()) == "fp16"
    assert fp32_of((networks / "small_fp16.onnx").read_bytes()) is None  # not by mer-export
    with pytest.raises(UsageError, match="unknown model"):
        find_cases([], False, only=["small"])
    with pytest.raises(UsageError, match="no such folder"):
        find_cases([networks / "nowhere"], False)


def test_a_file_that_cannot_be_opened_is_one_case(networks: Path) -> None:
    (networks / "broken.onnx").write_bytes(b"nothing")
    (case,) = find_cases([networks], False, only=["broken"])
    assert (case.model, case.runtime, case.precision) == ("broken", "-", "-")
    assert "not an ONNX file" in str(case.reason)


@pytest.mark.parametrize(
    "report", ["[1]", "{}", "3", "not JSON", '{"precision": ["x"], "source": 4}', "[" * 99_999]
)
def test_an_export_report_of_any_content_is_no_traceback(networks: Path, report: str) -> None:
    model = onnx.load(networks / "small.onnx")
    texts = {prop.key: prop.value for prop in model.metadata_props}
    onnx.helper.set_model_props(model, {**texts, EXPORT_KEY: report})
    content = model.SerializeToString()
    assert precision_of(content) == "fp32"  # from the graph itself
    assert fp32_of(content) is None
