"""The names of the runtimes, and what a command pays for them."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from merkit.benchmarks.experiments.tune import runtimes_here
from merkit.engine import runtimes
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import MerError, UsageError
from merkit.engine.runtimes import RUNTIMES, name_of_runtime, open_runtime


def test_every_name_has_its_file() -> None:
    files = {path.stem for path in Path(str(runtimes.__file__)).parent.glob("*.py")}
    assert {name.replace("-", "_") for name in RUNTIMES} <= files


def test_a_name_or_the_suffix_decides(tiny_model: Path) -> None:
    artifact = open_artifact(str(tiny_model))
    assert name_of_runtime(artifact) == "onnxruntime"
    assert name_of_runtime(replace(artifact, path=Path("a/network"))) == "onnxruntime"  # its content was ONNX
    for name in set(RUNTIMES) - {"tensorrt"}:
        assert name_of_runtime(artifact, name) == name
    with pytest.raises(
        UsageError,
        match=r"no runtime 'cuda' for tiny\.onnx; there are: onnxruntime, openvino",
    ):
        open_runtime(artifact, "cuda")
    with pytest.raises(UsageError, match=r"tiny\.onnx is no engine"):
        name_of_runtime(artifact, "tensorrt")


def test_the_names_cost_no_numpy() -> None:
    """Commands import them for --help."""
    code = "import sys, merkit.engine.runtimes; print(*(m for m in sys.modules if m.split('.')[0] in HEAVY))"
    heavy = "HEAVY = {'numpy', 'onnxruntime', 'onnx', 'openvino', 'pycuda', 'av', 'soundfile'}; "
    done = subprocess.run([sys.executable, "-c", heavy + code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("model", ["mobilenetv3", "squeezenet"])
def test_threads_that_share_a_network_get_the_logits_of_their_own_windows(model: str, runtime: str) -> None:
    artifact = open_artifact(model)
    audio = artifact.spec.audio
    sounds = (
        np.random.default_rng(0).standard_normal((8, 2, 1, audio.n_mels, audio.frames)).astype(np.float32)
    )
    try:
        network = open_runtime(artifact, runtime, threads=1)
    except MerError as error:
        if runtime in ("null", *runtimes_here()):
            raise
        pytest.skip(str(error))
    with network, ThreadPoolExecutor(8) as threads:
        expected = [network.infer(sound) for sound in sounds]
        for _ in range(10):
            for given, right in zip(threads.map(network.infer, sounds), expected, strict=True):
                np.testing.assert_allclose(given, right, rtol=1e-5, atol=1e-5)
