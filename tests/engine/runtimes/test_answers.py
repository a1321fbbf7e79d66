"""What is said of a library's error, and which logits are taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from merkit.engine.artifact import Artifact, open_artifact
from merkit.engine.errors import ArtifactError
from merkit.engine.runtimes.answers import checked, one_line
from merkit.engine.spec import AudioSpec, EvidenceSpec, ModelSpec


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : while running Expand node. Status Message: "
            "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void* "
            "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, Stream*) Failed to allocate memory\n",
            "[ONNXRuntimeError] : 1 : FAIL : while running Expand node. Status Message: "
            "Failed to allocate memory",
        ),
        (
            "Exception from src/inference/src/cpp/core.cpp:105:\n"
            "Check 'false' failed at src/frontends/report.cpp:151:\nFrontEnd API failed",
            "FrontEnd API failed",
        ),
        ("", "RuntimeError"),
        ("a" * 1_000, "a" * 300),
    ],
)
def test_one_line(text: str, line: str) -> None:
    assert one_line(RuntimeError(text)) == line


def test_logits_are_of_the_windows_and_the_labels(tiny_model: Path) -> None:
    artifact = open_artifact(str(tiny_model))
    log_mels = np.zeros((3, 1, 128, 313), np.float32)
    logits = np.zeros((3, 4), np.float32)
    assert checked([logits], log_mels, artifact) is logits
    for wrong in (logits[:2], logits[:, :3], logits.ravel(), logits.astype(np.float64), [logits], None):
        with pytest.raises(ArtifactError, match=r"must give logits float32 \[3, 4\], and gives"):
            checked([wrong], log_mels, artifact)


def test_the_evidence_stands_beside_the_logits() -> None:
    spec = ModelSpec("x", ("a", "b", "c"), AudioSpec(), evidence=EvidenceSpec(0.0, (0.0, 1.0), 1.0, 0.3))
    artifact = Artifact("x", Path("x.onnx"), spec, "", b"")
    log_mels = np.zeros((2, 1, 128, 313), np.float32)
    logits, evidence = np.ones((2, 3), np.float32), np.array([[7, 8], [9, 10]], np.float32)
    assert checked([logits, evidence], log_mels, artifact).tolist() == [[1, 1, 1, 7, 8], [1, 1, 1, 9, 10]]
    with pytest.raises(
        ArtifactError, match=r"must give evidence float32 \[2, 2\], and gives float32 \[2, 3\]"
    ):
        checked([logits, logits], log_mels, artifact)
