"""What runtimes answer, checked: the shape and type of logits, and errors as one line."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact
from ..errors import ArtifactError

# "Exception from src/core/src/model.cpp:58:", "/onnxruntime_src/.../bfc_arena.cc:360 void* f(size_t) ".
_PLACES = re.compile(
    r"Exception from \S+?:\d+: |Check '[^']*' failed at \S+?:\d+: |/onnxruntime_src/\S+:\d+ [^()]*\([^()]*\) "
)


def checked(logits: Any, log_mels: Float32, artifact: Artifact) -> Float32:
    """The logits of a batch, if they are float32 ``[windows, labels]``.

    Raises:
        ArtifactError: they are not.
    """
    expected = len(log_mels), len(artifact.spec.labels)
    if not isinstance(logits, np.ndarray) or logits.shape != expected or logits.dtype != np.float32:
        what = f"{logits.dtype} {list(logits.shape)}" if isinstance(logits, np.ndarray) else "no array"
        raise ArtifactError(f"{artifact.path} must give logits float32 {list(expected)}, and gives {what}")
    return logits


def one_line(error: Exception) -> str:
    """What a library's error says, in one line that is not too long, without the places in its source."""
    text = _PLACES.sub("", " ".join(str(error).split()))
    return text[:300] or type(error).__name__
