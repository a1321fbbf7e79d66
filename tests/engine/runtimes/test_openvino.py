"""OpenVINO beside the reference runtime: FP32, INT8, bf16."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from audio_files import noise, write_audio
from click.testing import CliRunner
from merkit.engine.arrays import Float32
from merkit.engine.artifact import open_artifact
from merkit.engine.cli.label import main
from merkit.engine.errors import ArtifactError, MerError
from merkit.engine.runtimes import open_runtime
from merkit.export.calibration import ranges_from_log_mels
from merkit.export.precision import layers_to_quantize, qdq_from_onnx, tensors_to_quantize
from small_networks import AUDIO, small_network

pytest.importorskip("openvino")
from merkit.engine.runtimes.openvino import OpenVino, has_bf16


def log_mels(count: int, mels: int = 128, frames: int = 313) -> Float32:
    return np.random.default_rng(0).standard_normal((count, 1, mels, frames)).astype(np.float32)


@pytest.mark.parametrize("model", ["audiocnn", "mobilenetv3"])
@pytest.mark.parametrize("streams", ["latency", "throughput"])
def test_the_reference_runtimes_logits(model: str, streams: str) -> None:
    artifact = open_artifact(model)
    with OpenVino(artifact, streams=streams) as ours, open_runtime(artifact, "onnxruntime") as theirs:  # pyright: ignore
        for batch in (1, 3, 5):
            sound = log_mels(batch, frames=artifact.spec.audio.frames)
            expected = theirs.infer(sound)
            assert np.abs(ours.infer(sound) - expected).max() < 1e-4 * np.abs(expected).max()


def test_logits_do_not_change_with_the_next(tiny_model: Path) -> None:
    with open_runtime(open_artifact(str(tiny_model)), "openvino", threads=1) as network:
        first = network.infer(log_mels(2))
        before = first.copy()
        network.infer(log_mels(2) + 1)
        assert (first == before).all()


def test_no_windows_have_no_logits(tiny_model: Path) -> None:
    """As every other runtime has it."""
    artifact = open_artifact(str(tiny_model))
    for name in ("openvino", "onnxruntime", "null"):
        with open_runtime(artifact, name, threads=1) as network:
            logits = network.infer(log_mels(0, frames=artifact.spec.audio.frames))
            assert (logits.shape, logits.dtype) == ((0, 4), np.float32)


def test_int8_graphs(tmp_path: Path) -> None:
    model = small_network()
    sound = log_mels(4, AUDIO.n_mels, AUDIO.frames)
    tensors = tensors_to_quantize(model, layers_to_quantize(model))
    ranges = ranges_from_log_mels(model.SerializeToString(), sound, tensors, "minmax")
    for name, graph in (("fp32", model), ("int8", qdq_from_onnx(model, ranges))):
        (tmp_path / f"{name}.onnx").write_bytes(graph.SerializeToString())
    logits = {}
    for name, runtime in (("fp32", "openvino"), ("int8", "openvino"), ("int8", "onnxruntime")):
        with open_runtime(open_artifact(str(tmp_path / f"{name}.onnx")), runtime) as network:
            logits[name, runtime] = network.infer(sound)
    exact, ours, theirs = logits.values()
    scale = np.abs(exact).max()
    assert np.abs(ours - theirs).max() < 0.05 * scale
    assert 0 < np.abs(ours - exact).max() < 0.2 * scale  # quantized, and nearly the same


def test_bf16_is_refused_or_real() -> None:
    artifact = open_artifact("mobilenetv3")
    if not has_bf16():
        with pytest.raises(MerError, match="does not compute bf16"):
            OpenVino(artifact, precision="bf16")
        return
    sound = log_mels(2, frames=artifact.spec.audio.frames)
    with OpenVino(artifact) as exact, OpenVino(artifact, precision="bf16") as rounded:
        assert np.abs(exact.infer(sound) - rounded.infer(sound)).max() > 1e-5


def test_a_graph_that_it_does_not_know(tmp_path: Path) -> None:
    model = small_network()
    model.graph.node[0].op_type = "Strange"
    (tmp_path / "strange.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="OpenVINO refuses"):
        open_runtime(open_artifact(str(tmp_path / "strange.onnx")), "openvino")


def test_mer_label_with_it(tmp_path: Path) -> None:
    song = write_audio(tmp_path / "song.wav", noise(12, 16_000), 16_000)
    lines = [
        [
            line
            for line in CliRunner().invoke(main, [str(song), "--runtime", runtime]).output.splitlines()
            if line.startswith(str(song))
        ]
        for runtime in ("openvino", "onnxruntime")
    ]
    assert len(lines[0]) == 1
    assert lines[0] == lines[1]


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MerError, match=r"merkit\[openvino\]"):
        open_runtime(open_artifact("mobilenetv3"), "openvino")


def test_a_signal_after_another_thread_has_closed_it(tiny_model: Path) -> None:
    """OpenVINO frees there what it gave this thread as its stack for signals."""
    code = f"""
import signal, threading
from merkit.engine.artifact import open_artifact
from merkit.engine.runtimes import open_runtime
networks = [open_runtime(open_artifact({str(tiny_model)!r}), "openvino")]
def close():
    networks.pop().close()
thread = threading.Thread(target=close)
thread.start()
thread.join()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("interrupted\n", 0), done.stderr
