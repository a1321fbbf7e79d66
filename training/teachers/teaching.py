"""Trained networks as teachers of a training: none of them knows what the split holds out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.arrays import Float32
from ...engine.artifact import CHECKPOINT
from ...engine.data.clip import HEARD_KEY, Clip, heard_clips, heard_text
from ...engine.errors import MerError, UsageError
from ..data.examples import Examples
from ..data.on_demand import chosen_of
from ..data.splits import Split, split_hash
from ..embeddings.ears import Ears, ears_of
from ..embeddings.embeddings import clip_embeddings
from ..names import name_of
from ..networks.checkpoint import spec_from_checkpoint
from ..networks.trained import trained_network
from .lesson import Lesson, lesson_from_embeddings
from .unlabelled import Unlabelled

_FOLDS = f"fold-*/{CHECKPOINT}"


def check_teachers(sources: Sequence[str], say: Callable[[str], None], final: bool = False) -> None:
    """Opens each once, before anything is computed that a wrong name would waste.

    Args:
        final: whether a network on every clip is taught, which of a cross-validation its final one teaches.

    Raises:
        UsageError, MerError: see ``trained_network``.
    """
    for source in sources:
        if final or not any(Path(source).glob(_FOLDS)):
            trained_network(source, say)


@dataclass(frozen=True)
class Teaching:
    """Teachers, and the music without labels that they speak of.

    Attributes:
        sources: see ``trained_network``. Of a cross-validation's folder, each fold is taught by the network
            of the same fold there; other data, by its final network.
        cache: the folder of embeddings; None is the default one.
        say: told what is computed, in a line.
        words: other labels of that music, by the ids of clips: see ``lesson_from_embeddings``.
        progress: told how many clips there are, it returns what is told how many are ready.
    """

    sources: tuple[str, ...]
    music: Unlabelled = field(default_factory=Unlabelled)
    music_name: str = ""
    cache: Path | None = None
    workers: int = 0
    words: tuple[Mapping[str, str], ...] = ()
    say: Callable[[str], None] = lambda line: None
    progress: Callable[[int], Callable[[int], None]] = lambda total: lambda ready: None
    _opened: dict[str, tuple[Ears, Any]] = field(default_factory=dict, init=False, repr=False)
    _features_of: dict[str, Float32] = field(default_factory=dict, init=False, repr=False)

    def facts(self, examples: Examples, split: Split) -> dict[str, Any]:
        """What a split's lesson is made of, for provenance.

        Raises:
            UsageError: a teacher was trained on what the split holds out, or there is no such teacher.
        """
        usable = self.music.usable(examples, split)
        heads = [sorted(filter(None, {*kind})) for kind in self._words_of(usable)]
        heads = [words for words in heads if len(words) > 1]  # see ``lesson_from_embeddings``
        return {
            "teachers": [
                {"name": name_of(source), "backbone": ears.name, "sha256": ears.key}
                for source, (ears, _) in zip(self.sources, self._chosen(examples, split), strict=True)
            ],
            "unlabelled": {
                "name": self.music_name,
                "clips": len(usable),
                "left_out": len(self.music.clips) - len(usable),
            },
            "unlabelled_clips": heard_text(self.music.clips[i] for i in usable),
            **({"second_heads": heads} if heads else {}),
        }

    def identity(self, examples: Examples, split: Split) -> list[str]:
        """Lines that are equal for equal lessons of the same examples, wherever teachers and music lie.

        Raises:
            UsageError: see ``facts``.
        """
        usable = self.music.usable(examples, split)
        rows = zip((self.music.clips[i].id for i in usable), *self._words_of(usable), strict=True)
        return [
            *(f"teacher:{ears.key}" for ears, _ in self._chosen(examples, split)),
            *sorted(map(json.dumps, rows)),
        ]

    def heard(self, examples: Examples, split: Split) -> set[str]:
        """The clips whose labels are learnt from here, as ``heard_text`` names them.

        They are those with a word, and those that the teachers were trained on.

        Raises:
            UsageError: see ``facts``.
        """
        if not self.sources:
            return set()
        known = (provenance.get(HEARD_KEY) for _, provenance in self._chosen(examples, split))
        music = (self.music.clips[i] for i in self.music.usable(examples, split))
        told = heard_text(clip for clip in music if any(clip.id in kind for kind in self.words))
        return {name for text in (*known, told) if isinstance(text, str) for name in text.split()}

    def lesson(self, examples: Examples, split: Split, balance: bool = False) -> Lesson:
        """What the teachers say of the examples, and of the music that shares nothing with what is held out.

        With ``balance`` they weigh all labels the same.

        Raises:
            UsageError: see ``facts``.
            MerError: a clip that a teacher cannot hear, or a cache that cannot be written.
        """
        parts = [self._features(ears, examples) for ears, _ in self._chosen(examples, split)]
        usable = self.music.usable(examples, split)
        if self.music.clips:
            left = len(self.music.clips) - len(usable)
            why = f"; left out, for their artist or recording is held out: {left}" if left else ""
            self.say(f"clips without a label to learn from: {len(usable)}{why}")
        features, count = np.concatenate(parts, axis=1), len(examples.readable)
        return lesson_from_embeddings(
            features[:count][examples.songs],
            examples.targets,
            [clip.group for clip in examples.clips],
            split.training,
            features[count:][usable],
            chosen_of(self.music.decibels, usable),
            balance,
            self._words_of(usable),
        )

    def _words_of(self, music: Sequence[int]) -> list[list[str | None]]:
        """Of each kind of other labels, those of these clips without a label."""
        words = self.words if self.sources else ()  # without a teacher nobody learns them
        return [[kind.get(self.music.clips[i].id) for i in music] for kind in words]

    def _features(self, ears: Ears, examples: Examples) -> Float32:
        """Of the readable clips, and then of the music, ``[clips, features]``."""
        clips: Sequence[Clip] = (*examples.readable, *self.music.clips)
        if ears.key in self._features_of:  # in another fold
            return self._features_of[ears.key]
        self.say(f"teacher {ears.name}: embeddings of {len(clips)} clips, once")
        results = clip_embeddings(ears, clips, self.cache, self.workers, self.progress(len(clips)))
        vectors: list[Float32] = []
        for clip, result in zip(clips, results, strict=True):
            if isinstance(result, MerError):
                raise MerError(f"the teacher {ears.name} cannot hear {clip.path}: {result}")
            vectors.append(result)
        self._features_of[ears.key] = np.stack(vectors)
        return self._features_of[ears.key]

    def _chosen(self, examples: Examples, split: Split) -> list[tuple[Ears, Any]]:
        """The teachers' networks, with their provenance, that know nothing of what the split holds out."""
        chosen = [self._open(_of_fold(source, split)) for source in self.sources]
        for source, (_, provenance) in zip(self.sources, chosen, strict=True):
            # A network of this very split names among what it heard the clips that chose its epoch.
            own = len(split.test) and _is_of(provenance, examples, split)
            parts = (split.test,) if own else (split.test, split.validation)
            held_out = {examples.clips[i].group for part in parts for i in part}
            heard = {examples.readable[i].group for i in heard_clips(examples.readable, provenance) or ()}
            if heard & held_out:
                raise UsageError(
                    f"the teacher {source} was trained on clips of what is held out here, such as "
                    f"{min(heard & held_out)}: take one that never met them, or the folder of a "
                    "cross-validation with the same folds and the same --validation"
                )
        return chosen

    def _open(self, source: str) -> tuple[Ears, Any]:
        if source not in self._opened:
            trained = trained_network(source, self.say)
            self._opened[source] = ears_of(trained), trained.provenance
        return self._opened[source]


def _of_fold(source: str, split: Split) -> str:
    """The source itself; of a cross-validation's folder, the network that did not hear this test part.

    Where none of its folds has this test part, that is the final one, if it is a stranger to this data.
    """
    checkpoints = sorted(Path(source).glob(_FOLDS))
    if not checkpoints or not len(split.test):
        return source
    for checkpoint in checkpoints:
        if spec_from_checkpoint(checkpoint).provenance.get("split", {}).get("hash") == split.hash:
            return str(checkpoint)
    if Path(source, "final", CHECKPOINT).is_file():
        return source
    raise UsageError(
        f"the teacher {source} has no fold with this test part, and no final network: it was made with other "
        "folds or other data, and without --final"
    )


def _is_of(provenance: Mapping[str, Any], examples: Examples, split: Split) -> bool:
    """Whether a network has this split's test part and its validation part."""
    facts, validation = provenance.get("split", {}), split_hash(examples.clips, split.validation)
    return (facts.get("hash"), facts.get("validation_hash")) == (split.hash, validation)
