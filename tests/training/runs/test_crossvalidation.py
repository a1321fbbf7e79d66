"""Folds judge every song once, and lend their figures to the network that is trained on everything."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from merkit.engine.data.clip import heard_text
from merkit.engine.errors import MerError, UsageError
from merkit.engine.spec import ModelSpec
from merkit.training.data.examples import Examples
from merkit.training.data.splits import Split, split_hash, splits_from_protocol
from merkit.training.evaluate.predictions import fit_temperature
from merkit.training.networks.audiocnn import AudioCNN
from merkit.training.networks.checkpoint import network_from_checkpoint, save_checkpoint, spec_from_checkpoint
from merkit.training.runs import crossvalidation
from merkit.training.runs.announcements import summary
from merkit.training.runs.crossvalidation import Training, cross_validate, train_on_everything
from merkit.training.runs.ensemble import ensemble_metrics, member_from_path
from merkit.training.runs.provenance import Job
from merkit.training.runs.run_folder import CARD, CHECKPOINT, run_from_folder
from merkit.training.runs.train_run import train_split
from merkit.training.teachers.teaching import Teaching
from small_training import fast_job


def _trainings(job: Job, examples: Examples, splits: Sequence[Split]) -> list[Training]:
    return [Training(job, examples, split) for split in splits]


def test_nothing_is_replaced_in_a_folder_of_others(examples: Examples, tmp_path: Path):
    job = fast_job("epochs=1")
    splits = splits_from_protocol(examples.clips, job.protocol, "grouped", 2)
    (tmp_path / "curves.png").write_text("mine")
    for mode in ("fresh", "resume", "overwrite"):
        with pytest.raises(
            UsageError, match=r"curves\.png is there, and no training in this folder wrote it"
        ):
            cross_validate(_trainings(job, examples, splits), tmp_path, mode)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_folds_then_one_network_on_everything(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    drawn: list[str] = []
    monkeypatch.setattr(crossvalidation, "curves_png", lambda *given: drawn.append(given[2]))
    job = fast_job("epochs=2")
    splits = splits_from_protocol(examples.clips, job.protocol, "grouped", 2)
    run = cross_validate(_trainings(job, examples, splits), tmp_path, "fresh")
    assert run.metrics["songs"] == len(examples.clips)
    assert len(run.metrics["by_fold"]) == 2
    plain = dataclasses.replace(job, protocol=dataclasses.replace(job.protocol, validation_share=0.0))
    # Without a validation part of its own a fold's network has the temperature of the other folds.
    bare = splits_from_protocol(examples.clips, plain.protocol, "grouped", 2)
    two = cross_validate(_trainings(plain, examples, bare), tmp_path / "bare", "fresh")
    by_fold = [run_from_folder(tmp_path / "bare" / f"fold-{i}") for i in (1, 2)]
    for fold, other in zip(by_fold, reversed(by_fold), strict=True):
        assert other.predictions
        expected = fit_temperature(other.predictions)
        assert fold.metrics["temperature"] == expected
        assert network_from_checkpoint(fold.folder / CHECKPOINT)[1].temperature == expected
    again = cross_validate(_trainings(plain, examples, bare), tmp_path / "bare", "resume")
    assert again.metrics == two.metrics
    assert drawn == ["validation", "test", "test"]  # what the curves are of
    train_on_everything(plain, examples, run, tmp_path / "final", "fresh")
    _, spec = network_from_checkpoint(tmp_path / "final" / CHECKPOINT)
    assert spec.temperature == run.metrics["temperature"]
    assert spec.provenance["test_clips"] == []
    assert spec.provenance["measured_by"] == "cross-validation"
    assert len(spec.provenance["heard_clips"].split()) == len(examples.clips)
    card = (tmp_path / "final" / CARD).read_text()
    assert f"trained on every clip, all {len(examples.clips)}; none is held out" in card
    figures = f"{len(examples.clips)} songs; macro-F1 {run.metrics['macro_f1']:.3f} ("
    assert f"**Expected, from 2 folds**: {figures}" in card
    first, second = run.metrics["by_fold"]
    assert f"**Macro-F1 of each fold**: {first:.3f}, {second:.3f}." in card
    assert "Held-out songs" not in card
    members = [
        member_from_path(tmp_path, None, tmp_path),
        member_from_path(tmp_path / "fold-1", None, tmp_path),
    ]
    metrics = ensemble_metrics(members)
    assert list(metrics) == [tmp_path.name, "fold-1", "ensemble"]
    assert {m["songs"] for m in metrics.values()} == {len(splits[0].test)}


def test_a_teacher_of_some_folds_is_refused_before_the_first(examples: Examples, tmp_path: Path):
    job, audio = fast_job("epochs=1"), fast_job().protocol.audio
    splits = splits_from_protocol(examples.clips, job.protocol, "grouped", 2)
    knows = {"heard_clips": heard_text([examples.clips[splits[1].test[0]]])}
    validation = split_hash(examples.clips, splits[0].validation)
    split = {"hash": splits[0].hash, "validation_hash": validation}
    spec = ModelSpec("audiocnn", ("a", "b"), audio, provenance={**knows, "split": split})
    save_checkpoint(AudioCNN(2), spec, tmp_path / "teacher.safetensors")
    taught = dataclasses.replace(job, teaching=Teaching((str(tmp_path / "teacher.safetensors"),)))
    with pytest.raises(UsageError, match="was trained on clips of what is held out here"):
        cross_validate(_trainings(taught, examples, splits), tmp_path / "run", "fresh")
    assert not (tmp_path / "run").exists()


def test_the_network_on_everything_names_no_file_that_was_left_out(examples: Examples, tmp_path: Path):
    """It is passed on; metrics.json, which stays, names them."""
    heard = dataclasses.replace(examples, skipped=((Path("/home/me/private.mp3"), "is silent"),))
    job = fast_job("epochs=1")
    job = dataclasses.replace(job, protocol=dataclasses.replace(job.protocol, validation_share=0.0))
    splits = splits_from_protocol(heard.clips, job.protocol, "grouped", 2)
    run = cross_validate(_trainings(job, heard, splits), tmp_path, "fresh")
    train_on_everything(job, heard, run, tmp_path / "final", "fresh")
    assert run.metrics["skipped"] == [["/home/me/private.mp3", "is silent"]]
    assert b"private" not in (tmp_path / "final" / CHECKPOINT).read_bytes()
    provenance = spec_from_checkpoint(tmp_path / "final" / CHECKPOINT).provenance
    assert provenance["metrics"]["macro_f1"] == run.metrics["macro_f1"]


def test_songs_that_the_weights_have_heard_are_counted_and_not_called_held_out(
    examples: Examples, tmp_path: Path
):
    heard = examples.readable[::2]
    job = dataclasses.replace(fast_job("epochs=1"), heard_before=heard_text(heard))
    bare = dataclasses.replace(job, protocol=dataclasses.replace(job.protocol, validation_share=0.0))
    splits = splits_from_protocol(examples.clips, bare.protocol, "grouped", 2)
    run = cross_validate(_trainings(bare, examples, splits), tmp_path, "fresh")
    train_on_everything(bare, examples, run, tmp_path / "final", "fresh")
    tested = {tmp_path / f"fold-{split.fold}": [examples.clips[i] for i in split.test] for split in splits}
    for folder, clips in {tmp_path / "final": examples.clips, **tested}.items():
        count, songs = len(set(clips) & set(heard)), len(clips)
        card = (folder / CARD).read_text()
        said = f"- **Heard before**: {count} of the {songs} songs were training music of the weights"
        assert f"{said} to begin with: the figures say nothing of new music." in card
        assert "Held-out" not in card
    assert run.metrics["heard_before"] == len(heard)
    assert run_from_folder(tmp_path).metrics["heard_before"] == len(heard)
    said = summary(run)
    assert f"on {len(examples.clips)} songs (grouped split)" in said
    assert f"{len(heard)} of the {len(examples.clips)} songs were training music" in said
    # An ensemble is scored on the others only.
    member = member_from_path(tmp_path, None, tmp_path)
    assert set(member.predictions.ids) == {clip.id for clip in set(examples.readable) - set(heard)}
    everything = dataclasses.replace(bare, heard_before=heard_text(examples.readable))
    train_split(everything, examples, splits[0], tmp_path / "all")
    with pytest.raises(MerError, match="all: no clip of this data is known to be new to it"):
        member_from_path(tmp_path / "all", None, tmp_path)
