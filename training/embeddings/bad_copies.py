"""By how much an embedding moves where the same music is heard from a bad copy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from ...engine.arrays import Float32
from ...engine.data.labelled_audio import Clip
from ...engine.spectrogram.log_mel import log_mel_from_decibels
from ..data.augment import bad_copy, floored
from ..recipe import Recipe
from .ears import Ears
from .embeddings import embeddings_home, kept_array, read_array

_COPIES = 4  # of each window
_VERSION = 2  # of how copies are made


def shifts_of_bad_copies(
    ears: Ears,
    clips: Sequence[Clip],
    windows: Iterable[Float32],
    recipe: Recipe,
    cache: Path | None = None,
    on_done: Callable[[int], None] = lambda count: None,
) -> list[Float32]:
    """Each clip's ``[copies, features]``: the embeddings of windows in bad copies, less those of the windows.

    They are kept on disk beside the embeddings. A clip's copies are the same each time.

    Args:
        windows: those of each clip in dB, ``[windows, mels, frames]``, as ``ears`` hears them.
        recipe: how often a copy has which flaws.
        cache: as in ``window_embeddings``.
        on_done: called with the number of clips that are ready.

    Raises:
        MerError: the cache cannot be written.
    """
    made_by = hashlib.sha256(repr((_VERSION, _COPIES, recipe.flaws)).encode()).hexdigest()
    folder = (cache or embeddings_home()) / f"{ears.key[:16]}-{recipe.eval_windows}-bad-{made_by[:8]}"
    shifts = []
    for clip, of_clip in zip(clips, windows, strict=True):
        target = folder / f"{clip.id}.npy"
        known = read_array(target)
        shifts.append(kept_array(_shifts(ears, clip, of_clip, recipe), target) if known is None else known)
        on_done(len(shifts))
    return shifts


def _shifts(ears: Ears, clip: Clip, windows: Float32, recipe: Recipe) -> Float32:
    rng = np.random.default_rng(list(hashlib.sha256(clip.id.encode()).digest()))
    copies = [bad_copy(window, ears.audio, rng, recipe) for window in windows for _ in range(_COPIES)]
    heard = [log_mel_from_decibels(floored(copy, ears.audio), ears.audio) for copy in (*windows, *copies)]
    features = ears.embed(np.stack(heard)[:, None])
    return features[len(windows) :] - np.repeat(features[: len(windows)], _COPIES, axis=0)
