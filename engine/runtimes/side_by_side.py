"""Several networks that hear the same windows, as one runtime."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact
from ..closing import ClosedByWith


class SideBySide(ClosedByWith):
    """A model and its further ones; see ``Runtime``. What they give stands side by side, in their order.

    ``infer`` takes the log-mels of all that they hear, ``Artifact.heard``, one after another: ``[n, 1, 1,
    cells]``, or ``[n, 1, mels, frames]`` where they hear the same.

    Args:
        open_one: opens the runtime of one of them.
    """

    def __init__(self, artifact: Artifact, open_one: Callable[[Artifact], Any]) -> None:
        models = (replace(artifact, further=()), *artifact.further)
        cells = [audio.n_mels * audio.frames for audio in artifact.heard]
        starts = dict(zip(artifact.heard, accumulate(cells, initial=0), strict=False))
        with ExitStack() as stack:
            self._runtimes = [(stack.enter_context(open_one(model)), model.spec.audio) for model in models]
            self._starts = starts
            self.name = self._runtimes[0][0].name
            self._stack = stack.pop_all()

    def infer(self, log_mels: Float32) -> Float32:
        flat, parts = log_mels.reshape(len(log_mels), -1), []
        for runtime, audio in self._runtimes:
            start, shape = self._starts[audio], (1, audio.n_mels, audio.frames)
            own = flat[:, start : start + audio.n_mels * audio.frames]
            parts.append(runtime.infer(own.reshape(-1, *shape)))
        return np.concatenate(parts, axis=1)

    def close(self) -> None:
        self._stack.close()
