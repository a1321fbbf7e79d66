"""What merkit.engine adds to the bare runtime's call, by LoadGen, in turns within one run."""

import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from merkit.benchmarks.measure.loadgen import Infer, Length, run_loadgen
from merkit.engine.artifact import open_artifact
from merkit.engine.runtimes import open_runtime

pytest.importorskip("mlperf_loadgen")
SHORT = Length("quick", 0.25, {"SingleStream": 20, "Offline": 1})


def bare_call(path: Path) -> Infer:
    """As few lines as ONNX Runtime lets one write, with the engine's options."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda log_mels: session.run(None, {"images": log_mels})[0]  # pyright: ignore[reportReturnType]


def closest(measure: Callable[[], float], good: Callable[[float], bool], tries: int = 4) -> float:
    """The median ratio of a few turns; again if the machine's noise was in it."""
    ratio = 0.0
    for _ in range(tries):
        ratio = statistics.median(measure() for _ in range(5))
        if good(ratio):
            break
    return ratio


def test_the_engine_costs_next_to_nothing(tmp_path: Path) -> None:
    artifact = open_artifact("mobilenetv3")
    noise = np.random.default_rng(0).standard_normal((8, 1, 128, artifact.spec.audio.frames))
    log_mels = noise.astype(np.float32)
    bare = bare_call(artifact.path)
    with open_runtime(artifact, "onnxruntime", threads=1) as network:

        def latency(infer: Infer) -> float:
            result = run_loadgen(infer, log_mels, "SingleStream", SHORT, tmp_path, images_per_s=1_000)
            assert result.figures.p50 is not None
            return result.figures.p50

        def throughput(infer: Infer) -> float:
            result = run_loadgen(infer, log_mels, "Offline", SHORT, tmp_path, batch=8, images_per_s=200)
            assert result.figures.images_per_s is not None
            return result.figures.images_per_s

        for infer in (bare, network.infer):
            infer(log_mels)
        single = closest(lambda: latency(network.infer) / latency(bare), lambda ratio: ratio <= 1.05)
        assert single <= 1.05
        offline = closest(lambda: throughput(network.infer) / throughput(bare), lambda ratio: ratio >= 0.97)
        assert offline >= 0.97
        print(f"SingleStream p50 {single:.3f}x, Offline {offline:.3f}x")


def test_a_slowed_runtime_would_show(tmp_path: Path) -> None:
    """The measure above is one that can fail."""
    artifact = open_artifact("mobilenetv3")
    log_mels = np.zeros((8, 1, 128, artifact.spec.audio.frames), np.float32)
    bare = bare_call(artifact.path)

    def slowed(batch: np.ndarray) -> np.ndarray:
        bare(batch)
        return bare(batch)

    def ratio() -> float:
        once, twice = (
            run_loadgen(infer, log_mels, "SingleStream", SHORT, tmp_path).figures.p50 or 0.0
            for infer in (bare, slowed)
        )
        return twice / once

    assert closest(ratio, lambda ratio: ratio > 1.5) > 1.5
