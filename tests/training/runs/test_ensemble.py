"""An ensemble is scored on songs that no member was trained on, and compared with its first member."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from merkit.engine.data.labelled_audio import LabelledAudio, clip_names, heard_text, labelled_audio
from merkit.engine.errors import MerError, UsageError
from merkit.engine.spec import ModelSpec
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.evaluate.predictions import (
    Predictions,
    cross_fitted,
    fit_temperature,
    pooled,
    save_predictions,
)
from merkit.training.networks.audiocnn import AudioCNN
from merkit.training.networks.checkpoint import network_from_checkpoint, save_checkpoint
from merkit.training.runs.ensemble import Member, ensemble_metrics, member_from_path
from merkit.training.runs.run_folder import CHECKPOINT, LOGITS, METRICS
from small_training import Trained, drawn_predictions


def _members() -> list[Member]:
    """Three that are right about as often, on different songs."""
    rng = np.random.default_rng(1)
    truth = np.arange(90) % 3
    names = tuple(map(str, range(90)))
    members = []
    for number in range(3):
        logits = rng.normal(0, 1.5, (90, 1, 3)) + 1.5 * np.eye(3)[truth][:, None]
        p = Predictions(names, names, truth, tuple(logits.astype(np.float32)), names, ("a", "b", "c"))
        members.append(Member(f"m{number}", p, p.by_song()))
    return members


def test_an_ensemble_beats_its_members_when_they_err_apart():
    metrics = ensemble_metrics(_members())
    assert metrics["ensemble"]["macro_f1"] > max(metrics[f"m{i}"]["macro_f1"] for i in range(3))
    assert "against_first" not in metrics["m0"]
    for name in ("m1", "m2", "ensemble"):
        gain, (low, high) = metrics[name]["against_first"]["gain"], metrics[name]["against_first"]["interval"]
        assert gain == metrics[name]["macro_f1"] - metrics["m0"]["macro_f1"]
        assert low <= gain <= high
    assert metrics["ensemble"]["against_first"]["interval"][0] > 0


def test_members_that_cannot_be_put_together():
    members = _members()
    with pytest.raises(UsageError, match="two networks or more"):
        ensemble_metrics(members[:1])
    other = dataclasses.replace(members[1].predictions, ids=tuple(f"x{i}" for i in range(90)))
    with pytest.raises(MerError, match="no song was held out from every member"):
        ensemble_metrics([members[0], dataclasses.replace(members[1], predictions=other)])
    other = dataclasses.replace(members[1].predictions, labels=("c", "b", "a"))
    with pytest.raises(MerError, match="m1 says c, b, a; m0 says a, b, c"):
        ensemble_metrics([members[0], dataclasses.replace(members[1], predictions=other)])


def test_a_member_may_be_called_ensemble():
    members = [dataclasses.replace(member, name="ensemble") for member in _members()[:2]]
    metrics = ensemble_metrics(members)
    assert list(metrics) == ["ensemble (1)", "ensemble (2)", "ensemble"]
    assert "against_first" not in metrics["ensemble (1)"]


def test_only_common_songs_count_whatever_their_order():
    first, second, _ = _members()
    positions = list(range(60))[::-1]
    part = Member("part", second.predictions.chosen(positions), second.probabilities[positions])
    metrics = ensemble_metrics([first, part])
    assert {figures["songs"] for figures in metrics.values()} == {60}
    same = ensemble_metrics([first, dataclasses.replace(first, name="m0")])
    assert list(same) == ["m0", "m0 (2)", "ensemble"]
    assert same["ensemble"]["against_first"]["gain"] == 0


def test_members_that_were_told_other_labels_of_a_song():
    first, second, _ = _members()
    truth = second.predictions.truth.copy()
    truth[4] = 2
    other = dataclasses.replace(second.predictions, truth=truth)
    with pytest.raises(
        MerError, match=r"m1 and m0 were told different labels of 1 of 90 songs \(of 4: c, b\)"
    ):
        ensemble_metrics([first, dataclasses.replace(second, predictions=other)])


def test_every_member_has_a_name_of_its_own():
    first, second, third = _members()
    named = [dataclasses.replace(first, name="x (3)"), dataclasses.replace(second, name="x")]
    metrics = ensemble_metrics([*named, dataclasses.replace(third, name="x")])
    assert list(metrics) == ["x (3)", "x", "x (3) (3)", "ensemble"]
    metrics = ensemble_metrics([dataclasses.replace(first, name="ensemble"), second])
    assert list(metrics) == ["ensemble (1)", "m1", "ensemble"]


def test_what_is_no_member(tmp_path: Path):
    (tmp_path / METRICS).write_text(json.dumps({"songs": 1}))
    with pytest.raises(MerError, match="has no test songs"):
        member_from_path(tmp_path, None, tmp_path)
    (tmp_path / "a.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="a checkpoint needs labelled audio"):
        member_from_path(tmp_path / "a.safetensors", None, tmp_path)
    for name in ("gone", "gone.safetensors"):
        with pytest.raises(UsageError, match=f"{name}: there is no such folder or checkpoint"):
            member_from_path(tmp_path / name, None, tmp_path)


@pytest.mark.xdist_group("trained")
def test_metrics_without_a_temperature(trained: Trained, tmp_path: Path):
    folder = tmp_path / "run"
    shutil.copytree(trained.run.folder, folder)
    for facts in ({}, *({"temperature": t} for t in (0, -1, float("nan"), float("inf"), True, "1", None))):
        (folder / METRICS).write_text(json.dumps({"songs": 1, **facts}))
        with pytest.raises(MerError, match=r"metrics.json has no temperature"):
            member_from_path(folder, None, tmp_path)


@pytest.mark.xdist_group("trained")
def test_predictions_that_are_lost(trained: Trained, tmp_path: Path):
    shutil.copytree(trained.run.folder, folder := tmp_path / "run")
    (folder / LOGITS).unlink()
    with pytest.raises(MerError, match=r"logits.npz is missing: --resume of its training makes it again"):
        member_from_path(folder, None, tmp_path)


def test_a_fold_is_calibrated_by_the_others(tmp_path: Path):
    """As in its own figures: the temperature of all songs was fitted to those that are judged."""
    songs, parts = drawn_predictions(150), list[Predictions]()
    for number, sharpness in enumerate((1, 2, 4)):
        part = songs.chosen(range(50 * number, 50 * (number + 1)))
        parts.append(dataclasses.replace(part, logits=tuple(sharpness * logits for logits in part.logits)))
    together = pooled(parts)
    metrics = {"macro_f1": 0.5, "temperature": fit_temperature(together)}
    for folder, predictions, more in (
        (tmp_path, together, {"by_fold": [0.5] * 3}),
        *((tmp_path / f"fold-{number}", part, {}) for number, part in enumerate(parts, start=1)),
    ):
        folder.mkdir(exist_ok=True)
        (folder / METRICS).write_text(json.dumps({**metrics, **more}))
        save_predictions(predictions, folder / LOGITS)
        new = {"test_clips": [{"id": identity} for identity in predictions.ids]}
        spec = ModelSpec("audiocnn", songs.labels, PRESETS["emotion4q"], provenance=new)
        save_checkpoint(AudioCNN(3), spec, folder / CHECKPOINT)
    member = member_from_path(tmp_path, None, tmp_path)
    assert member.predictions.ids == together.ids
    np.testing.assert_allclose(member.probabilities, cross_fitted(parts)[0], atol=1e-6)
    assert np.abs(member.probabilities - together.by_song(metrics["temperature"])).max() > 0.01
    (tmp_path / "fold-2" / LOGITS).unlink()
    with pytest.raises(MerError, match=r"fold-2.logits.npz is missing: --resume of its training"):
        member_from_path(tmp_path, None, tmp_path)
    shutil.rmtree(tmp_path / "fold-3")
    shutil.copy(tmp_path / "fold-1" / LOGITS, tmp_path / "fold-2" / LOGITS)
    with pytest.raises(MerError, match="fold-3 holds no finished training"):
        member_from_path(tmp_path, None, tmp_path)


@pytest.mark.xdist_group("trained")
def test_a_run_is_judged_on_the_songs_that_it_lists_as_new(trained: Trained, tmp_path: Path):
    """Of a split at random over sub-clips, pieces of the others were trained on."""
    shutil.copytree(trained.run.folder, folder := tmp_path / "run")
    network, spec = network_from_checkpoint(folder / CHECKPOINT)
    new = spec.provenance["test_clips"][:3]
    provenance = {**spec.provenance, "test_clips": new}
    save_checkpoint(network, dataclasses.replace(spec, provenance=provenance), folder / CHECKPOINT)
    member = member_from_path(folder, None, tmp_path)
    assert set(member.predictions.ids) == {clip["id"] for clip in new}
    assert len(member.probabilities) == 3


def test_too_few_songs_for_an_interval():
    few = [
        Member(member.name, member.predictions.chosen(range(12)), member.probabilities[:12])
        for member in _members()[:2]
    ]
    metrics = ensemble_metrics(few)
    assert [figures["macro_f1_interval"] for figures in metrics.values()] == [None] * 3
    assert metrics["ensemble"]["against_first"]["interval"] is None


@pytest.mark.xdist_group("trained")
def test_clips_that_a_checkpoint_cannot_hear_are_listed(
    trained: Trained, songs: Path, cache: Path, tmp_path: Path
):
    data = labelled_audio(songs / "clips.csv")
    gone = dataclasses.replace(data.clips[0], path=tmp_path / "gone.wav", name="gone.wav")
    with_one_gone = dataclasses.replace(data, clips=(*data.clips, gone))
    member = member_from_path(trained.run.folder / CHECKPOINT, lambda labels: with_one_gone, cache)
    assert [path for path, _ in member.skipped] == [gone.path]
    assert member.predictions.ids == member_from_path(trained.run.folder, None, cache).predictions.ids


@pytest.mark.xdist_group("trained")
def test_a_checkpoint_that_heard_every_clip_is_judged_on_other_music_only(
    trained: Trained, songs: Path, cache: Path, tmp_path: Path
):
    network, spec = network_from_checkpoint(trained.run.folder / CHECKPOINT)
    data = labelled_audio(songs / "clips.csv")
    artists = sorted({clip.group for clip in data.clips})
    # As after --final on a part of the artists: nothing was held out.
    heard = [clip for clip in data.clips if clip.group not in artists[:3]]
    provenance = {**spec.provenance, "test_clips": [], "heard_clips": " ".join(c.id[:16] for c in heard)}
    save_checkpoint(network, dataclasses.replace(spec, provenance=provenance), tmp_path / "final.safetensors")
    member = member_from_path(tmp_path / "final.safetensors", lambda labels: data, cache)
    assert set(member.predictions.groups) == set(artists[:3])
    known = dataclasses.replace(data, clips=tuple(heard))
    with pytest.raises(MerError, match="no clip of this data is known to be new to it"):
        member_from_path(tmp_path / "final.safetensors", lambda labels: known, cache)


@pytest.mark.xdist_group("trained")
def test_a_checkpoint_says_what_its_folder_holds(trained: Trained, songs: Path, cache: Path):
    def data(labels: Sequence[str]) -> LabelledAudio:
        return labelled_audio(songs / "clips.csv", labels=labels)

    folder = trained.run.folder
    kept = member_from_path(folder, None, cache)
    computed = member_from_path(folder / CHECKPOINT, data, cache)
    assert computed.predictions.ids == kept.predictions.ids
    np.testing.assert_allclose(computed.probabilities, kept.probabilities, atol=1e-5)


@pytest.mark.xdist_group("trained")
def test_a_checkpoint_of_a_split_at_random_is_judged_on_its_whole_test_part(
    trained: Trained, songs: Path, cache: Path, tmp_path: Path
):
    """As its folder is: one artist of the test part was not heard, and is not all of it."""
    network, spec = network_from_checkpoint(trained.run.folder / CHECKPOINT)
    data = labelled_audio(songs / "clips.csv")
    lone = data.clips[0].group
    held_out = [clip for i, clip in enumerate(data.clips) if i % 4 == 0 or clip.group == lone]
    heard = heard_text(clip for clip in data.clips if clip not in held_out)
    provenance = {**spec.provenance, "test_clips": clip_names(held_out), "heard_clips": heard}
    save_checkpoint(network, dataclasses.replace(spec, provenance=provenance), tmp_path / "one.safetensors")
    member = member_from_path(tmp_path / "one.safetensors", lambda labels: data, cache)
    assert sorted(member.predictions.ids) == sorted(clip.id for clip in held_out)
