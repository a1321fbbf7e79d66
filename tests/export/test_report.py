"""Shares in files, percent and points in lines for people."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import merkit
import pytest
from merkit.engine.artifact import open_artifact
from merkit.engine.spec import ModelSpec
from merkit.export.checks import Accuracy, Parity
from merkit.export.engine_builder import Engine
from merkit.export.eval_set import EvalSet
from merkit.export.fp16_range import Fp16Range
from merkit.export.output_files import Targets
from merkit.export.report import (
    Checks,
    accuracy_line,
    files_line,
    int8_note,
    parity_line,
    range_line,
    report_of,
    sidecar_of,
    torch_line,
)
from merkit.export.song_log_mels import generated_log_mels
from merkit.export.source import Source
from small_networks import AUDIO, small_network

ACCURACY = Accuracy(macro_f1_fp32=0.649, macro_f1=0.637, accuracy_fp32=0.65, accuracy=0.64, songs=180)
PARITY = Parity(0.0123, 0.01, 0.9875, 2, 8, 24, {"1": 0.01, "2": 0.0, "8": 0.0123})


@pytest.fixture(scope="module")
def eval_set() -> EvalSet:
    return EvalSet(generated_log_mels(AUDIO, 1), None, "clips", "all of them", "8 held-out clips")


def test_accuracy_is_shares_in_files_and_percent_for_people() -> None:
    assert ACCURACY.to_json() == {
        "macro_f1_fp32": 0.649, "macro_f1": 0.637, "accuracy_fp32": 0.65, "accuracy": 0.64, "songs": 180,
        "drop": pytest.approx(0.012), "flips": 0, "lost": 0, "won": 0, "drop_interval": None, "claimed": True,
    }  # fmt: skip
    assert accuracy_line(ACCURACY, "fp16") == "  macro-F1 over 180 songs: 64.9% -> 63.7%, drop 1.2 points"
    assert accuracy_line(ACCURACY, "fp32") == "  macro-F1 63.7% over 180 songs"


def test_on_clips_it_was_trained_on_only_the_difference_is_said(model: Path, eval_set: EvalSet) -> None:
    heard = dataclasses.replace(ACCURACY, flips=3, drop_interval=(-0.004, 0.021), claimed=False)
    assert heard.to_json() == {
        "songs": 180, "drop": pytest.approx(0.012), "flips": 3, "lost": 0, "won": 0,
        "drop_interval": (-0.004, 0.021),
        "claimed": False,
    }  # fmt: skip
    said = "  180 songs, on clips it was trained on: no accuracy is claimed"
    assert accuracy_line(heard, "fp32") == said
    drop = "; 3 labels flip, macro-F1 drop 1.2 points"
    assert accuracy_line(heard, "int8") == f"{said}{drop} (95 %: -0.4 to 2.1)"
    few = dataclasses.replace(heard, drop_interval=None)
    assert accuracy_line(few, "int8") == f"{said}{drop} (too few songs for an interval)"
    source = Source(open_artifact(str(model)))
    report = report_of(source, "fp16", small_network(), Checks(PARITY, None, heard), eval_set, None, {})
    assert report["accuracy"] is None
    assert report["on_trained_clips"] == {"of": "all of them", "labels": [], **heard.to_json()}
    report = report_of(source, "fp16", small_network(), Checks(PARITY, None, ACCURACY), eval_set, None, {})
    assert report["on_trained_clips"] is None


def test_lines_of_parity_and_range(eval_set: EvalSet, tmp_path: Path) -> None:
    assert parity_line(PARITY, eval_set) == (
        "  against FP32 on 24 windows of 8 held-out clips: max error 0.0123 (1.00% of the largest logit), "
        "top-1 agreement 98.8%, 2 of 8 labels flip"
    )
    assert torch_line(PARITY) == "  FP32 ONNX against PyTorch: max error 0.012 at batches 1, 2, 8"
    assert range_line(Fp16Range((), 4)) == "  no FP16 node"
    assert "warning" not in range_line(Fp16Range((("a", 1.0),), 4))
    assert "warning: over 32,768, half of FP16's range: a" in range_line(Fp16Range((("a", 4e4),), 4))
    for name in ("a.onnx", "a.json"):
        (tmp_path / name).write_bytes(bytes(200_000))
    assert files_line((tmp_path / "a.onnx", tmp_path / "a.json")) == f"  {tmp_path}/a.onnx (0.2 MB)"


def test_the_report_and_the_sidecar(eval_set: EvalSet, model: Path) -> None:
    artifact = open_artifact(str(model))
    checks = Checks(PARITY, Fp16Range((("a", 1.0),), 4), ACCURACY)
    report = report_of(Source(artifact), "fp16", small_network(), checks, eval_set, None, {"fp32": ["a"]})
    assert report["mer"] == merkit.__version__
    assert report["source"] == {
        "model": "small.onnx",
        "sha256": artifact.sha256,
        "file_sha256": artifact.sha256,
    }
    assert report["parity"] == {"images": "clips", "of": "all of them", **dataclasses.asdict(PARITY)}
    assert report["parity_reference"] == "FP32 ONNX on ONNX Runtime's CPU"
    assert report["accuracy"]["macro_f1"] == 0.637
    assert report["calibration"] is None
    assert report["skipped"] == []
    assert report["kept"] == {"fp32": ["a"]}
    sidecar = sidecar_of(
        report,
        Targets(Path("."), "x.onnx", "x.engine", "x.json"),
        b"o",
        Engine(b"e", {"cuda": "13"}),
        artifact,
    )
    assert (sidecar["format"], sidecar["name"], sidecar["cuda"]) == (1, "x", "13")
    assert (sidecar["input"], sidecar["output"]) == ("images", "logits")
    assert sidecar["engine"]["bytes"] == 1
    assert ModelSpec.from_json(json.dumps(sidecar["model_spec"])) == artifact.spec
    of_torch = report_of(Source(artifact), "fp32", small_network(), Checks(torch=PARITY), eval_set, None, {})
    assert of_torch["parity_reference"] == "PyTorch"
    assert of_torch["parity"]["flips"] == 2
    of_none = report_of(Source(artifact), "fp32", small_network(), Checks(), eval_set, None, {})
    assert of_none["parity"] is of_none["parity_reference"] is None


def test_a_known_model_is_named_as_the_command_takes_it(eval_set: EvalSet) -> None:
    """The sidecar's name is that of the command that rebuilds the engine."""
    artifact = open_artifact("audiocnn")
    source = Source(artifact, file_sha256="1" * 64)
    report = report_of(source, "fp32", small_network(), Checks(PARITY), eval_set, None, {})
    assert report["source"]["model"] == "audiocnn"
    assert (report["source"]["sha256"], report["source"]["file_sha256"]) == (artifact.sha256, "1" * 64)
    foreign = dataclasses.replace(source, given={"spec": "emotion4q"})
    report = report_of(foreign, "fp32", small_network(), Checks(PARITY), eval_set, None, {})
    assert report["source"]["given"] == {"spec": "emotion4q"}


def test_what_is_not_known_of_int8_is_said() -> None:
    """NVIDIA's support matrix of TensorRT for RTX lists INT8 for matrix products with INT8 weights alone."""
    rtx, full = (Engine(b"", {"builder": name}) for name in ("tensorrt_rtx", "tensorrt"))
    assert int8_note(rtx, "int8").startswith("not measured; may run in FP16")
    assert int8_note(rtx, "fp16") == int8_note(full, "int8") == ""
