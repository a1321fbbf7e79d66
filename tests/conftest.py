"""Fixtures that every part's tests share: generated audio and a network small enough to run at once."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# For the commands and processes that tests start; pytest's own pythonpath is not theirs.
sys.path.insert(0, str(Path(__file__).parent / "helpers"))

from merkit.engine.spec import QUADRANTS, AudioSpec, ModelSpec
from onnx_files import tiny_onnx

# Shells start background jobs with Ctrl-C ignored, nohup ignores SIGHUP, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# No deadline: other work may slow the machine. CI tries the same examples every time.
settings.register_profile("mer", deadline=None, max_examples=50, derandomize="CI" in os.environ)
settings.load_profile("mer")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees, or touches, the models of the machine it runs on."""
    monkeypatch.setenv("MER_HOME", str(tmp_path / "mer-home"))


@pytest.fixture
def spec() -> ModelSpec:
    """The default sound, four quadrants."""
    return ModelSpec("tiny", QUADRANTS, AudioSpec(), provenance={"made": "by a test"})


@pytest.fixture
def tiny_model(tmp_path: Path, spec: ModelSpec) -> Path:
    """An .onnx file with a ModelSpec."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_onnx(spec).SerializeToString())
    return path
