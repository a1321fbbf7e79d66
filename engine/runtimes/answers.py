"""What runtimes answer, checked: the shape and type of outputs, and errors as one line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact
from ..errors import ArtifactError
from ..signals import pass_on_from_handler

# "Exception from src/core/src/model.cpp:58:", "/onnxruntime_src/.../bfc_arena.cc:360 void* f(size_t) ".
_PLACES = re.compile(
    r"Exception from \S+?:\d+: |Check '[^']*' failed at \S+?:\d+: |/onnxruntime_src/\S+:\d+ [^()]*\([^()]*\) "
)


def checked(outputs: Sequence[Any], log_mels: Float32, artifact: Artifact) -> Float32:
    """A network's outputs for a batch, side by side, if each is float32 ``[windows, columns]`` as it should.

    Raises:
        ArtifactError: they are not.
    """
    for (name, columns), given in zip(artifact.spec.outputs.items(), outputs, strict=True):
        expected = len(log_mels), columns
        if not isinstance(given, np.ndarray) or given.shape != expected or given.dtype != np.float32:
            what = f"{given.dtype} {list(given.shape)}" if isinstance(given, np.ndarray) else "no array"
            raise ArtifactError(
                f"{artifact.path} must give {name} float32 {list(expected)}, and gives {what}"
            )
    return outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=1)


def failure(artifact: Artifact, what: str, error: Exception) -> ArtifactError:
    """The error of a library, by ``what`` it did with an artifact. A signal handler's is raised again."""
    pass_on_from_handler(error)
    return ArtifactError(f"{artifact.path}: {what}: {one_line(error)}")


def one_line(error: Exception) -> str:
    """What a library's error says, in one line that is not too long, without the places in its source."""
    text = _PLACES.sub("", " ".join(str(error).split()))
    return text[:300] or type(error).__name__
