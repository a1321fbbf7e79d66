"""Which backend is opened, and the line that says so."""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from engine_files import engine, write_engine
from gpu_on_cpu import SPEC, OnCpu
from merkit.engine.artifact import Artifact, open_artifact
from merkit.engine.cli.label import main
from merkit.engine.errors import ArtifactError, DaliMissingError, DeviceError, UsageError
from merkit.engine.labelling import choose, gpu_pipeline
from merkit.engine.labelling.choose import open_backend
from merkit.engine.labelling.gpu_pipeline import open_gpu_pipeline
from merkit.engine.labelling.gpu_processes import GpuProcesses
from merkit.engine.runtimes import cuda_devices, open_runtime
from merkit.engine.spectrogram.dali import DaliLogMel

pytest.importorskip("nvidia.dali", reason="DALI runs on Linux only")


def opened(
    artifact: Artifact, runtime: str | None = None, device: Any = "auto", **more: Any
) -> tuple[str, str]:
    """The backend's name, and the line about the device."""
    lines: list[str] = []
    with open_backend(artifact, runtime, device, say=lines.append, **more) as backend:
        return backend.name, "\n".join(lines)


def test_what_device_says(tmp_path: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = "runtime: onnxruntime (mer-bench tune has not measured this network on such a CPU)"
    line = "device: cpu (small.onnx is no engine; mer-export makes one for a GPU)"
    assert opened(artifact) == opened(artifact, "auto") == ("onnxruntime", f"{chosen}\n{line}")
    assert opened(artifact, device="cpu") == ("onnxruntime", chosen)
    assert opened(artifact, "onnxruntime", device="cpu") == ("onnxruntime", "")
    with pytest.raises(UsageError, match=rf"mer-export -m {re.escape(str(artifact.path))} --fp16 -o"):
        opened(artifact, device="cuda")
    with pytest.raises(UsageError, match="mer-export -m audiocnn --fp16 -o"):
        opened(open_artifact("audiocnn"), device="cuda")
    with pytest.raises(UsageError, match="several GPUs need an engine"):
        opened(artifact, gpus=2)
    for other in ({}, {"ray": "nowhere:1"}):
        with pytest.raises(UsageError, match="only an engine on this machine's GPU takes a size of batch"):
            opened(artifact, batch=8, **other)
    with pytest.raises(UsageError, match="the address of the Ray cluster is empty"):
        opened(artifact, ray="")
    built = engine(tmp_path, SPEC)
    with pytest.raises(UsageError, match=r"give the \.onnx"):
        opened(built, device="cpu")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(
        DeviceError, match=r"no device for tiny\.engine: not cuda, since tensorrt is not inst"
    ):
        opened(built)
    with pytest.raises(DeviceError, match=r"^tensorrt is not installed"):
        opened(built, device="cuda")
    with pytest.raises(DeviceError, match="tensorrt is not installed"):
        open_gpu_pipeline(built)
    with pytest.raises(UsageError, match=r"tiny\.engine takes 1 to 32 windows at once, not 64"):
        opened(built, batch=64)
    with pytest.raises(UsageError, match="only an engine on this machine's GPU takes a size of batch"):
        opened(built, "null", batch=8)
    assert opened(built, "null") == ("null", "device: cpu (null was asked for)")


def test_a_runtime_that_has_the_network_on_a_gpu(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = SimpleNamespace(name="onnxruntime_rtx", close=lambda: None)
    monkeypatch.setattr(choose, "open_runtime", lambda *_: runtime)
    line = "device: cuda for the network, cpu for the log-mels (onnxruntime_rtx was asked for)"
    assert opened(artifact, runtime.name) == (runtime.name, line)
    assert opened(artifact, runtime.name, device="cuda") == (runtime.name, "")
    with pytest.raises(UsageError, match="onnxruntime_rtx runs on a GPU only: for the CPU leave it out"):
        opened(artifact, runtime.name, device="cpu")
    with pytest.raises(UsageError, match="onnxruntime_rtx runs on one GPU: several GPUs need an engine"):
        opened(artifact, runtime.name, gpus=2)


def test_without_dali_only_the_network_runs_on_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = engine(tmp_path, SPEC)
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(DaliMissingError, match="DALI is not installed"):
        opened(built, device="cuda")

    class Opened:
        name = "tensorrt"

        def close(self) -> None:
            pass

    monkeypatch.setattr(choose, "open_runtime", lambda *_, **__: Opened())
    name, line = opened(built)
    assert name == "tensorrt"
    assert line.startswith("device: cuda for the network, cpu for the log-mels (DALI is not installed")


def test_a_model_that_fails_is_refused_before_a_cluster_is_joined(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every node would find out by itself, and say so in Ray's way."""
    monkeypatch.setitem(sys.modules, "ray", None)
    broken = dataclasses.replace(artifact, content=b"no graph")
    with pytest.raises(ArtifactError, match="ONNX Runtime refuses it"):
        open_backend(broken, ray="nowhere:1")


@pytest.mark.parametrize("step", ["__init__", "put", "take"])
def test_a_dali_that_cannot_start_is_as_one_that_is_missing(
    step: str, tmp_path: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pipelines can fail only when their first batch is computed: that is tried before the first song."""

    class Failing(DaliLogMel):
        pass

    def fails(*_: Any, **__: Any) -> None:
        raise DeviceError("DALI makes no log-mels: CUDA driver version is insufficient")

    closed: list[str] = []

    class Opened(OnCpu):
        def close(self) -> None:
            closed.append(self.name)

    setattr(Failing, step, fails)
    monkeypatch.setattr(
        gpu_pipeline,
        "DaliLogMel",
        lambda spec, size, *_, **more: Failing(spec, size, "cpu", packed=more["packed"]),
    )
    monkeypatch.setattr(gpu_pipeline, "open_runtime", lambda *_: Opened(open_runtime(artifact, "null")))
    monkeypatch.setattr(choose, "open_runtime", lambda *_: Opened(open_runtime(artifact, "null")))
    built = engine(tmp_path, SPEC)
    name, line = opened(built)
    assert name == "null"
    assert line == (
        "device: cuda for the network, cpu for the log-mels "
        "(DALI makes no log-mels: CUDA driver version is insufficient)"
    )
    assert closed == ["null", "null"]  # the pipeline's own, and the backend's
    with pytest.raises(DaliMissingError, match="driver version is insufficient"):
        opened(built, device="cuda")


def test_several_gpus_are_opened_as_processes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process opens none: its context would take memory, or keep a GPU from the one that needs it."""
    counted: list[int] = []
    monkeypatch.setattr(cuda_devices, "check_gpu_count", counted.append)
    monkeypatch.setattr(gpu_pipeline, "open_gpu_pipeline", None)
    name, line = opened(engine(tmp_path, SPEC), gpus=2)
    assert (name, line, counted) == ("tensorrt", "device: cuda, 2 GPUs (DALI and tensorrt)", [2])
    with open_backend(engine(tmp_path, SPEC), gpus=2, batch=16, workers=6) as backend:
        assert isinstance(backend, GpuProcesses)
        assert backend._workers == 3
        assert isinstance(backend._open_network, functools.partial)
        assert backend._open_network.func is gpu_pipeline.open_on_its_gpu
        assert backend._open_network.keywords == {"batch": 16}


@pytest.mark.parametrize("with_dali", [True, False])
def test_so_many_decode_as_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_dali: bool
) -> None:
    given: list[Any] = []

    def pipeline(*_: Any, **__: Any) -> Any:
        if not with_dali:
            raise DaliMissingError("DALI is not installed")
        return SimpleNamespace(name="tensorrt")

    monkeypatch.setattr(gpu_pipeline, "open_gpu_pipeline", pipeline)
    monkeypatch.setattr(choose, "open_runtime", lambda *_: SimpleNamespace(name="tensorrt"))
    monkeypatch.setattr(choose, "LocalBackend", lambda network, workers=0: given.append(workers))
    open_backend(engine(tmp_path, SPEC), workers=5)
    assert given == [5]


def test_without_dali_the_network_gets_batches_of_the_size_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    sizes: list[int] = []

    def infer(log_mels: Any) -> Any:
        sizes.append(len(log_mels))
        return log_mels[:, 0, 0]

    runtime = SimpleNamespace(name="tensorrt", infer=infer)
    monkeypatch.setattr(choose, "open_runtime", lambda *_: runtime)
    monkeypatch.setattr(choose, "LocalBackend", lambda network, workers: network)
    network: Any = open_backend(engine(tmp_path, SPEC), batch=4)
    list(network.add("key", SimpleNamespace(log_mels=np.zeros((10, 1, 1, 1), np.float32))))
    assert sizes == [4, 4, 2]


def test_the_command_line(tmp_path: Path, mixed_songs: list[str], artifact: Artifact) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, [mixed_songs[0], *arguments])

    done = run("-m", str(artifact.path), "--windows", "all", "--decoder", "dali", "-j", "1", "-v")
    assert done.exit_code == 4
    assert "DALI's resampler aliases" in done.output
    assert "device: cpu (small.onnx is no engine" in done.output
    assert run("-m", str(artifact.path), "--decoder", "dali").exit_code == 2
    done = run("-m", str(artifact.path), "--device", "cuda")
    assert done.exit_code == 2
    assert "mer-export -m /" in done.output
    done = run("-m", str(write_engine(tmp_path, SPEC)), "--device", "cuda")
    assert done.exit_code == 1
    assert "Error: " in done.output
    assert "Traceback" not in done.output
