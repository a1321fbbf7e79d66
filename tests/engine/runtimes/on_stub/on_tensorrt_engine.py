"""Loading an engine: what TensorRT refuses, and what TensorRT for RTX keeps."""

from __future__ import annotations

import gc
import hashlib
import sys
from pathlib import Path

import pytest
from engine_files import engine
from merkit.engine.artifact import Artifact, models_home
from merkit.engine.errors import ArtifactError, DeviceError, EngineLoadError
from merkit.engine.runtimes.tensorrt import open_runtime
from merkit.engine.spec import ModelSpec
from onnx_files import tiny_onnx
from stub_cuda import fake_tensorrt
from stub_cuda.arrays import AUDIO, CONTENT, SPEC, assert_right, log_mels
from stub_cuda.stub import loaded


def test_an_engine_that_tensorrt_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineLoadError, match="cannot load it: magic tag does not match"):
        open_runtime(engine(tmp_path, SPEC, b"no engine"), 0)
    other = ModelSpec("tiny", ("a", "b"), AUDIO)
    with pytest.raises(ArtifactError, match="as its ModelSpec says"):
        open_runtime(engine(tmp_path, SPEC, tiny_onnx(other).SerializeToString()), 0)
    artifact = engine(tmp_path, SPEC, CONTENT)
    with monkeypatch.context() as patch:
        patch.setattr(fake_tensorrt.IExecutionContext, "fails", True)
        with open_runtime(artifact, 0) as runtime, pytest.raises(DeviceError, match="cannot run 2 windows"):
            runtime.infer(log_mels(2))
        patch.setattr(fake_tensorrt.IExecutionContext, "fails", False)
        patch.setattr(fake_tensorrt.IExecutionContext, "set_tensor_address", lambda *_: False)
        with open_runtime(artifact, 0) as runtime, pytest.raises(DeviceError, match="refuses its buffer of"):
            runtime.infer(log_mels(2))
    monkeypatch.setattr(fake_tensorrt.ICudaEngine, "create_execution_context", lambda *_: None)
    with pytest.raises(EngineLoadError, match="no execution context"):
        open_runtime(artifact, 0)

    def no_runtime(logger: fake_tensorrt.ILogger) -> None:
        logger.log(fake_tensorrt.ILogger.WARNING, "lazy loading is off")
        logger.log(fake_tensorrt.ILogger.ERROR, "an earlier one")
        logger.log(fake_tensorrt.ILogger.INTERNAL_ERROR, "CUDA initialization failure with error: 35")
        logger.log(fake_tensorrt.ILogger.WARNING, "lazy loading is off")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(sys.modules["tensorrt"], "Runtime", no_runtime)
    with pytest.raises(
        EngineLoadError, match=r"does not start \(CUDA initialization failure with error: 35\): update"
    ):
        open_runtime(artifact, 0)


def test_the_reason_is_the_last_error_of_any_kind(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: fake_tensorrt.Runtime, _: bytes) -> None:
        self.logger.log(fake_tensorrt.ILogger.ERROR, "the first")
        self.logger.log(fake_tensorrt.ILogger.INTERNAL_ERROR, "the second")
        self.logger.log(fake_tensorrt.ILogger.WARNING, "no error")

    monkeypatch.setattr(fake_tensorrt.Runtime, "deserialize_cuda_engine", refuse)
    with pytest.raises(EngineLoadError, match=r"cannot load it: the second$"):
        open_runtime(artifact, 0)


def test_only_engines_that_carry_a_runtime_may_bring_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fake checks it; all other engines of these tests carry none."""
    monkeypatch.setattr(fake_tensorrt.Runtime, "_takes_code", True)
    options = {"hardware_compatible": False, "version_compatible": True}
    with open_runtime(engine(tmp_path, SPEC, CONTENT, options=options), 0) as runtime:
        assert_right(runtime.infer(log_mels(5)), log_mels(5))


@pytest.mark.parametrize("name", ["images", "logits", "evidence"])
def test_tensors_that_are_not_float32_are_refused(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """An address of the wrong type is no error for TensorRT: it would read and write other numbers."""
    monkeypatch.setitem(fake_tensorrt.ICudaEngine.types, name, fake_tensorrt.DataType.HALF)
    with pytest.raises(ArtifactError, match="not float32 as its ModelSpec says"):
        open_runtime(artifact, 0)


def test_each_ends_after_what_it_made(artifact: Artifact) -> None:
    """And the memory that a context computes in after the context, which the fake checks itself."""
    gc.collect()
    fake_tensorrt.ENDED.clear()
    runtime = open_runtime(artifact, 0)
    gc.collect()
    assert_right(runtime.infer(log_mels(5)), log_mels(5))
    assert fake_tensorrt.ENDED == []
    runtime.close()
    assert fake_tensorrt.ENDED == ["context", "engine", "runtime"]
    assert loaded().violations() == (0, "")


def test_rtx_ends_its_kernels_after_the_context_that_uses_them(tmp_path: Path) -> None:
    gc.collect()
    fake_tensorrt.ENDED.clear()
    with open_runtime(engine(tmp_path, SPEC, CONTENT, **RTX), 0) as runtime:
        assert_right(runtime.infer(log_mels(5)), log_mels(5))
        gc.collect()
        assert fake_tensorrt.ENDED == []
    assert fake_tensorrt.ENDED == ["context", "cache", "engine", "runtime"]


RTX = {"builder": "tensorrt_rtx", "compute_capability": {"target": "portable", "capabilities": []}}


def test_rtx_keeps_what_it_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = engine(tmp_path, SPEC, CONTENT, **RTX)
    folder = models_home().parent / "kernels"
    cache = folder / f"{artifact.sha256}.cache"
    with open_runtime(artifact, 0) as runtime:
        assert runtime.name == "tensorrt_rtx"
        assert_right(runtime.infer(log_mels(5)), log_mels(5))
        assert not cache.exists()
    assert cache.read_bytes() == with_hash(b"compiled kernels")
    cache.write_bytes(with_hash(b"of an earlier run"))
    open_runtime(artifact, 0).close()
    assert cache.read_bytes() == with_hash(b"of an earlier run")
    monkeypatch.setattr(fake_tensorrt.IRuntimeCache, "compatible", False)  # another driver's: made anew
    open_runtime(artifact, 0).close()
    assert cache.read_bytes() == with_hash(b"compiled kernels")
    assert [path.name for path in folder.iterdir()] == [cache.name]
    with monkeypatch.context() as patch:
        patch.setattr(fake_tensorrt.IRuntimeCache, "serialize", lambda self: None)
        open_runtime(artifact, 0).close()
    assert cache.read_bytes() == with_hash(b"compiled kernels")
    cache.unlink()
    cache.mkdir()
    open_runtime(artifact, 0).close()
    assert "compiles again" in caplog.text


def with_hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest() + content


def test_rtx_loads_no_kernels_that_it_did_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are code. What comes with an engine is not read, nor what is damaged."""
    loaded: list[bytes] = []
    monkeypatch.setattr(
        fake_tensorrt.IRuntimeCache, "deserialize", lambda _, blob: loaded.append(bytes(blob)) or True
    )
    artifact = engine(tmp_path, SPEC, CONTENT, **RTX)
    (tmp_path / "tiny.engine.cache").write_bytes(with_hash(b"a stranger's"))
    cache = models_home().parent / "kernels" / f"{artifact.sha256}.cache"
    cache.parent.mkdir(parents=True)
    for damaged in (b"", b"short", b"compiled kernels", with_hash(b"compiled kernels")[:-1]):
        cache.write_bytes(damaged)
        open_runtime(artifact, 0).close()
        assert loaded == []
        assert cache.read_bytes() == with_hash(b"compiled kernels")
    open_runtime(artifact, 0).close()
    assert loaded == [b"compiled kernels"]


def test_rtx_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.delenv("MER_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    with open_runtime(engine(tmp_path, SPEC, CONTENT, **RTX), 0) as runtime:
        assert_right(runtime.infer(log_mels(5)), log_mels(5))


def test_rtx_frees_the_engine_whatever_its_kernels_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After an error of the GPU anything that they are asked may fail."""

    def fail(_: fake_tensorrt.IRuntimeCache) -> bytes:
        raise RuntimeError("CUDA error 719")

    monkeypatch.setattr(fake_tensorrt.IRuntimeCache, "serialize", fail)
    runtime = open_runtime(engine(tmp_path, SPEC, CONTENT, **RTX), 0)
    gc.collect()
    fake_tensorrt.ENDED.clear()
    runtime.close()
    # The cache lives as long as the error in the log, which has the frame that raised it.
    assert fake_tensorrt.ENDED == ["context", "engine", "runtime"]
    assert "compiled kernels cannot be kept (CUDA error 719)" in caplog.text
