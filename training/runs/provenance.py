"""What a network says of where it comes from: its job, its data, what stands on both sides of its split."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...engine.backbone_names import backbone_from_name
from ...engine.data.labelled_audio import clip_names, heard_text
from ..data.examples import Examples
from ..data.sides import shared_sound
from ..data.splits import Split, group_too_large, split_hash
from ..evaluate.predictions import Predictions
from ..names import name_of
from ..networks.musicnn_weights import NOTICE
from ..networks.trained import names_trained_network
from ..plans import Plan
from ..recipe import Protocol, Recipe
from ..teachers.teaching import Teaching


@dataclass(frozen=True)
class Job:
    """What to train and how, and by which teachers.

    Attributes:
        data_name, licence: for the model card.
        plan: what of a network that was trained before is trained.
        plan_note: how that was chosen; "" where it was asked for.
        heard_before: the clips that those weights were trained on, as ``heard_text`` names them.
        notice: of the authors of the weights that it begins with.
        cache, workers: see ``window_embeddings``.
    """

    model: str
    protocol: Protocol
    data_name: str
    teaching: Teaching | None = None
    licence: str = "not stated; the music's own terms bind whoever passes the network on"
    plan: Plan = "all"
    plan_note: str = ""
    notice: str = ""
    heard_before: str = ""
    cache: Path | None = None
    workers: int = 0

    def recipe_on(self, split: Split) -> Recipe:
        """The protocol's; without validation there is no best epoch to choose."""
        recipe = self.protocol.recipe
        return recipe if len(split.validation) else dataclasses.replace(recipe, keep="last", patience=0)


def run_provenance(job: Job, examples: Examples, split: Split, tags: Sequence[str]) -> dict[str, Any]:
    """What a network says of its training, but for metrics; ``tags`` are those that were learnt."""
    trained_on = _trained_on(examples, split)
    is_musicnn = backbone_from_name(job.model) == "musicnn" and job.protocol.weights != "none"
    heard = {*heard_text(examples.readable[song] for song in trained_on).split(), *job.heard_before.split()}
    heard |= job.teaching.heard(examples, split) if job.teaching else set()
    notice = job.notice or (NOTICE if is_musicnn else "")
    shared, validation = shared_sound(examples, split), split_hash(examples.clips, split.validation)
    return {
        "protocol": job.protocol.name,
        "recipe": dataclasses.asdict(job.recipe_on(split)),
        "weights": name_of(job.protocol.weights),
        "data": {
            "name": job.data_name,
            "clips": len(examples.readable),
            "labels": examples.counts(),
            "tags": tags,
            "grouped_by": examples.grouped_by,
            "skipped": len(examples.skipped),
            "near_copies": sum(len(songs) - 1 for songs in examples.copies),
        },
        "split": {
            "kind": split.kind,
            "hash": split.hash,
            **({"validation_hash": validation} if len(split.validation) else {}),
            "note": split_note(examples, split, job.protocol),
            "shared": {"files": shared.files, "near_copies": shared.near_copies, "groups": shared.groups},
            "seed": job.protocol.split_seed,
            "training": len(split.training),
            "validation": len(split.validation),
            "test": len(split.test),
            "fold": split.fold,
            "folds": split.folds,
        },
        "test_clips": clip_names(examples.readable[song] for song in new_songs(job, examples, split)),
        "heard_clips": " ".join(sorted(heard)),
        "licence": job.licence,
        **({"notice": notice} if notice else {}),
        **({"plan": job.plan} if names_trained_network(job.protocol.weights) else {}),
        **({"plan_choice": job.plan_note} if job.plan_note else {}),
        "software": {name: version(name) for name in ("merkit", "torch", "numpy")},
    }


def songs_heard_before(job: Job, examples: Examples, songs: Iterable[int]) -> set[int]:
    """Those of the songs that the weights to begin with were trained on."""
    before = set(job.heard_before.split())
    return {song for song in songs if heard_text([examples.readable[song]]) in before}


def new_songs(job: Job, examples: Examples, split: Split) -> set[int]:
    """The songs of a test part that neither its network was trained on nor the weights to begin with.

    Of a split at random over sub-clips, pieces of the others are trained on.
    """
    tested = {int(examples.songs[i]) for i in split.test} - _trained_on(examples, split)
    return tested - songs_heard_before(job, examples, tested)


def only_new(job: Job, examples: Examples, splits: Sequence[Split], predictions: Predictions) -> Predictions:
    """Those of ``new_songs``."""
    new = {examples.readable[song].id for split in splits for song in new_songs(job, examples, split)}
    return predictions.chosen([i for i, identity in enumerate(predictions.ids) if identity in new])


def _trained_on(examples: Examples, split: Split) -> set[int]:
    return {int(examples.songs[i]) for part in (split.training, split.validation) for i in part}


def split_note(examples: Examples, split: Split, protocol: Protocol) -> str:
    """What kind of split it is in truth, and what stands on both sides of it.

    Raises:
        RuntimeError: something stands on both sides of a grouped split, which is a bug.
    """
    fold = f"; fold {split.fold} of {split.folds}" if split.folds else ""
    if not len(split.test):
        return "none: trained on every clip" + fold
    shared = shared_sound(examples, split)
    said = shared.sentence(examples.grouped_by)
    if split.kind == "grouped":
        if not shared.nothing:
            raise RuntimeError(f"a split grouped by {examples.grouped_by} is none: {said}")
        note = f"grouped by {examples.grouped_by}: none stands on both sides"
        large = "" if split.folds else group_too_large(examples.clips, split, protocol.test_share)
        note += f"; {large}" if large else ""
    elif split.kind == "given":
        parts = {clip.part for clip in examples.clips}
        own = "as the data gives it" + (
            "" if "test" in parts else ", the test part cut from its training part"
        )
        note = f"{own}: {said}"
    else:
        kind = "random, stratified by label" if protocol.name == "best" else "random, as the papers made it"
        kind += f", drawn {split.drawn} times until each part had every label" if split.drawn > 1 else ""
        kind += " over sub-clips" if protocol.sub_clips else ""
        note = f"{kind}: {said}"
    return note + fold
