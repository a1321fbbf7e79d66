import importlib.util
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
    if importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx") is None:
        assert not any(runtime == "onnxruntime_rtx" for _, _, runtime, _ in kinds)
        asked = find_cases([networks], False, ["onnxruntime_rtx"], ["small"])
        assert {case.reason for case in asked} == {"onnxruntime_ep_nv_tensorrt_rtx is not installed"}
    assert precision_of((networks / "small_fp16.onnx").read_bytes()) == "fp16"
    assert fp32_of((networks / "small_fp16.onnx").read_bytes()) is None  # not by mer-export
    with pytest.raises(UsageError, match="unknown model") as raised:
        find_cases([], False, only=["musicnn"])  # a backbone of no bundled file
    assert "musicnn" not in str(raised.value).partition("there are")[2]
    # hindi5 and accurate are made of the backbone audioset too, which is no name of theirs.
    assert {case.model for case in find_cases([], False, only=["audioset"])} == {"audioset"}
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
    "report",
    [
        "[1]",
        "{}",
        '{"precision": "int8"}',
        "3",
        "not JSON",
        '{"precision": ["x"], "source": 4}',
        "[" * 99_999,
    ],
)
def test_an_export_report_of_any_content_is_no_traceback(networks: Path, report: str) -> None:
    model = onnx.load(networks / "small.onnx")
    texts = {prop.key: prop.value for prop in model.metadata_props}
    onnx.helper.set_model_props(model, {**texts, EXPORT_KEY: report})
    content = model.SerializeToString()
    assert precision_of(content) == "fp32"  # from the graph itself
    assert fp32_of(content) is None


def _copies(networks: Path, root: Path, *places: str) -> Path:
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes((networks / "small.onnx").read_bytes())
    return root


def test_folders_are_searched_below_and_rows_told_apart(networks: Path, tmp_path: Path) -> None:
    places = ("a/net.onnx", "b/net.onnx", "b/fold-1/other.onnx", ".x/hidden.onnx")
    root = _copies(networks, tmp_path / "runs", *places)
    cases = find_cases([root], False, ["onnxruntime"])
    names = {case.model: case.path for case in cases if case.source == "folder"}
    assert set(names) == {"a/net", "b/net", "other"}
    (case,) = find_cases([root], False, ["onnxruntime"], ["b/net"])
    assert case.path == root / "b" / "net.onnx"


def test_folders_that_overlap_are_measured_once(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _copies(networks, tmp_path / "runs", "a/net.onnx", "b/other.onnx")
    (root / "b" / "best.onnx").symlink_to("other.onnx")  # a name that somebody has given
    monkeypatch.chdir(root)
    monkeypatch.setattr("merkit.benchmarks.measure.cases.models_home", lambda: root / "a")
    cases = find_cases([root, root / "a", Path("a"), root], False, ["onnxruntime"])
    found = [(case.model, case.source) for case in cases if case.source != "bundled"]
    assert found == [("net", "folder"), ("best", "folder"), ("other", "folder")]
    (case,) = find_cases([Path("a")], False, ["onnxruntime"], ["net"])
    assert case.source == "folder"


def test_untrained_networks_have_names(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def make(name: str, say: object) -> tuple[Path, Path]:
        made.append(name)
        _copies(networks, tmp_path / "untrained", f"{name}.onnx", f"{name}_int8.onnx")
        return tmp_path / "untrained" / f"{name}.onnx", tmp_path / "untrained" / f"{name}_int8.onnx"

    monkeypatch.setattr("merkit.benchmarks.measure.cases.untrained_models", make)
    for name, files in (
        ("untrained/mobilenetv3", ["mobilenetv3"]),  # as a refusal of "mobilenetv3" says it
        ("untrained/resnet18_int8", ["resnet18_int8"]),
        ("resnet18", ["resnet18"]),
        ("resnet18_int8", ["resnet18_int8"]),
    ):
        cases = find_cases([networks] if "/" in name else [], True, ["onnxruntime"], [name])
        assert [(case.path.stem, case.source) for case in cases] == [(file, "untrained") for file in files]
    assert made == ["mobilenetv3", *["resnet18"] * 3]  # no others


def test_a_name_that_means_several_networks_is_refused(networks: Path, tmp_path: Path) -> None:
    root = _copies(networks, tmp_path / "runs", "a/audiocnn.onnx")
    with pytest.raises(UsageError, match=r"audiocnn may be bundled/audiocnn, a/audiocnn"):
        find_cases([root], False, ["onnxruntime"], ["audiocnn"])
    for name, source in (("a/audiocnn", "folder"), ("bundled/audiocnn", "bundled")):
        (case,) = find_cases([root], False, ["onnxruntime"], [name])
        assert case.source == source


def test_a_bundled_network_is_not_measured_for_ones_own(networks: Path, tmp_path: Path) -> None:
    root = _copies(networks, tmp_path / "runs", "mine.onnx")
    with pytest.raises(UsageError, match=r"no mobilenetv3 in .*runs; name bundled/mobilenetv3"):
        find_cases([root], False, ["onnxruntime"], ["mobilenetv3"])
    (case,) = find_cases([root], False, ["onnxruntime"], ["mine"])
    assert case.source == "folder"
    assert find_cases([], False, ["onnxruntime"], ["mobilenetv3"])[0].source == "bundled"
