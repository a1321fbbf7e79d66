from pathlib import Path

import numpy as np
import pytest
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import UsageError

pytest.importorskip("torchvision")
from merkit.benchmarks.measure.torch_baselines import TorchBaseline


def test_it_computes_what_the_artifact_says() -> None:
    artifact = open_artifact("mobilenetv3")
    log_mels = np.zeros((2, 1, 128, artifact.spec.audio.frames), np.float32)
    with TorchBaseline(artifact, threads=1) as baseline:
        assert baseline.name == "torch"
        logits = baseline.infer(log_mels)
        assert artifact.spec.evidence  # which is an output beside the logits
        assert (logits.shape, logits.dtype) == ((2, sum(artifact.spec.outputs.values())), np.float32)
        # Any layout that NumPy has.
        np.testing.assert_allclose(baseline.infer(log_mels[::-1]), logits, atol=1e-6)


def test_a_backbone_that_torchvision_does_not_have(networks: Path) -> None:
    with pytest.raises(UsageError, match="backbone"):
        TorchBaseline(open_artifact(str(networks / "small.onnx")))
