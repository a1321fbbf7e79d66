"""The names of the runtimes, and what a command pays for them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from merkit.engine import runtimes
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import ArtifactError, UsageError
from merkit.engine.runtimes import RUNTIMES, name_of_runtime, open_runtime


def test_every_name_has_its_file() -> None:
    files = {path.stem for path in Path(str(runtimes.__file__)).parent.glob("*.py")}
    assert {name.replace("-", "_") for name in RUNTIMES} <= files


def test_a_name_or_the_suffix_decides(tiny_model: Path) -> None:
    artifact = open_artifact(str(tiny_model))
    assert name_of_runtime(artifact) == "onnxruntime"
    assert name_of_runtime(replace(artifact, path=Path("a/network"))) == "onnxruntime"  # its content was ONNX
    for name in RUNTIMES:
        assert name_of_runtime(artifact, name) == name
    with pytest.raises(
        UsageError,
        match=r"no runtime 'cuda' for tiny\.onnx; there are: onnxruntime, openvino",
    ):
        open_runtime(artifact, "cuda")
    with pytest.raises(ArtifactError, match=r"tiny\.onnx is no engine"):
        open_runtime(artifact, "tensorrt")


def test_the_names_cost_no_numpy() -> None:
    """Commands import them for --help."""
    code = "import sys, merkit.engine.runtimes; print(*(m for m in sys.modules if m.split('.')[0] in HEAVY))"
    heavy = "HEAVY = {'numpy', 'onnxruntime', 'onnx', 'openvino', 'pycuda', 'av', 'soundfile'}; "
    done = subprocess.run([sys.executable, "-c", heavy + code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
