"""How fast the networks run in eager torch and in torch.compile, without merkit."""

from __future__ import annotations

import numpy as np
import torch

from ...engine.arrays import Float32
from ...engine.artifact import Artifact
from ...engine.closing import ClosedByWith
from ...training.networks.backbones import build_backbone


class TorchBaseline(ClosedByWith):
    """A ``Runtime`` of the artifact's backbone with random weights: only its speed means something.

    Raises:
        UsageError: a backbone that torchvision does not have.
    """

    def __init__(self, artifact: Artifact, threads: int = 0, compiled: bool = False) -> None:
        self.name = "torch.compile" if compiled else "torch"
        if threads:
            torch.set_num_threads(threads)
        torch.manual_seed(0)
        spec = artifact.spec
        # All columns that runtimes put side by side, or what follows would not find a song's evidence.
        network = build_backbone(spec.backbone, sum(spec.outputs.values())).eval()
        # Dynamic shapes: compiled once for all batches, as a service would do.
        self._network = torch.compile(network, dynamic=True) if compiled else network

    def infer(self, log_mels: Float32) -> Float32:
        with torch.inference_mode():
            return self._network(torch.from_numpy(np.ascontiguousarray(log_mels))).numpy()

    def close(self) -> None:
        del self._network
