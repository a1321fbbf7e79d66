"""Which plan suits a data set: tried on inner folds of what is trained on."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...engine.data.metrics import accuracy_and_macro_f1
from ...engine.errors import MerError, UsageError
from ...engine.spec import AudioSpec
from ..data.examples import Examples
from ..data.splits import Split, splits_from_protocol
from ..evaluate.predictions import Predictions, pooled
from ..fit.trainer import DivergedError
from ..plans import FOR_FEW_CLIPS, Plan
from .observer import NoObserver, Observer
from .plan_check import check_session
from .run_folder import FinishedRun
from .session import begin, read_examples
from .settings import Session
from .split_kinds import kinds_of_split
from .train_run import train_split

FEW, MANY = 50, 1_000
"""Clips of the rarest label: below the first only a head can be fitted, from the second on all layers may be
trained at once."""

_FOLDS = 3
_WORTH = 0.01  # of macro-F1: what a longer training must gain


def with_plan(session: Session, observer: Observer) -> Session:
    """The session with the plan that suits its data best; says why.

    Where the rarest label has ``FEW`` clips or more, the plans are tried on three inner folds, by group, of
    what a network is trained on: the clips that test it choose nothing. So each fold of a cross-validation
    chooses for itself, and so does the network on every clip after it. The trials are trainings like others,
    in folders below ``session.out``. A plan that trains more must be a point of macro-F1 better.

    Raises:
        UsageError, MerError: see ``begin`` and ``train_split``.
    """
    # What there is to say, the session that is returned says when it begins itself.
    frozen = begin(dataclasses.replace(session, plan="frozen"), NoObserver())
    session = dataclasses.replace(session, mode=frozen.mode)
    if (few := _of_rarest(session)) < FEW:
        return _settled(
            frozen,
            f"frozen: the rarest label has {few} clip{'s' * (few != 1)}, and with fewer than {FEW} a linear "
            "layer over the frozen network reads better than a training of its layers",
            observer,
        )
    if len(kinds_of_split(session)) > 1:
        return _settled(
            frozen, "frozen, untried: what one of two kinds of split trains on, the other tests", observer
        )
    more: tuple[Plan, ...] = ("head",) if few < MANY else ("head", "all")
    possible = _possible(session, more, observer)
    if not possible:
        return _settled(frozen, "frozen: no other plan can be tried", observer)
    trial = _Trial(session, ("frozen", *possible), observer)
    if not session.folds:
        return trial.chosen(0)
    of_folds = [trial.chosen(fold) for fold in range(1, session.folds + 1)]
    last = trial.chosen(None) if session.final else of_folds[0]
    return dataclasses.replace(session, plan=last.plan, plan_note=last.plan_note, of_folds=tuple(of_folds))


def note_on_random_weights(session: Session) -> str:
    """A line that names better weights where our recipe has random ones and few clips; "" elsewhere."""
    protocol, few = session.protocol, _of_rarest(session)
    is_from_nothing = (protocol.name, protocol.weights, session.plan) == ("best", "none", "all")
    if not is_from_nothing or session.teachers or few >= FEW:
        return ""
    return (
        f"the network begins with random weights, and there are few clips of the rarest label ({few}): "
        f"below {FEW} a head on a trained network reads better: --weights {FOR_FEW_CLIPS}"
    )


def _of_rarest(session: Session) -> int:
    return min(Counter(clip.label for clip in session.data.clips).values(), default=0)


def _possible(session: Session, plans: Sequence[Plan], observer: Observer) -> list[Plan]:
    """Those that the weights and what is to be learnt from allow; says why one is not."""
    possible: list[Plan] = []
    for plan in plans:
        try:
            check_session(dataclasses.replace(session, plan=plan), NoObserver())
            possible.append(plan)
        except UsageError as error:
            observer.say(f"plan {plan} cannot be tried: {error}")
    return possible


@dataclass(frozen=True)
class _Trial:
    """What is tried, and the clips as the plans' networks hear them, which are read and reported once."""

    session: Session
    plans: Sequence[Plan]
    observer: Observer
    heard: dict[tuple[AudioSpec, int], Examples] = field(default_factory=dict)

    def chosen(self, fold: int | None) -> Session:
        """The session with the plan that reads best on what a network trains on.

        Args:
            fold: of a cross-validation, from 1 on; 0 is the one held-out part, None every clip.
        """
        of = "every clip" if fold is None else f"what fold {fold} trains on" if fold else "what is trained on"
        scores: dict[Plan, float] = {}
        for plan in self.plans:
            own = dataclasses.replace(self.session, plan=plan)
            examples = self._examples(own)
            try:
                splits = inner_splits(examples, _outer_split(own, examples, fold), own)
            except MerError as error:
                if plan == "frozen":  # nothing can be compared: too few groups for inner folds
                    return _settled(own, f"frozen, untried on {of}: {error}", self.observer)
                self.observer.say(f"plan {plan} cannot be tried: {error}")
                continue
            # Any other error would stop the next training too.
            try:
                scores[plan] = _score(own, examples, splits, fold, self.observer)
            except DivergedError as error:
                self.observer.say(f"plan {plan} is not taken: {error}")
        chosen: Plan = "frozen"
        for plan, score in scores.items():
            if score >= scores[chosen] + _WORTH:
                chosen = plan
        figures = ", ".join(f"{plan} {score:.3f}" for plan, score in scores.items())
        note = f"{chosen}, by macro-F1 on {_FOLDS} inner folds of {of}: {figures}"
        return _settled(dataclasses.replace(self.session, plan=chosen), note, self.observer)

    def _examples(self, session: Session) -> Examples:
        (model,) = session.models
        protocol = session.protocol_of(model)
        sound = protocol.audio, protocol.recipe.eval_windows
        if sound not in self.heard:
            self.heard[sound] = read_examples(session, self.observer)[model]
        return self.heard[sound]


def _settled(session: Session, note: str, observer: Observer) -> Session:
    observer.say(f"plan {note}")
    return dataclasses.replace(session, plan_note=note)


def _outer_split(session: Session, examples: Examples, fold: int | None) -> Split:
    """What a network trains on, and what tests it; see ``_Trial.chosen`` of ``fold``."""
    (kind,) = kinds_of_split(session)
    if fold is None:
        every, none = np.arange(len(examples.clips)), np.arange(0)
        return Split(kind, every, none, none, "")
    (model,) = session.models
    protocol = session.protocol_of(model)
    splits = splits_from_protocol(examples.clips, protocol, kind, session.folds, examples.recordings)
    return splits[max(fold - 1, 0)]


def _score(
    session: Session, examples: Examples, splits: Sequence[Split], fold: int | None, observer: Observer
) -> float:
    """The macro-F1 of a plan over these splits, pooled."""
    (model,) = session.models
    job = session.job(model, session.protocol_of(model))
    mode = "overwrite" if session.mode == "fresh" else session.mode
    place = session.out / "plans" / ("all" if fold is None else f"fold-{fold}" if fold else "")
    runs: list[FinishedRun] = [
        train_split(job, examples, split, place / f"{session.plan}-{split.fold}", mode, observer)
        for split in splits
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
