"""Whole trainings on generated music: the protocols, folds, ensembles, and what they leave behind."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from generated import folder_of
from merkit.engine.data.labelled_audio import labelled_audio
from merkit.engine.data.metrics import accuracy_and_macro_f1, expected_calibration_error
from merkit.engine.errors import MerError, UsageError
from merkit.training.data.examples import Examples, examples_from_audio, standardised
from merkit.training.evaluate.metrics_report import metrics_from_predictions
from merkit.training.evaluate.predictions import (
    Predictions,
    cross_fitted,
    fit_temperature,
    load_predictions,
    save_predictions,
)
from merkit.training.networks.checkpoint import network_from_checkpoint
from merkit.training.recipe import PROTOCOLS, with_overrides
from merkit.training.runs.crossvalidation import cross_validate, train_on_everything
from merkit.training.runs.ensemble import ensemble_metrics, member_from_path
from merkit.training.runs.run_folder import CARD, CHECKPOINT, METRICS, outcome_from_folder
from merkit.training.runs.train_run import Job, splits_of, train_split
from torchmetrics.functional.classification import multiclass_calibration_error

_SMALL = ["audio.window_samples=16000", "audio.hop_length=512", "audio.frames=32", "audio.n_mels=32"]
_BEST = [*_SMALL, "batch_size=12", "mask_mels=4", "mask_frames=6", "learning_rate=0.004", "ema=0.8"]


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("songs")
    folder_of(root, ("calm", "tense"), 10, 2, 2.0)
    return root


@pytest.fixture(scope="module")
def examples(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Examples:
    best = with_overrides(PROTOCOLS["best"], _BEST)
    return examples_from_audio(
        labelled_audio(songs / "clips.csv"), best.audio, tmp_path_factory.mktemp("cache")
    )


def _job(*sets: str) -> Job:
    return Job("audiocnn", with_overrides(PROTOCOLS["best"], [*_BEST, "epochs=8", *sets]), "generated")


def test_best_learns_and_leaves_everything_behind(examples: Examples, tmp_path: Path):
    job = _job("epochs=16")
    split = splits_of(examples, job.protocol, "grouped")[0]
    outcome = train_split(job, examples, split, tmp_path)
    assert outcome.metrics["macro_f1"] > 0.7  # chance is 0.5, and these artists were never heard
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {CHECKPOINT, METRICS, CARD, "run.json", "logits.npz", "curves.png", "confusion.png"}
    assert all((tmp_path / name).read_bytes()[:4] == b"\x89PNG" for name in ("curves.png", "confusion.png"))
    network, spec = network_from_checkpoint(tmp_path / CHECKPOINT)
    told = spec.provenance
    held_out = {examples.readable[i].id for i in split.test}
    assert {clip["id"] for clip in told["test_clips"]} == held_out
    assert {clip["path"] for clip in told["test_clips"]} == {examples.readable[i].name for i in split.test}
    assert told["split"]["kind"] == "grouped"
    assert told["split"]["hash"] == split.hash
    assert told["metrics"]["macro_f1"] == outcome.metrics["macro_f1"]
    assert told["finished"]
    assert len(spec.audio.mean) == len(spec.audio.std) == 1
    assert "grouped by group: none stands on both sides" in (tmp_path / CARD).read_text()
    # Done is done: nothing is trained, and nothing is lost.
    again = train_split(job, examples, split, tmp_path, "resume")
    assert again.metrics == outcome.metrics
    assert again.history == outcome.history
    with pytest.raises(UsageError, match="--resume goes on with it, --overwrite begins anew"):
        train_split(job, examples, split, tmp_path)
    with pytest.raises(MerError, match="another training"):
        train_split(_job("seed=1"), examples, split, tmp_path, "resume")
    repeated = train_split(job, examples, split, tmp_path, "overwrite")
    state = network_from_checkpoint(repeated.folder / CHECKPOINT)[0].state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_tags_are_learnt_and_not_delivered(examples: Examples, tmp_path: Path):
    """They make another network of the same shape; with other tags a folder is another training's."""
    clips = examples.clips
    tagged = [
        dataclasses.replace(clip, tags=("all", "few") if i < 3 else ("all", f"part {i % 2}"))
        for i, clip in enumerate(clips)
    ]
    with_tags = dataclasses.replace(examples, clips=tuple(tagged))
    plain, job = _job("epochs=2"), _job("epochs=2", "tag_weight=1")
    split = splits_of(examples, job.protocol, "grouped")[0]
    train_split(plain, with_tags, split, tmp_path / "plain")
    train_split(job, with_tags, split, tmp_path / "tags")
    without, _ = network_from_checkpoint(tmp_path / "plain" / CHECKPOINT)
    network, spec = network_from_checkpoint(tmp_path / "tags" / CHECKPOINT)
    assert spec.provenance["data"]["tags"] == ["part 0", "part 1"]
    assert "beside the labels: part 0, part 1." in (tmp_path / "tags" / CARD).read_text()
    shapes = [{name: t.shape for name, t in n.state_dict().items()} for n in (network, without)]
    assert shapes[0] == shapes[1]
    assert not torch.equal(
        network.state_dict()["classifier.1.weight"], without.state_dict()["classifier.1.weight"]
    )
    assert train_split(job, with_tags, split, tmp_path / "tags", "resume").metrics["epochs"] == 2
    with pytest.raises(MerError, match="another training"):
        train_split(job, examples, split, tmp_path / "tags", "resume")


def test_folds_then_one_network_on_everything(examples: Examples, tmp_path: Path):
    job = _job("epochs=2")
    splits = splits_of(examples, job.protocol, "grouped", 2)
    outcome = cross_validate(job, examples, splits, tmp_path, "fresh")
    assert outcome.metrics["songs"] == len(examples.clips)
    assert len(outcome.metrics["by_fold"]) == 2
    plain = dataclasses.replace(job, protocol=dataclasses.replace(job.protocol, validation_share=0.0))
    # Without a validation part of its own a fold's network has the temperature of the other folds.
    bare = splits_of(examples, plain.protocol, "grouped", 2)
    two = cross_validate(plain, examples, bare, tmp_path / "bare", "fresh")
    by_fold = [outcome_from_folder(tmp_path / "bare" / f"fold-{i}") for i in (1, 2)]
    for fold, other in zip(by_fold, reversed(by_fold), strict=True):
        assert other.predictions
        expected = fit_temperature(other.predictions)
        assert fold.metrics["temperature"] == expected
        assert network_from_checkpoint(fold.folder / CHECKPOINT)[1].temperature == expected
    again = cross_validate(plain, examples, bare, tmp_path / "bare", "resume")
    assert again.metrics == two.metrics
    train_on_everything(plain, examples, outcome, tmp_path / "final", "fresh")
    _, spec = network_from_checkpoint(tmp_path / "final" / CHECKPOINT)
    assert spec.temperature == outcome.metrics["temperature"]
    assert spec.provenance["test_clips"] == []
    assert spec.provenance["measured_by"] == "cross-validation"
    assert "trained on every clip" in (tmp_path / "final" / CARD).read_text()
    members = [
        member_from_path(tmp_path, None, tmp_path),
        member_from_path(tmp_path / "fold-1", None, tmp_path),
    ]
    found = ensemble_metrics(members)
    assert list(found) == [tmp_path.name, "fold-1", "ensemble"]
    assert {m["songs"] for m in found.values()} == {len(splits[0].test)}


def test_hindi_2022(songs: Path, tmp_path: Path):
    protocol = with_overrides(PROTOCOLS["hindi-2022"], ["epochs=2", "batch_size=8", *_SMALL])
    protocol = dataclasses.replace(protocol, weights="none")
    data = labelled_audio(songs)
    examples = examples_from_audio(data, protocol.audio, tmp_path / "cache")
    split = splits_of(examples, protocol, "random")[0]
    assert (len(split.training), len(split.validation), len(split.test)) == (32, 0, 8)
    outcome = train_split(Job("squeezenet", protocol, "generated"), examples, split, tmp_path / "run")
    assert len(outcome.history) == 2
    assert all(np.isfinite(row.val_loss) for row in outcome.history)  # its curves are of the test set
    assert outcome.metrics["temperature"] == 1.0
    _, spec = network_from_checkpoint(tmp_path / "run" / CHECKPOINT)
    assert spec.audio.reference == "max"
    assert len(spec.audio.mean) == 1
    assert spec.provenance["recipe"]["loss"] == "bce"
    assert spec.provenance["recipe"]["layers"] == "head"


def test_icm_2020_has_pieces_of_one_clip_on_both_sides_and_says_so(songs: Path, tmp_path: Path):
    sound = {"sample_rate": 16_000, "fmax": 8_000, "window_samples": 6_400, "hop_length": 128}
    sets = [f"audio.{name}={value}" for name, value in {**sound, "frames": 51, "n_mels": 32}.items()]
    protocol = with_overrides(PROTOCOLS["icm-2020"], ["epochs=1", *sets])
    protocol = dataclasses.replace(protocol, weights="none")
    examples = examples_from_audio(
        labelled_audio(songs), protocol.audio, tmp_path / "cache", protocol.sub_clips
    )
    assert len(examples.clips) == 5 * len(examples.readable) == 200
    assert examples.grouped_by == "recording"
    random = splits_of(examples, protocol, "random")[0]
    both = {int(examples.songs[i]) for i in random.training} & {int(examples.songs[i]) for i in random.test}
    assert len(random.test) == 30
    assert both
    grouped = splits_of(examples, protocol, "grouped")[0]
    assert not {int(examples.songs[i]) for i in grouped.training} & {
        int(examples.songs[i]) for i in grouped.test
    }
    outcome = train_split(Job("audiocnn", protocol, "generated"), examples, random, tmp_path / "run")
    network, spec = network_from_checkpoint(tmp_path / "run" / CHECKPOINT)
    assert type(network).__name__ == "ExtraHead"
    assert outcome.metrics["window"]["windows"] == 30
    ids = {clip["id"] for clip in spec.provenance["test_clips"]}
    assert ids.isdisjoint(examples.readable[song].id for song in both)
    assert "most clips stand on both sides" in (tmp_path / "run" / CARD).read_text()


def test_nan_leaves_the_last_good_checkpoint(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from merkit.training.fit import trainer

    calls, real = 0, trainer._loss

    def failing(*arguments):
        nonlocal calls
        calls += 1
        return real(*arguments) * (float("nan") if calls == 5 else 1)

    monkeypatch.setattr(trainer, "_loss", failing)
    job = _job("keep=last")
    with pytest.raises(MerError, match=r"became nan in epoch \d, step \d"):
        train_split(job, examples, splits_of(examples, job.protocol, "grouped")[0], tmp_path)
    _, spec = network_from_checkpoint(tmp_path / CHECKPOINT)
    assert not spec.provenance["finished"]
    assert not (tmp_path / METRICS).exists()


def test_unreadable_clips_are_left_out_and_named(songs: Path, tmp_path: Path):
    data = labelled_audio(songs / "clips.csv")
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    clips = (dataclasses.replace(data.clips[0], path=bad), *data.clips[1:])
    spec = with_overrides(PROTOCOLS["best"], _SMALL).audio
    examples = examples_from_audio(dataclasses.replace(data, clips=clips), spec, tmp_path / "cache")
    assert len(examples.clips) == len(clips) - 1
    assert [path for path, _ in examples.skipped] == [bad]
    lost = tuple(c if c.label == "calm" else dataclasses.replace(c, path=bad) for c in data.clips)
    with pytest.raises(MerError, match=r"no readable clip of tense \(20 unreadable; .*bad.wav: "):
        examples_from_audio(dataclasses.replace(data, clips=lost), spec, tmp_path / "cache")


def test_standardised_images_have_mean_0_and_deviation_1(examples: Examples):
    spec = with_overrides(PROTOCOLS["best"], _SMALL).audio
    every = np.arange(len(examples.clips))
    frames = np.concatenate([np.asarray(d, np.float64) for d in examples.decibels], axis=1)
    made = standardised(spec, examples, every)
    assert np.allclose((*made.mean, *made.std), (frames.mean(), frames.std()))


def _predictions(count: int = 60, sharpness: float = 1.0, windows: int = 2) -> Predictions:
    rng = np.random.default_rng(0)
    truth = np.arange(count) % 3
    logits = rng.normal(0, 1, (count, windows, 3)) + 1.5 * np.eye(3)[truth][:, None]
    names = tuple(f"song{i}" for i in range(count))
    sharp = tuple((sharpness * logits).astype(np.float32))
    return Predictions(names, names, truth, sharp, names, ("a", "b", "c"))


def test_temperature_undoes_overconfidence():
    # One window a song: the mean of several takes overconfidence away by itself.
    plain, sharp = _predictions(600, windows=1), _predictions(600, sharpness=4, windows=1)
    assert fit_temperature(sharp) == pytest.approx(4 * fit_temperature(plain), rel=0.01)
    metrics = metrics_from_predictions(sharp, fit_temperature(sharp))
    assert metrics["log_loss"] < metrics_from_predictions(sharp, 1.0)["log_loss"]
    assert metrics["calibration_error"] < metrics["calibration_error_at_1"]
    parts = [sharp.chosen(range(300)), sharp.chosen(range(300, 600))]
    probabilities, temperatures = cross_fitted(parts)
    assert temperatures == [fit_temperature(part) for part in reversed(parts)]
    assert np.allclose(probabilities[:300], parts[0].by_song(fit_temperature(parts[1])))


def test_torchmetrics_and_the_engine_score_alike():
    predictions = _predictions()
    metrics = metrics_from_predictions(predictions, 1.3)
    given = predictions.by_song(1.3)
    expected = accuracy_and_macro_f1(predictions.truth, given.argmax(axis=1))
    assert (metrics["accuracy"], metrics["macro_f1"]) == pytest.approx(expected, abs=1e-4)
    ours = expected_calibration_error(predictions.truth, given)
    theirs = multiclass_calibration_error(torch.tensor(given), torch.tensor(predictions.truth), 3, n_bins=10)
    assert (
        ours
        == pytest.approx(metrics["calibration_error"], abs=1e-4)
        == pytest.approx(theirs.item(), abs=1e-4)
    )
    assert sum(map(sum, metrics["confusion"])) == 60


def test_predictions_come_back_without_pickles(tmp_path: Path):
    predictions = _predictions()
    save_predictions(predictions, tmp_path / "logits.npz")
    read = load_predictions(tmp_path / "logits.npz")
    assert (read.ids, read.names) == (predictions.ids, predictions.names)
    assert np.array_equal(np.stack(read.logits), np.stack(predictions.logits))
    np.savez(tmp_path / "other.npz", names=np.array([Path()], dtype=object))
    with pytest.raises(MerError, match="holds no predictions"):
        load_predictions(tmp_path / "other.npz")


def test_an_ensemble_beats_its_members_when_they_err_apart():
    from merkit.training.runs.ensemble import Member

    rng = np.random.default_rng(1)
    truth = np.arange(90) % 3
    names = tuple(map(str, range(90)))
    members = []
    for number in range(3):
        logits = rng.normal(0, 1.5, (90, 1, 3)) + 1.5 * np.eye(3)[truth][:, None]
        p = Predictions(names, names, truth, tuple(logits.astype(np.float32)), names, ("a", "b", "c"))
        members.append(Member(f"m{number}", p, p.by_song()))
    found = ensemble_metrics(members)
    assert found["ensemble"]["macro_f1"] > max(found[f"m{i}"]["macro_f1"] for i in range(3))
    assert "against_first" not in found["m0"]
    for name in ("m1", "m2", "ensemble"):
        gain, (low, high) = found[name]["against_first"]["gain"], found[name]["against_first"]["interval"]
        assert gain == found[name]["macro_f1"] - found["m0"]["macro_f1"]
        assert low <= gain <= high
    assert found["ensemble"]["against_first"]["interval"][0] > 0
    with pytest.raises(UsageError, match="two networks or more"):
        ensemble_metrics(members[:1])
    other = dataclasses.replace(members[1].predictions, ids=tuple(f"x{i}" for i in range(90)))
    with pytest.raises(MerError, match="no song was held out from every member"):
        ensemble_metrics([members[0], dataclasses.replace(members[1], predictions=other)])
    other = dataclasses.replace(members[1].predictions, labels=("c", "b", "a"))
    with pytest.raises(MerError, match="m1 says c, b, a; m0 says a, b, c"):
        ensemble_metrics([members[0], dataclasses.replace(members[1], predictions=other)])


def test_a_folder_without_a_training(tmp_path: Path):
    with pytest.raises(MerError, match="no finished training"):
        outcome_from_folder(tmp_path)
    (tmp_path / METRICS).write_text(json.dumps({"songs": 1}))
    with pytest.raises(MerError, match="has no test songs"):
        member_from_path(tmp_path, None, tmp_path)
    with pytest.raises(UsageError, match="a checkpoint needs --data"):
        member_from_path(tmp_path / "a.safetensors", None, tmp_path)
