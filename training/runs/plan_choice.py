"""Which plan suits a data set: tried on inner folds of what is trained on."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ...engine.data.metrics import accuracy_and_macro_f1
from ...engine.errors import MerError
from ..data.examples import Examples
from ..data.splits import Split, splits_from_protocol
from ..evaluate.predictions import Predictions, pooled
from ..plans import Plan
from .observer import Observer
from .plan_check import check_plan
from .run_folder import FinishedRun
from .session import read_examples
from .settings import Session
from .train_run import train_split

FEW, MANY = 50, 1_000
"""Clips of the rarest label: below the first only a head can be fitted, from the second on all layers may be
trained at once."""

_FOLDS = 3
_WORTH = 0.01  # of macro-F1: what a longer training must gain


def with_plan(session: Session, observer: Observer) -> Session:
    """The session with the plan that suits its data best; says why.

    Where the rarest label has ``FEW`` clips or more, the plans are tried on three inner folds, by group, of
    what the session trains on (of a cross-validation, in its first fold): its test clips choose nothing. The
    trials are trainings like others, in folders below ``session.out``. A plan that trains more must be a
    point of macro-F1 better.

    Raises:
        UsageError, MerError: see ``check_plan`` and ``train_split``.
    """
    frozen = dataclasses.replace(session, plan="frozen")
    check_plan(frozen, observer)
    few = min(Counter(clip.label for clip in session.data.clips).values(), default=0)
    if few < FEW:
        observer.say(
            f"plan frozen: the rarest label has {few} clips, and with fewer than {FEW} a linear layer over "
            "the frozen network reads better than a training of its layers"
        )
        return frozen
    plans: tuple[Plan, ...] = ("frozen", "head") if few < MANY else ("frozen", "head", "all")
    scores: dict[Plan, float] = {}
    for plan in plans:
        try:
            scores[plan] = _score(dataclasses.replace(session, plan=plan), observer)
        except MerError as error:
            if plan == "frozen":  # nothing can be compared: too few groups for inner folds
                observer.say(f"plan frozen, untried: {error}")
                return frozen
            observer.say(f"plan {plan} cannot be tried: {error}")
    chosen: Plan = "frozen"
    for plan, score in scores.items():
        if score >= scores[chosen] + _WORTH:
            chosen = plan
    figures = ", ".join(f"{plan} {score:.3f}" for plan, score in scores.items())
    observer.say(f"plan {chosen}: macro-F1 on {_FOLDS} inner folds of what is trained on: {figures}")
    return dataclasses.replace(session, plan=chosen)


def _score(session: Session, observer: Observer) -> float:
    (model,) = session.models
    protocol = session.protocol_of(model)
    examples = read_examples(session, observer)[model]
    kind = session.splits[0]
    outer = splits_from_protocol(examples.clips, protocol, kind, session.folds, examples.recordings)[0]
    job = session.job(model, protocol)
    mode = "overwrite" if session.mode == "fresh" else session.mode
    runs: list[FinishedRun] = [
        train_split(
            job,
            examples,
            split,
            session.out / "plans" / f"{session.plan}-{split.fold}",
            mode,
            observer,
        )
        for split in inner_splits(examples, outer, session)
    ]
    predictions: list[Predictions] = [run.predictions for run in runs if run.predictions]
    everything = pooled(predictions)
    return accuracy_and_macro_f1(everything.truth, everything.by_song().argmax(axis=1))[1]


def inner_splits(examples: Examples, outer: Split, session: Session) -> Sequence[Split]:
    """Folds of the clips that a split trains on, its validation part included.

    Raises:
        MerError: too few clips or groups.
    """
    (model,) = session.models
    inside = [*outer.training.tolist(), *outer.validation.tolist()]
    clips = [examples.clips[i] for i in inside]
    recordings = [examples.recordings[i] for i in inside]
    kind = "grouped" if outer.kind == "given" else outer.kind
    splits = splits_from_protocol(clips, session.protocol_of(model), kind, _FOLDS, recordings)
    places = np.asarray(inside)
    return [
        dataclasses.replace(
            split,
            training=places[split.training],
            validation=places[split.validation],
            test=places[split.test],
        )
        for split in splits
    ]
