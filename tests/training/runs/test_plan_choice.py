"""The plan that suits the data: a head for a few clips, else what inner folds say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from merkit.engine.data.labelled_audio import labelled_audio
from merkit.engine.errors import MerError, UsageError
from merkit.training.data.examples import Examples
from merkit.training.data.splits import splits_from_protocol
from merkit.training.recipe import PROTOCOLS
from merkit.training.runs import plan_choice
from merkit.training.runs.observer import NoObserver
from merkit.training.runs.plan_choice import inner_splits, with_plan
from merkit.training.runs.settings import Session
from small_training import Trained, fast_job


class _Says(NoObserver):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def session(trained: Trained, songs: Path, cache: Path, tmp_path: Path) -> Session:
    protocol = dataclasses.replace(PROTOCOLS["best"], weights=str(trained.run.folder))
    data = labelled_audio(songs / "clips.csv")  # 20 clips a label
    return Session(data, "generated", ("audiocnn",), protocol, tmp_path, ("grouped",), cache=cache)


def test_a_few_clips_get_a_head_without_a_trial(session: Session):
    says = _Says()
    assert with_plan(session, says).plan == "frozen"
    assert "the rarest label has 20 clips" in says.lines[-1]


@pytest.mark.parametrize(
    ("scores", "plan"),
    [
        ({"frozen": 0.6, "head": 0.605}, "frozen"),  # not worth the time
        ({"frozen": 0.6, "head": 0.65}, "head"),
        ({"frozen": 0.6, "head": None}, "frozen"),  # its training failed
        ({"frozen": None}, "frozen"),  # nothing can be compared
    ],
)
def test_more_is_trained_where_inner_folds_gain_by_it(
    session: Session, scores: dict, plan: str, monkeypatch: pytest.MonkeyPatch
):
    def score(tried: Session, observer) -> float:
        if scores[tried.plan] is None:
            raise MerError("too few groups")
        return scores[tried.plan]

    monkeypatch.setattr(plan_choice, "FEW", 10)
    monkeypatch.setattr(plan_choice, "_score", score)
    says = _Says()
    assert with_plan(session, says).plan == plan
    assert says.lines[-1].startswith(f"plan {plan}")


def test_inner_folds_are_of_what_is_trained_on(session: Session, examples: Examples):
    outer = splits_from_protocol(examples.clips, fast_job().protocol, "grouped", 4)[1]
    splits = inner_splits(examples, outer, session)
    inside = {*outer.training.tolist(), *outer.validation.tolist()}
    assert len(splits) == 3
    assert sorted(np.concatenate([split.test for split in splits]).tolist()) == sorted(inside)
    for split in splits:
        told = {examples.clips[i].group for i in (*split.training, *split.validation)}
        assert not told & {examples.clips[i].group for i in split.test}
        assert inside.issuperset((*split.training, *split.validation))


def test_without_trained_weights_there_is_nothing_to_choose(session: Session):
    protocol = dataclasses.replace(session.protocol, weights="none")
    with pytest.raises(UsageError, match="needs the weights of a network"):
        with_plan(dataclasses.replace(session, protocol=protocol), NoObserver())
