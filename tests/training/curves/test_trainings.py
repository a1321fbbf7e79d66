"""Whole trainings on the clips that a curve draws, and which weights may begin one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from merkit.engine.data.clip import heard_text
from merkit.engine.data.labelled_audio import labelled_audio
from merkit.engine.errors import UsageError
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.curves import trainings
from merkit.training.curves.few_clips import draws_by_label
from merkit.training.curves.trainings import check_unheard, curve_by_training, session_from_method
from merkit.training.data.examples import Examples
from merkit.training.networks.trained import TrainedNetwork
from merkit.training.recipe import PROTOCOLS, Protocol
from merkit.training.runs.observer import NoObserver
from merkit.training.runs.run_folder import FinishedRun
from small_training import Says, fast_job
from torch import nn


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ``best`` one epoch on small log-mels."""
    protocols: dict[str, Protocol] = {**PROTOCOLS, "best": fast_job("epochs=1").protocol}
    monkeypatch.setattr(trainings, "PROTOCOLS", protocols)


@pytest.mark.usefixtures("_small")
def test_trainings_are_kept_and_not_repeated(
    songs: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = labelled_audio(songs / "clips.csv")
    session = session_from_method("scratch", "AudioCNN", data, "songs", tmp_path)
    session = dataclasses.replace(session, cache=cache)
    says = Says()
    gone = dataclasses.replace(data.clips[0], path=tmp_path / "gone.wav", name="gone.wav")
    with_gone = dataclasses.replace(session, data=dataclasses.replace(data, clips=(*data.clips, gone)))
    (point,), lost = curve_by_training(with_gone, [3, 999], 2, says)
    assert (point.clips, len(point.macro_f1), lost) == (3, 2, 1)
    assert "audiocnn, draw 2 of 2, 3 clips a label: macro-F1 " in says.lines[-1]
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["draw-1-of-3", "draw-2-of-3"]
    monkeypatch.setattr("merkit.training.runs.train_run.train", None)  # nothing is trained again
    assert curve_by_training(session, [3], 2, NoObserver()) == ([point], 0)


@pytest.mark.usefixtures("_small")
def test_the_clips_are_those_of_a_frozen_curve(
    songs: Path, examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    used = []

    def train(job, heard, split, folder: Path, *_) -> FinishedRun:
        used.append((set(split.training), len(split.validation), set(split.test)))
        return FinishedRun(folder, {"macro_f1": 0.5}, (), None)

    monkeypatch.setattr(trainings, "train_split", train)
    monkeypatch.setattr(trainings, "read_examples", lambda session, observer: {"audiocnn": examples})
    data = labelled_audio(songs / "clips.csv")
    session = session_from_method("scratch", "audiocnn", data, "songs", tmp_path)
    curve_by_training(session, [2, 5], 3, NoObserver())
    labels, groups = [clip.label for clip in data.clips], [clip.group for clip in data.clips]
    draws = draws_by_label(labels, groups, [2, 5], 3)
    assert used == [(set(given), 0, set(draw.test)) for draw in draws for given in draw.given.values()]


@pytest.mark.usefixtures("_small")
def test_more_near_copies_make_other_draws_which_is_said(
    songs: Path, examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A grouped split with a near copy on both sides would be refused as a bug."""
    used = []

    def train(job, heard, split, folder: Path, *_) -> FinishedRun:
        used.append({examples.clips[i].path.name for i in split.test})
        return FinishedRun(folder, {"macro_f1": 0.5}, (), None)

    first, last = examples.clips[0].group, examples.clips[-1].group
    joined = [dataclasses.replace(c, group=first) if c.group == last else c for c in examples.clips]
    heard = dataclasses.replace(examples, clips=tuple(joined))
    monkeypatch.setattr(trainings, "train_split", train)
    monkeypatch.setattr(trainings, "read_examples", lambda session, observer: {"audiocnn": heard})
    data, says = labelled_audio(songs / "clips.csv"), Says()
    curve_by_training(session_from_method("scratch", "audiocnn", data, "songs", tmp_path), [2], 3, says)
    assert says.lines[0] == "audiocnn hears more near copies than the other methods do: its draws are others"
    labels, groups = [clip.label for clip in joined], [clip.group for clip in joined]
    draws = draws_by_label(labels, groups, [2], 3)
    assert used == [{examples.clips[i].path.name for i in draw.test} for draw in draws]


def test_what_a_method_trains(songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = labelled_audio(songs / "clips.csv")
    hindi = session_from_method("hindi-2022", "mobilenetv3", data, "songs", tmp_path)
    assert (hindi.protocol.weights, hindi.protocol.recipe.layers, hindi.plan) == ("imagenet", "head", "all")
    bare = session_from_method("hindi-2022-random", "audiocnn", data, "songs", tmp_path)
    assert (bare.protocol.weights, bare.protocol.recipe.layers) == ("none", "all")
    assert bare.protocol.recipe.epochs == hindi.protocol.recipe.epochs == 5
    with pytest.raises(UsageError):
        session_from_method("hindi-2022", "audiocnn", data, "songs", tmp_path)  # ImageNet has none of it
    network = TrainedNetwork("musicnn", nn.Identity(), PRESETS["musicnn"])
    monkeypatch.setattr(trainings, "trained_network", lambda source: network)
    tuned = session_from_method("fine-tune", "x/ears", data, "songs", tmp_path)
    assert (tuned.models, tuned.plan, tuned.protocol.weights) == (("musicnn",), "head", "x/ears")
    heard = dataclasses.replace(network, labels=("a",), provenance={"heard_clips": heard_text(data.clips)})
    monkeypatch.setattr(trainings, "trained_network", lambda source: heard)
    with pytest.raises(UsageError, match="was trained on 40 of these 40 clips"):
        session_from_method("fine-tune", "x/ears", data, "songs", tmp_path)


@pytest.mark.parametrize(
    ("labels", "heard", "said"),
    [
        ((), None, ""),  # published weights
        (("x",), "others", "was trained on other clips"),
        (("x",), "some", "was trained on 2 of these 40 clips"),
        (("x",), None, "does not say what it was trained on"),
    ],
)
def test_weights_that_met_the_clips_begin_no_curve(
    labels: tuple[str, ...], heard: str | None, said: str, songs: Path, monkeypatch: pytest.MonkeyPatch
):
    clips = labelled_audio(songs / "clips.csv").clips
    texts = {"others": "0123456789abcdef", "some": heard_text(clips[3:5])}
    provenance = {"heard_clips": texts[heard]} if heard else {}
    network = TrainedNetwork("audiocnn", nn.Identity(), PRESETS["emotion4q"], labels, provenance=provenance)
    monkeypatch.setattr(trainings, "trained_network", lambda source: network)
    if heard == "some" or (labels and not heard):
        with pytest.raises(UsageError, match=f"^mine {said}"):
            check_unheard("x/mine", clips)
    else:
        line = check_unheard("x/mine", clips)
        assert said in line if said else not line


def test_draws_depend_on_labels_and_groups_alone():
    labels, groups = list("ab") * 30, [f"artist {i // 4}" for i in range(60)]
    first, again = (list(draws_by_label(labels, groups, [2], 2)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.given[2], other.given[2])
        assert not {groups[i] for i in one.pool} & {groups[i] for i in one.test}
    assert not np.array_equal(first[0].given[2], first[1].given[2])
