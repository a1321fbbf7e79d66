"""Several networks that hear the same windows, as one runtime."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Self

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact
from ..spec import AudioSpec

_Scale = tuple[Float32, Float32]  # factor and offset, of one number or [mels, 1]


class SideBySide:
    """A model and its further ones; see ``Runtime``. What they give stands side by side, in their order.

    Log-mels are those of the first one: they are scaled for the others.

    Args:
        open_one: opens the runtime of one of them.
    """

    def __init__(self, artifact: Artifact, open_one: Callable[[Artifact], Any]) -> None:
        with ExitStack() as stack:
            models = (replace(artifact, further=()), *artifact.further)
            self._runtimes = [stack.enter_context(open_one(model)) for model in models]
            self._scales = [_scale(artifact.spec.audio, model.spec.audio) for model in models]
            self.name = self._runtimes[0].name
            self._stack = stack.pop_all()

    def infer(self, log_mels: Float32) -> Float32:
        parts = [
            runtime.infer(log_mels if scale is None else log_mels * scale[0] + scale[1])
            for runtime, scale in zip(self._runtimes, self._scales, strict=True)
        ]
        return np.concatenate(parts, axis=1)

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _scale(first: AudioSpec, other: AudioSpec) -> _Scale | None:
    """What makes log-mels of ``other`` of those of ``first``; None where they are the same."""
    if (first.mean, first.std) == (other.mean, other.std):
        return None
    (mean, std), (own_mean, own_std) = (
        (np.array(audio.mean)[:, None], np.array(audio.std)[:, None]) for audio in (first, other)
    )
    return (std / own_std).astype(np.float32), ((mean - own_mean) / own_std).astype(np.float32)
