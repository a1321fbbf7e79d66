"""The runtime without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from merkit.engine.artifact import open_artifact
from merkit.engine.runtimes import open_runtime


def test_equal_logits_for_every_window(tiny_model: Path) -> None:
    with open_runtime(open_artifact(str(tiny_model)), "null") as runtime:
        assert runtime.name == "null"
        logits = runtime.infer(np.ones((3, 1, 128, 157), np.float32))
    assert logits.shape == (3, 4)
    assert logits.dtype == np.float32
    assert not logits.any()
