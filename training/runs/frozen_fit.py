"""A frozen network with a linear head: fitted on embeddings that are kept on disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from ...engine.arrays import Float32
from ...engine.data.labelled_audio import Clip
from ...engine.errors import MerError
from ..data.augment import spread_crops
from ..data.examples import Examples
from ..data.splits import Split
from ..embeddings.bad_copies import shifts_of_bad_copies
from ..embeddings.ears import Ears, ears_of
from ..embeddings.embeddings import embeddings_home, window_embeddings
from ..embeddings.head import FittedHead, fit_head, logits_from_head
from ..fit.inference import figures_of_clips
from ..fit.trainer import Epoch
from ..networks.frozen import FROZEN_KEY, FrozenNetwork, frozen_facts
from ..networks.trained import trained_network
from ..teachers.unlabelled import Unlabelled
from .observer import Observer
from .provenance import Job

_MOST_MUSIC = 2_000  # clips without a label whose bad copies are made: more take minutes and say the same


@dataclass(frozen=True)
class FrozenFit:
    """A network whose head alone was fitted; ``features`` are each example's, ``[windows, features]``."""

    network: FrozenNetwork
    head: FittedHead
    features: Sequence[Float32]
    history: Epoch

    def logits(self, chosen: np.ndarray) -> list[Float32]:
        """Each chosen example's logits ``[windows, labels]``, as the engine computes them."""
        return logits_from_head(self.head.layer, [self.features[i] for i in chosen])

    @property
    def provenance(self) -> dict[str, Any]:
        """What the network says of how it was made, and what reading it back needs."""
        macro_f1 = self.head.macro_f1 and round(self.head.macro_f1, 4)
        return {
            FROZEN_KEY: frozen_facts(self.network.embedding),
            "head": {"inverse_penalty": self.head.strength, "inner_macro_f1": macro_f1},
        }


def frozen_fit(job: Job, examples: Examples, split: Split, observer: Observer) -> FrozenFit:
    """Fits a head to the embeddings of the training clips, which are computed where they are not kept.

    Raises:
        MerError: see ``window_embeddings``; or a clip cannot be heard.
    """
    recipe = job.protocol.recipe
    trained = trained_network(job.protocol.weights)
    ears = ears_of(trained, job.protocol.audio, with_middle=True, with_hidden=True)
    features = _features(ears, examples.clips, job, recipe.eval_windows, observer)
    training = [examples.clips[i] for i in split.training]
    heard = [features[i] for i in split.training]
    learnt_from = heard
    if recipe.train_windows:
        learnt_from = _features(ears, training, job, recipe.train_windows, observer)
    shifts = _shifts(ears, job, examples, split, observer) if any(recipe.flaws) else []
    began = perf_counter()
    head = fit_head(learnt_from, training, examples.labels, recipe.balance, shifts, recipe.guard, heard)
    observer.say(f"head: fitted to {len(split.training)} clips in {perf_counter() - began:.1f} s")
    network = FrozenNetwork(ears.embedding.to("cpu"), head.layer)

    def figures(part: np.ndarray) -> tuple[float, float, float]:
        logits = logits_from_head(head.layer, [features[i] for i in part])
        return figures_of_clips(logits, examples.targets[part], head.temperature)

    (loss, accuracy, _), validation = figures(split.training), figures(split.validation)
    history = Epoch(1, loss, accuracy, *validation, perf_counter() - began)
    return FrozenFit(network.eval(), head, features, history)


def _features(ears: Ears, clips: Sequence[Clip], job: Job, windows: int, observer: Observer) -> list[Float32]:
    """Each clip's embeddings ``[windows, features]``.

    Raises:
        MerError: see ``frozen_fit``.
    """
    results = window_embeddings(ears, clips, job.cache, job.workers, observer.cached(len(clips)), windows)
    features: list[Float32] = []
    for clip, result in zip(clips, results, strict=True):
        if isinstance(result, MerError):  # it could be heard when the spectrograms were made
            raise MerError(f"{clip.path}: {result}")
        features.append(result)
    return features


def _shifts(ears: Ears, job: Job, examples: Examples, split: Split, observer: Observer) -> list[Float32]:
    """By how much bad copies move each training clip, then music without a label: that needs none."""
    recipe, music = job.protocol.recipe, job.teaching.music if job.teaching else Unlabelled()
    usable = music.usable(examples, split)
    usable = usable[:: max(1, math.ceil(len(usable) / _MOST_MUSIC))]
    # Of a clip without a label other windows are heard than of one with: what is kept of the two lies apart.
    cache = job.cache or embeddings_home()
    training = [examples.clips[i] for i in split.training], (examples.windows[i] for i in split.training)
    others = (
        [music.clips[i] for i in usable],
        (spread_crops(music.decibels[i], ears.audio, recipe.eval_windows) for i in usable),
    )
    return [
        shift
        for (clips, windows), folder in ((training, cache), (others, cache / "unlabelled"))
        if clips
        for shift in shifts_of_bad_copies(ears, clips, windows, recipe, folder, observer.cached(len(clips)))
    ]
