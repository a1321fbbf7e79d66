"""A small network's log-mels and logits, in NumPy's memory and in the stub GPU's; needs the stub driver."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from merkit.engine.runtimes.cuda_gpu import cuda_module
from merkit.engine.spec import AudioSpec, EvidenceSpec, ModelSpec
from onnx_files import tiny_onnx

cuda: Any = cuda_module()
AUDIO = AudioSpec(window_samples=16_000, frames=32, n_mels=16, n_fft=512)
EVIDENCE = EvidenceSpec(music=0.0, distances=(0.0, 1.0), far=1.0, confidence=0.3)
SPEC = ModelSpec("tiny", ("happy", "tense", "sad", "calm"), AUDIO, evidence=EVIDENCE)
CONTENT = tiny_onnx(SPEC).SerializeToString()


def log_mels(count: int, seed: int = 0) -> np.ndarray:
    shape = (count, 1, AUDIO.n_mels, AUDIO.frames)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def expected_logits(batch: np.ndarray) -> np.ndarray:
    """By ONNX Runtime; the columns of the evidence stand beside them."""
    session = onnxruntime.InferenceSession(CONTENT, providers=["CPUExecutionProvider"])
    logits, evidence = session.run(["logits", "evidence"], {"images": batch})
    return np.hstack([np.asarray(logits), np.asarray(evidence)])


def assert_right(logits: np.ndarray, batch: np.ndarray) -> None:
    """The logits are those of these log-mels."""
    np.testing.assert_allclose(logits, expected_logits(batch), atol=1e-5)


class OnGpu:
    """Log-mels in device memory, as DALI gives them; ``copier`` is the stream that copies them there."""

    def __init__(self, batch: np.ndarray, copier: Any, offset: int = 0, **interface: Any) -> None:
        self.host = cuda.pagelocked_empty(batch.shape, np.float32)
        self.host[:] = batch
        self.memory = cuda.mem_alloc(batch.nbytes + offset)
        cuda.memcpy_htod_async(int(self.memory) + offset, self.host, copier)
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": batch.shape,
            "typestr": "<f4",
            "data": (int(self.memory) + offset, False),
            "strides": None,
            **interface,
        }

    def free(self) -> None:
        self.memory.free()
        self.host.base.free()
