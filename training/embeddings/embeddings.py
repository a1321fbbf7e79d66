"""The embeddings of clips, computed once for each sound and each network, and kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ...engine.arrays import Float32
from ...engine.artifact import models_home
from ...engine.audio.decoder import Limits
from ...engine.data.labelled_audio import Clip
from ...engine.errors import MerError, os_errors_say
from ...engine.files import whole_file
from ...engine.labelling.file_windows import FileLogMels, WindowOptions, log_mels_from_file
from ...engine.labelling.worker_pool import Failure, WorkerPool
from ..data.spectrogram_cache import clip_ids, reason_not_written
from .ears import Ears, ears_from_source

WINDOWS = 3
"""Windows of a clip that are heard, spread evenly: those of labelling."""


def embeddings_home() -> Path:
    """The default folder of embeddings: ``$MER_HOME/embeddings``."""
    return models_home().parent / "embeddings"


def clip_embeddings(
    source: str | Ears,
    clips: Sequence[Clip],
    cache: Path | None = None,
    workers: int = 0,
    on_done: Callable[[int], None] = lambda count: None,
) -> list[Float32 | MerError]:
    """One vector ``[features]`` a clip, the mean over its windows; see ``window_embeddings``."""
    by_window = window_embeddings(source, clips, cache, workers, on_done)
    return [item if isinstance(item, MerError) else item.mean(axis=0) for item in by_window]


def window_embeddings(
    source: str | Ears,
    clips: Sequence[Clip],
    cache: Path | None = None,
    workers: int = 0,
    on_done: Callable[[int], None] = lambda count: None,
    windows: int = WINDOWS,
) -> list[Float32 | MerError]:
    """Each clip's windows as a trained network hears them, float32 ``[windows, features]``.

    The windows and their log-mels are the engine's own, so that an export hears the same. In place of a file
    that labelling refuses there is an error with its reason. What was computed is found again by the clip's
    bytes and the network's weights; a run that was interrupted goes on where it was.

    Args:
        source: what ``trained_network`` reads, or ears that were opened before.
        cache: a folder; None is ``embeddings_home()``.
        workers: child processes that decode; 0 is one a core.
        on_done: called with the number of clips that are ready.
        windows: of a clip, spread evenly, as labelling hears them.

    Raises:
        UsageError: see ``trained_network``.
        MerError: that too; or the cache cannot be written.
    """
    ears = ears_from_source(source) if isinstance(source, str) else source
    folder = (cache or embeddings_home()) / f"{ears.key[:16]}-{windows}"
    with os_errors_say(f"the cache {folder} cannot be made"):
        folder.mkdir(parents=True, exist_ok=True)
    results: dict[int, Float32 | MerError] = {}
    missing: dict[Path, list[int]] = {}  # clips with the same bytes share a file of the cache
    for position, identity in enumerate(clip_ids(clips)):
        if isinstance(identity, MerError):
            results[position] = identity
            continue
        target = folder / f"{identity}.npy"
        known = read_array(target)
        if known is None:
            missing.setdefault(target, []).append(position)
        else:
            results[position] = known
    on_done(len(results))
    jobs = [(str(clips[positions[0]].path), target) for target, positions in missing.items()]
    if jobs:
        with WorkerPool(_log_mels, WindowOptions(ears.audio, windows), workers, Limits().seconds) as pool:
            for number, result in pool.map([path for path, _ in jobs]):
                target = jobs[number][1]
                made = (
                    MerError(result.reason)
                    if isinstance(result, Failure)
                    else kept_array(ears.embed(result), target)
                )
                results |= dict.fromkeys(missing[target], made)
                on_done(len(results))
    return [results[position] for position in range(len(clips))]


def _log_mels(path: str, options: WindowOptions) -> Float32:
    """In a child process: a file's windows that sound."""
    file: FileLogMels = log_mels_from_file(path, options)
    return np.asarray(file.log_mels)


def kept_array(features: Float32, target: Path) -> Float32:
    """The array, once it is written to the cache: whole or not at all, its folder made where it is missing.

    Raises:
        MerError: it cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as file:
            np.save(file, features)
    except OSError as error:
        reason = reason_not_written(error)
        raise MerError(f"the cache {target.parent} cannot be written: {reason}") from None
    return features


def read_array(target: Path) -> Float32 | None:
    """float32 ``[rows, features]``; None where the file is missing or damaged: it is then computed."""
    try:
        features = np.load(target, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return features if features.dtype == np.float32 and features.ndim == 2 and len(features) else None
