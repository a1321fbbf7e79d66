"""What else they could run the networks with: eager torch and torch.compile, for speed only."""

from __future__ import annotations

import numpy as np
import torch

from ...engine.arrays import Float32
from ...engine.artifact import Artifact
from ...training.networks.backbones import build_backbone


class TorchBaseline:
    """A ``Runtime`` of the artifact's backbone with random weights: its speed, never its labels.

    Raises:
        UsageError: a backbone that torchvision does not have.
    """

    def __init__(self, artifact: Artifact, threads: int = 0, compiled: bool = False) -> None:
        self.name = "torch.compile" if compiled else "torch"
        if threads:
            torch.set_num_threads(threads)
        torch.manual_seed(0)
        spec = artifact.spec
        network = build_backbone(spec.backbone, len(spec.labels)).eval()
        # Dynamic: compiled once for all batches, as a service would.
        self._network = torch.compile(network, dynamic=True) if compiled else network

    def infer(self, images: Float32) -> Float32:
        with torch.inference_mode():
            return self._network(torch.from_numpy(np.ascontiguousarray(images))).numpy()

    def close(self) -> None:
        del self._network

    def __enter__(self) -> TorchBaseline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
