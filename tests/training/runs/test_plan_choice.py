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
from merkit.training.embeddings import embeddings
from merkit.training.evaluate.predictions import Predictions
from merkit.training.fit.trainer import DivergedError
from merkit.training.plans import Plan
from merkit.training.recipe import PROTOCOLS
from merkit.training.runs import plan_choice
from merkit.training.runs.observer import NoObserver
from merkit.training.runs.plan_choice import inner_splits, note_on_random_weights, with_plan
from merkit.training.runs.run_folder import METRICS, FinishedRun, prepare_folder
from merkit.training.runs.session import read_examples, run_session
from merkit.training.runs.settings import Session
from pool_here import pool_here
from small_training import Says, Trained, fast_job


@pytest.fixture
def session(trained: Trained, songs: Path, cache: Path, tmp_path: Path) -> Session:
    protocol = dataclasses.replace(PROTOCOLS["best"], weights=str(trained.run.folder))
    data = labelled_audio(songs / "clips.csv")  # 20 clips a label
    return Session(data, "generated", ("audiocnn",), protocol, tmp_path, ("grouped",), cache=cache)


def test_a_few_clips_get_a_head_without_a_trial(session: Session):
    says = Says()
    assert with_plan(dataclasses.replace(session, chosen=frozenset(("loss",))), says).plan == "frozen"
    (line,) = says.lines  # what is not used is said by the session that is returned
    assert "the rarest label has 20 clips" in line


def test_few_clips_for_random_weights_are_told_of_trained_ones(
    session: Session, monkeypatch: pytest.MonkeyPatch
):
    random = dataclasses.replace(session, protocol=PROTOCOLS["best"], plan="all")
    note = note_on_random_weights(random)
    assert "few clips of the rarest label (20)" in note
    assert note.endswith("--weights accurate")
    paper = dataclasses.replace(random, protocol=PROTOCOLS["icm-2020"])
    taught = dataclasses.replace(random, teachers=("audioset",))
    head = dataclasses.replace(random, plan="head")
    assert [note_on_random_weights(each) for each in (session, paper, taught, head)] == [""] * 4
    monkeypatch.setattr(plan_choice, "FEW", 20)
    assert note_on_random_weights(random) == ""


@pytest.mark.parametrize(
    ("scores", "plan"),
    [
        ({"frozen": 0.6, "head": 0.605}, "frozen"),  # not worth the time
        ({"frozen": 0.6, "head": 0.65}, "head"),
        ({"frozen": 0.6, "head": None}, "frozen"),  # too few groups as its network hears the clips
        ({"frozen": None}, "frozen"),  # nothing can be compared
    ],
)
def test_more_is_trained_where_inner_folds_gain_by_it(
    session: Session, scores: dict, plan: str, monkeypatch: pytest.MonkeyPatch
):
    def split(examples, outer, tried: Session):
        if scores[tried.plan] is None:
            raise MerError("too few groups")
        return ()

    monkeypatch.setattr(plan_choice, "FEW", 10)
    monkeypatch.setattr(plan_choice, "inner_splits", split)
    monkeypatch.setattr(plan_choice, "_score", lambda tried, *_: scores[tried.plan])
    says = Says()
    assert with_plan(session, says).plan == plan
    assert says.lines[-1].startswith(f"plan {plan}")


def test_a_plan_that_cannot_be_trained_with_what_is_given_is_not_tried(
    session: Session, songs: Path, monkeypatch: pytest.MonkeyPatch
):
    """Music without labels serves a frozen network, and without a teacher no other; no fold takes another."""
    monkeypatch.setattr(plan_choice, "FEW", 10)
    monkeypatch.setattr(plan_choice, "_score", lambda tried, *_: {"frozen": 0.1, "head": 0.9}[tried.plan])
    why = "plan head cannot be tried: music without labels teaches nothing by itself: name a teacher"
    for given in ({"unlabelled": (songs,)}, {"second": (songs,)}):
        chosen = with_plan(dataclasses.replace(session, folds=2, **given), says := Says())
        assert (chosen.plan, {fold.plan for fold in chosen.of_folds} <= {"frozen"}) == ("frozen", True)
        assert [why in line for line in says.lines] == [True, False]
    recipe = dataclasses.replace(session.protocol.recipe, distill=0.5)
    taught = dataclasses.replace(session, protocol=dataclasses.replace(session.protocol, recipe=recipe))
    with pytest.raises(UsageError, match="distill: there is no teacher to learn that from"):
        with_plan(taught, NoObserver())
    with pytest.raises(MerError, match="nowhere does not exist"):
        with_plan(dataclasses.replace(session, unlabelled=(Path("nowhere"),)), NoObserver())


def test_folds_that_were_stopped_are_not_tried_anew(session: Session, monkeypatch: pytest.MonkeyPatch):
    """They are refused before the trials; with --overwrite nothing of theirs is left beside the new ones."""
    tried: list[Path] = []

    def score(tested: Session, *_: object) -> float:
        tried.append(tested.out)
        return 0.5

    monkeypatch.setattr(plan_choice, "FEW", 10)
    monkeypatch.setattr(plan_choice, "_score", score)
    folds = dataclasses.replace(session, folds=2)
    runs = [session.out / name for name in ("plans/fold-1/head-1", "plans/fold-2/head-3", "fold-1")]
    for run in runs:
        prepare_folder(run, "old", "fresh")
        (run / METRICS).write_text("{}")
    with pytest.raises(UsageError, match="holds a training; resume it, or overwrite it"):
        with_plan(folds, NoObserver())
    assert not tried
    assert with_plan(dataclasses.replace(folds, mode="overwrite"), NoObserver()).mode == "fresh"
    assert tried
    assert not any(run.exists() for run in runs)


def test_only_a_training_that_diverges_says_something_of_its_plan(
    session: Session, monkeypatch: pytest.MonkeyPatch
):
    """A full disk, or a clip that went, is no reason to settle on another plan."""
    raised: MerError = DivergedError("the loss is not finite")

    def train(job, heard: Examples, split, folder: Path, *_) -> FinishedRun:
        if job.plan == "head":
            raise raised
        truth, ids = heard.targets[split.test], tuple(heard.clips[i].id for i in split.test)
        logits = tuple(np.eye(2, dtype=np.float32)[[i]] for i in truth)
        return FinishedRun(folder, {}, (), Predictions(ids, ids, truth, logits, ids, heard.labels))

    monkeypatch.setattr(plan_choice, "FEW", 10)
    monkeypatch.setattr(plan_choice, "train_split", train)
    says = Says()
    assert with_plan(session, says).plan == "frozen"
    assert "plan head is not taken: the loss is not finite" in says.lines
    raised = MerError("the folder cannot be used")
    with pytest.raises(MerError, match="the folder cannot be used"):
        with_plan(session, NoObserver())


def test_the_clips_are_read_and_reported_once(session: Session, monkeypatch: pytest.MonkeyPatch):
    read: list[str] = []

    def counted(own: Session, observer) -> dict[str, Examples]:
        read.append(own.plan)
        return read_examples(own, observer)

    monkeypatch.setattr(plan_choice, "FEW", 10)
    monkeypatch.setattr(plan_choice, "read_examples", counted)
    monkeypatch.setattr(plan_choice, "_score", lambda *_: 0.5)
    with_plan(dataclasses.replace(session, folds=3, final=True), NoObserver())
    assert read == ["frozen"]  # both plans hear the same


def test_no_fold_chooses_by_the_clips_that_test_it(
    session: Session, examples: Examples, monkeypatch: pytest.MonkeyPatch
):
    """The trials are told apart by their folders; those of ``head`` are right in the second fold alone."""
    seen: dict[str, set[str]] = {}

    def train(job, heard: Examples, split, folder: Path, *_) -> FinishedRun:
        fold, plan = folder.parent.name, folder.name.partition("-")[0]
        parts = (*split.training, *split.validation, *split.test)
        seen.setdefault(fold, set()).update(heard.clips[i].id for i in parts)
        truth, ids = heard.targets[split.test], tuple(heard.clips[i].id for i in split.test)
        said = truth if plan == ("head" if fold == "fold-2" else "frozen") else 1 - truth
        logits = tuple(9 * np.eye(2, dtype=np.float32)[[i]] for i in said)
        return FinishedRun(folder, {}, (), Predictions(ids, ids, truth, logits, ids, heard.labels))

    monkeypatch.setattr(plan_choice, "FEW", 10)
    monkeypatch.setattr(plan_choice, "train_split", train)
    says = Says()
    chosen = with_plan(dataclasses.replace(session, folds=4, final=True), says)
    assert [fold.plan for fold in chosen.of_folds] == ["frozen", "head", "frozen", "frozen"]
    assert chosen.plan == "frozen"  # of the network on every clip
    assert "head, by macro-F1 on 3 inner folds of what fold 2 trains on: frozen 0.000, head 1.000" in (
        chosen.of_folds[1].plan_note
    )
    tested = {}
    for fold, own in enumerate(chosen.of_folds, start=1):
        (model,) = own.models
        protocol = own.protocol_of(model)
        heard = read_examples(own, NoObserver())[model]
        split = splits_from_protocol(heard.clips, protocol, "grouped", 4, heard.recordings)[fold - 1]
        tested[fold] = {heard.clips[i].id for i in split.test}
        assert not tested[fold] & seen[f"fold-{fold}"]
    assert set().union(*tested.values()) == seen["all"] == {clip.id for clip in examples.clips}


def test_folds_of_different_plans_test_each_clip_once(session: Session, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embeddings, "WorkerPool", pool_here())
    recipe = dataclasses.replace(session.protocol.recipe, epochs=1)
    protocol = dataclasses.replace(session.protocol, recipe=recipe)
    plain = dataclasses.replace(session, protocol=protocol, folds=2, export=False, plan="frozen")
    plans: tuple[Plan, ...] = ("frozen", "head")
    of_folds = tuple(dataclasses.replace(plain, plan=plan, plan_note=f"{plan}, as tried") for plan in plans)
    says = Says()
    (run,), _ = run_session(dataclasses.replace(of_folds[0], of_folds=of_folds), says)
    assert (run.metrics["songs"], run.metrics["plan_by_fold"]) == (40, ["frozen", "head"])
    for number, plan in enumerate(plans, start=1):
        card = (run.folder / f"fold-{number}" / "card.md").read_text()
        assert f"**What of them is trained**: plan {plan}, as tried." in card


def test_two_kinds_of_split_leave_nothing_to_choose_by(session: Session, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plan_choice, "FEW", 10)
    both = dataclasses.replace(session, splits=("random", "grouped"))
    assert with_plan(both, NoObserver()).plan_note.startswith("frozen, untried")


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
