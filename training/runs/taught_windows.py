"""Windows of music without labels, and what a teacher hears in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...engine.arrays import Float32
from ...engine.data.clip import Clip
from ...engine.errors import MerError
from ...engine.spec import AudioSpec
from ...engine.spectrogram.log_mel import log_mel_from_decibels
from ..data.augment import crop, floored, spread_crops
from ..data.examples import standardised
from ..data.on_demand import OnDemand
from ..data.spectrogram_cache import ClipSound, cached_sounds
from ..embeddings.ears import Ears
from ..embeddings.embeddings import embeddings_home, kept_array, read_array
from ..teachers.teaching import Teaching

_EVERY_S = 1.0  # between the windows that the teacher hears
_MOST = 24  # of them in a clip
_DIRECTIONS = 128  # of what it hears that are learnt
_ROWS = 20_000  # windows that these directions are fitted to


@dataclass(frozen=True)
class TaughtWindows:
    """Clips ``[mels, frames]`` in dB, and of each the starts of windows and what is to be heard there.

    ``wanted`` are ``[windows, directions]`` with a deviation of 1; a direction's error counts by ``weights``.
    ``audio`` is the network's, standardised on these clips.
    """

    decibels: Sequence[Float32]
    starts: Sequence[np.ndarray]
    wanted: Sequence[Float32]
    weights: Float32
    audio: AudioSpec


def _starts(frames: int, audio: AudioSpec) -> np.ndarray:
    """Where windows of a clip begin, in its frames."""
    last = max(0, frames - audio.frames)
    step = _EVERY_S * audio.sample_rate / audio.hop_length
    return np.linspace(0, last, min(_MOST, 1 + int(last / step))).round().astype(np.intp)


def taught_windows(
    ears: Ears,
    audio: AudioSpec,
    clips: Sequence[Clip],
    decibels: Sequence[Float32],
    cache: Path,
    teaching: Teaching,
) -> TaughtWindows:
    """The windows of these clips; what a teacher hears is kept with the embeddings.

    Args:
        ears: the teacher's.
        audio: the network's.
        decibels: the clips as the network hears them.
        cache: the folder of spectrograms.

    Raises:
        MerError: a clip that the teacher cannot hear, or a cache that cannot be written.
    """
    ready = teaching.progress(len(clips))
    sounds = cached_sounds(clips, ears.audio, 1, cache, teaching.workers, ready)
    starts = [_starts(spectrogram.shape[1], audio) for spectrogram in decibels]
    folder = (teaching.cache or embeddings_home()) / f"{ears.key[:16]}-{audio.fingerprint[:16]}"
    heard = teaching.progress(len(clips))
    places: list[Path] = []
    for clip, sound, begins in zip(clips, sounds, starts, strict=True):
        if isinstance(sound, MerError):
            raise MerError(f"the teacher {ears.name} cannot hear {clip.path}: {sound}")
        places.append(folder / f"{clip.id}.npy")
        known = read_array(places[-1])
        if known is None or len(known) != len(begins):
            kept_array(_heard(ears, sound, audio, begins), places[-1])
        heard(len(places))
    features = OnDemand(partial(np.load, place) for place in places)
    wanted, weights = _directions(features)
    first = (floored(crop(spectrogram, audio, 0), audio)[None] for spectrogram in decibels)
    return TaughtWindows(decibels, starts, wanted, weights, standardised(audio, first))


def _heard(ears: Ears, sound: ClipSound, audio: AudioSpec, starts: np.ndarray) -> Float32:
    """The teacher's embeddings of the windows that the network hears, ``[windows, features]``."""
    spec, decibels = ears.audio, sound.decibels()
    second = spec.sample_rate / spec.hop_length
    frames = round(audio.window_s * second)
    count = max(1, round(audio.window_s / spec.window_s))
    places = np.minimum(
        (starts * (audio.hop_length / audio.sample_rate * second)).round(),
        max(0, decibels.shape[1] - frames),
    ).astype(int)
    windows = [spread_crops(crop(decibels, spec, int(place), frames), spec, count) for place in places]
    log_mels = [log_mel_from_decibels(window, spec) for group in windows for window in group]
    embedded = ears.embed(np.stack(log_mels)[:, None])
    ends = np.cumsum([len(group) for group in windows])
    return np.stack([part.mean(axis=0) for part in np.split(embedded, ends[:-1])])


def _directions(features: Sequence[Float32]) -> tuple[list[Float32], Float32]:
    """The main directions of embeddings, each with a deviation of 1, and how much each counts."""
    rows = np.concatenate([*features]) if sum(map(len, features)) <= _ROWS else _sample(features)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    scaled = (rows - mean) / deviation
    powers, directions = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    best = np.argsort(-powers)[: min(_DIRECTIONS, len(rows) - 1, len(powers))]
    lengths = np.sqrt(np.maximum(powers[best], 1e-6))
    to_wanted = directions[:, best] / lengths
    wanted = [((part - mean) / deviation @ to_wanted).astype(np.float32) for part in features]
    return wanted, (lengths / lengths.mean()).astype(np.float32)


def _sample(features: Sequence[Float32]) -> Float32:
    """As many rows of each clip as together are about ``_ROWS``."""
    rng, each = np.random.default_rng(0), max(1, _ROWS // len(features))
    return np.concatenate([part[rng.permutation(len(part))[:each]] for part in features])
