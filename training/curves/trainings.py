"""Macro-F1 on other groups' clips, by how many clips a whole training was given."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...engine.data.clip import Clip, heard_clips
from ...engine.data.labelled_audio import LabelledAudio
from ...engine.errors import UsageError
from ..data.splits import Split, split_hash
from ..networks.backbones import check_weights
from ..networks.trained import trained_network
from ..recipe import PROTOCOLS
from ..runs.observer import NoObserver, Observer
from ..runs.plan_check import check_plan
from ..runs.session import models_from_names, read_examples
from ..runs.settings import Session
from ..runs.train_run import train_split
from .few_clips import Point, draws_by_label, points_from_scores
from .methods import Method


def session_from_method(method: Method, start: str, data: LabelledAudio, name: str, out: Path) -> Session:
    """How a method trains.

    Args:
        start: the trained network to fine-tune, otherwise the backbone.
        name: of the data.
        out: the folder of the trainings; one that is finished there is not repeated.

    Raises:
        UsageError, MerError: no such network; see ``check_unheard`` and ``check_weights`` too.
    """
    if method == "fine-tune":
        check_unheard(start, data.clips)
        models, protocol = (trained_network(start).backbone,), PROTOCOLS["best"]
        protocol = dataclasses.replace(protocol, weights=start)
    else:
        models = models_from_names([start])
        protocol = PROTOCOLS["best" if method == "scratch" else "hindi-2022"]
        if method == "hindi-2022-random":
            recipe = dataclasses.replace(protocol.recipe, layers="all")
            protocol = dataclasses.replace(protocol, weights="none", recipe=recipe)
        check_weights(models, protocol.weights)
    protocol = dataclasses.replace(protocol, validation_share=0.0)  # every clip that is given is learnt from
    plan = "head" if method == "fine-tune" else "all"
    return Session(data, name, models, protocol, out, ("grouped",), mode="resume", plan=plan)


def check_unheard(source: str, clips: Sequence[Clip]) -> str:
    """Whether a trained network may begin a curve on these clips.

    Returns:
        A line where it does not say enough of what it has heard; otherwise "".

    Raises:
        UsageError: it was trained on some of them; or it does not say on what.
        MerError: see ``trained_network``.
    """
    trained = trained_network(source)
    name = Path(source).name
    if not trained.labels:  # published weights
        return ""
    heard = heard_clips(clips, trained.provenance)
    if heard is None:
        raise UsageError(f"{name} does not say what it was trained on: it may have heard these clips")
    if heard:
        raise UsageError(
            f"{name} was trained on {len(heard)} of these {len(clips)} clips: a curve from it would read too "
            "high; take weights that never met them"
        )
    return f"{name} was trained on other clips; whether by the same artists, it does not say"


def curve_by_training(
    session: Session, sizes: Sequence[int], draws: int, observer: Observer
) -> tuple[list[Point], int]:
    """A training for each draw and size, on the same clips as ``curve_by_label``.

    The session's data is that of ``apart_by_recording``. Where this network hears more near copies than that
    does, its draws are others, which is said.

    Returns:
        The curve, and how many clips could not be read.

    Raises:
        UsageError, MerError: see ``curve_by_label``, ``check_plan`` and ``train_split``.
    """
    check_plan(session, observer)
    (model,) = session.models
    examples = read_examples(session, observer)[model]
    clips = examples.clips
    labels, groups = tuple(clip.label for clip in clips), tuple(clip.group for clip in clips)
    if not set(zip((clip.path for clip in clips), groups, strict=True)) <= {
        (clip.path, clip.group) for clip in session.data.clips
    }:
        observer.say(f"{model} hears more near copies than the other methods do: its draws are others")
    job, none = session.job(model, session.protocol_of(model)), np.arange(0)
    found: dict[int, list[float]] = {}
    for number, draw in enumerate(draws_by_label(labels, groups, sizes, draws), start=1):
        for size, given in draw.given.items():
            split = Split("grouped", np.sort(given), none, np.sort(draw.test), split_hash(clips, draw.test))
            folder = session.out / f"draw-{number}-of-{size}"
            run = train_split(job, examples, split, folder, session.mode, NoObserver())
            found.setdefault(size, []).append(run.metrics["macro_f1"])
            observer.say(
                f"{model}, draw {number} of {draws}, {size} clips a label: macro-F1 {found[size][-1]:.3f}"
            )
    return points_from_scores(found), len(examples.skipped)
