"""By how much an embedding moves where the same music is heard from a bad copy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from ...engine.arrays import Float32
from ...engine.audio.decoder import Budget, Limits
from ...engine.audio.open import open_decoder
from ...engine.audio.samples import SampleDecoder
from ...engine.audio.windows import samples_at_own_rate
from ...engine.data.labelled_audio import Clip
from ...engine.errors import AudioError
from ...engine.labelling.file_windows import WindowOptions, log_mels_from_decoder
from ...engine.spec import AudioSpec
from ...engine.spectrogram.log_mel import log_mel_from_decibels
from ..data.augment import bad_copy, floored
from ..data.codecs import FEW_BITS, check_encoders, through_codec
from ..data.spectrogram_cache import before_standardising
from ..recipe import Recipe
from .ears import Ears
from .embeddings import embeddings_home, kept_array, read_array

_COPIES = 4  # of each window
_VERSION = 3  # of how copies are made


def shifts_of_bad_copies(
    ears: Ears,
    clips: Sequence[Clip],
    windows: Iterable[Float32],
    recipe: Recipe,
    cache: Path | None = None,
    on_done: Callable[[int], None] = lambda count: None,
) -> list[Float32]:
    """Each clip's ``[copies, features]``: the embeddings of windows in bad copies, less those of the windows.

    They are kept on disk beside the embeddings. A clip's copies are the same each time. Flaws are made in the
    spectrogram; the share ``codec`` of the copies begins with sound that was encoded with few bits, for real.

    Args:
        windows: those of each clip in dB, ``[windows, mels, frames]``, as ``ears`` hears them.
        recipe: how often a copy has which flaws.
        cache: as in ``window_embeddings``.
        on_done: called with the number of clips that are ready.

    Raises:
        MerError: the cache cannot be written, or PyAV has not the encoders.
    """
    if recipe.codec:
        check_encoders(encoder for encoder, _ in FEW_BITS)
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
    coded = windows
    if recipe.codec:
        windows, coded = _windows_and_coded(clip, windows, ears.audio, recipe.eval_windows, rng)
    copies = [
        bad_copy(few_bits if rng.random() < recipe.codec else window, ears.audio, rng, recipe)
        for window, few_bits in zip(windows, coded, strict=True)
        for _ in range(_COPIES)
    ]
    heard = [log_mel_from_decibels(floored(copy, ears.audio), ears.audio) for copy in (*windows, *copies)]
    features = ears.embed(np.stack(heard)[:, None])
    return features[len(windows) :] - np.repeat(features[: len(windows)], _COPIES, axis=0)


def _windows_and_coded(
    clip: Clip, windows: Float32, spec: AudioSpec, count: int, rng: np.random.Generator
) -> tuple[Float32, Float32]:
    """A clip's windows in dB as labelling hears them, and the same through one of the codecs.

    Where labelling hears other windows in the coded sound (silence that is none there), no codec is heard.
    """
    encoder, bits_a_second = FEW_BITS[rng.integers(len(FEW_BITS))]
    options = WindowOptions(before_standardising(spec), count)
    try:
        with closing(open_decoder(clip.path, Budget(Limits()))) as decoder:
            samples, rate = samples_at_own_rate(decoder), decoder.sample_rate
        coded = through_codec(samples, rate, encoder, bits_a_second)
        coded = np.pad(coded, (0, len(samples) - len(coded)))
        pair = [log_mels_from_decoder(SampleDecoder(each, rate), options) for each in (samples, coded)]
    except AudioError:
        return windows, windows
    if len({(one.facts.starts_s, one.facts.silent_s) for one in pair}) > 1:
        return windows, windows
    plain, few_bits = (np.asarray(one.log_mels)[:, 0] for one in pair)
    return plain, few_bits
