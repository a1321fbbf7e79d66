"""Loading an engine: what TensorRT refuses, and what TensorRT for RTX keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_files import engine
from merkit.engine.errors import ArtifactError, DeviceError
from merkit.engine.runtimes.tensorrt import open_runtime
from merkit.engine.spec import ModelSpec
from onnx_files import tiny_onnx
from stub_cuda import fake_tensorrt
from stub_cuda.arrays import AUDIO, CONTENT, SPEC, assert_right, log_mels


def test_an_engine_that_tensorrt_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="cannot load it: magic tag does not match"):
        open_runtime(engine(tmp_path, SPEC, b"no engine"), 0)
    other = ModelSpec("tiny", ("a", "b"), AUDIO)
    with pytest.raises(ArtifactError, match="as its ModelSpec says"):
        open_runtime(engine(tmp_path, SPEC, tiny_onnx(other).SerializeToString()), 0)
    artifact = engine(tmp_path, SPEC, CONTENT)
    monkeypatch.setattr(fake_tensorrt.IExecutionContext, "fails", True)
    with open_runtime(artifact, 0) as runtime, pytest.raises(DeviceError, match="cannot run 2 windows"):
        runtime.infer(log_mels(2))
    monkeypatch.setattr(fake_tensorrt.ICudaEngine, "create_execution_context", lambda *_: None)
    with pytest.raises(DeviceError, match="no execution context"):
        open_runtime(artifact, 0)


def test_rtx_keeps_what_it_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    facts = {"builder": "tensorrt_rtx", "compute_capability": {"target": "portable", "capabilities": []}}
    artifact = engine(tmp_path, SPEC, CONTENT, **facts)
    cache = tmp_path / "tiny.engine.cache"
    with open_runtime(artifact, 0) as runtime:
        assert runtime.name == "tensorrt_rtx"
        assert_right(runtime.infer(log_mels(5)), log_mels(5))
        assert not cache.exists()
    assert cache.read_bytes() == b"compiled kernels"
    cache.write_bytes(b"of an earlier run")
    open_runtime(artifact, 0).close()
    assert cache.read_bytes() == b"of an earlier run"
    monkeypatch.setattr(fake_tensorrt.IRuntimeCache, "compatible", False)  # another driver's: made anew
    open_runtime(artifact, 0).close()
    assert cache.read_bytes() == b"compiled kernels"
    assert sorted(path.name for path in tmp_path.iterdir() if "tiny" in path.name) == [
        "tiny.engine",
        "tiny.engine.cache",
        "tiny.json",
    ]
    cache.unlink()
    cache.mkdir()
    open_runtime(artifact, 0).close()
    assert "compiles again" in caplog.text
