"""A finished run gets its second output once, from clips that its network heard and sounds that are none."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from merkit.engine.data.clip import Clip
from merkit.engine.errors import MerError, UsageError
from merkit.engine.spectrogram.log_mel import log_mel_from_decibels
from merkit.training.data.examples import Examples
from merkit.training.data.non_music import NON_MUSIC
from merkit.training.data.splits import Split
from merkit.training.evaluate.metrics_report import card_from_spec
from merkit.training.fit.evidence import Sounds
from merkit.training.networks.checkpoint import evidence_from_checkpoint, spec_from_checkpoint
from merkit.training.runs import evidence_of_run
from merkit.training.runs.evidence_of_run import add_evidence, more_music
from merkit.training.runs.run_folder import CARD, CHECKPOINT, METRICS
from merkit.training.teachers.teaching import Teaching
from merkit.training.teachers.unlabelled import Unlabelled
from small_training import Trained, drawn_predictions, fast_job


def test_music_without_labels_is_of_the_groups_of_the_clips_however_they_are_written(examples: Examples):
    """What is of one group is held out together."""
    names = examples.clips[0].group.upper(), "Somebody Else"
    clips = tuple(Clip(Path(f"{i}.wav"), "", name) for i, name in enumerate(names))
    music = Unlabelled(clips, (examples.decibels[0], examples.decibels[1]), (frozenset(), frozenset()))
    job = dataclasses.replace(fast_job(), teaching=Teaching((), music))
    split = Split("grouped", np.arange(40), np.arange(0), np.arange(0), "")
    sounds = more_music(examples, job, [split])
    assert sounds.groups == [examples.clips[0].group, "Somebody Else"]
    assert [len(windows) for windows in sounds.windows] == [1, 1]


@pytest.mark.xdist_group("trained")
def test_a_run_gets_its_evidence_once(trained: Trained, examples: Examples, tmp_path: Path):
    folder = Path(shutil.copytree(trained.run.folder, tmp_path / "run"))
    before = spec_from_checkpoint(folder / CHECKPOINT)
    assert before.evidence is None
    lines: list[str] = []
    add_evidence(folder, examples, trained.run.predictions, say=lines.append)
    spec = spec_from_checkpoint(folder / CHECKPOINT)
    assert spec.evidence is not None
    assert spec.evidence.confidence == 0.7  # 1.4 times chance: too few songs were held out to know better
    facts = json.loads((folder / METRICS).read_text())["evidence"]
    assert facts == spec.provenance["evidence"]
    assert facts["clips"] == len(trained.split.training) + len(trained.split.validation)
    assert set(facts["caught_by_kind"]) == set(NON_MUSIC)
    assert lines[0].startswith(
        f"evidence: {facts['caught']:.1%} of {facts['sounds']} sounds that are no music"
    )
    assert f"{facts['caught']:.1%} of {facts['sounds']} sounds" in (folder / CARD).read_text()
    for text in (lines[0], (folder / CARD).read_text()):
        assert f"on average over {len(NON_MUSIC)} kinds" in text  # not a share of the sounds: kinds have few
    assert spec.labels == before.labels
    assert spec.temperature == before.temperature
    content = (folder / CHECKPOINT).read_bytes()
    add_evidence(folder, examples, trained.run.predictions, say=lines.append)
    assert len(lines) == 1
    add_evidence(folder, examples, trained.run.predictions, (tmp_path,), say=lines.append)
    assert "is finished and keeps its own" in lines[1]
    assert (folder / CHECKPOINT).read_bytes() == content
    assert evidence_from_checkpoint(folder / CHECKPOINT) is not None
    (folder / CHECKPOINT).unlink()
    with pytest.raises(
        UsageError, match=f"missing from a finished training: remove {folder}, or --overwrite"
    ):
        add_evidence(folder, examples, None)


@pytest.mark.xdist_group("trained")
def test_recordings_and_held_out_confidences_count(trained: Trained, examples: Examples, tmp_path: Path):
    folder = Path(shutil.copytree(trained.run.folder, tmp_path / "run"))
    audio = trained.job.protocol.audio
    for kind in ("doors", "गाड़ी"):
        (tmp_path / kind).mkdir()
        for i in range(3):
            noise = np.random.default_rng(i).normal(0, 0.1, 2 * audio.sample_rate)
            soundfile.write(tmp_path / kind / f"{i}.wav", noise, audio.sample_rate)
    (tmp_path / "doors" / "readme.txt").write_text("no sound")
    folders = (tmp_path / "doors", tmp_path / "गाड़ी")
    predictions = drawn_predictions(200)
    add_evidence(folder, examples, predictions, folders, tmp_path / "cache", 1)
    spec = spec_from_checkpoint(folder / CHECKPOINT)
    confidences = predictions.by_song(spec.temperature).max(axis=1)
    assert spec.evidence is not None
    assert (confidences < spec.evidence.confidence).mean() == pytest.approx(0.0125, abs=0.006)
    facts = spec.provenance["evidence"]
    assert facts["sounds"] == 2 * facts["clips"] + 6
    assert {"doors", "गाड़ी"} < set(facts["caught_by_kind"])


@pytest.mark.xdist_group("trained")
def test_recordings_that_are_none(examples: Examples, trained: Trained, tmp_path: Path):
    folder = Path(shutil.copytree(trained.run.folder, tmp_path / "run"))
    (tmp_path / "empty").mkdir()
    for name, reason in (("missing", "is no folder of recordings"), ("empty", "no audio in .* can be used")):
        with pytest.raises(MerError, match=reason):
            add_evidence(folder, examples, None, (tmp_path / name,), tmp_path / "cache")
    assert evidence_from_checkpoint(folder / CHECKPOINT) is None


@pytest.mark.xdist_group("trained")
def test_what_a_stop_left_unsaid_is_said_by_the_next_call(
    examples: Examples, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = Path(shutil.copytree(trained.run.folder, tmp_path / "run"))

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evidence_of_run, "write_whole", stopped)
        with pytest.raises(KeyboardInterrupt):
            add_evidence(folder, examples, None)
    assert "evidence" not in json.loads((folder / METRICS).read_text())
    add_evidence(folder, examples, None)
    spec = spec_from_checkpoint(folder / CHECKPOINT)
    assert json.loads((folder / METRICS).read_text())["evidence"] == spec.provenance["evidence"]
    assert (folder / CARD).read_text() == card_from_spec(spec)
    (folder / CARD).write_text("my words")
    add_evidence(folder, examples, None)  # all is said: nothing is written
    assert (folder / CARD).read_text() == "my words"


@pytest.mark.xdist_group("trained")
def test_music_without_a_label_is_music_too(trained: Trained, examples: Examples, tmp_path: Path):
    """Quiet tones are nothing like the clips; whoever learnt from them knows them."""
    rng = np.random.default_rng(0)
    shape = examples.windows[0].shape[1:]
    tones = [(rng.normal(-70, 1, (1, *shape))).astype(np.float32) for _ in range(40)]
    far, clips = [], []
    for name, more in (("without", Sounds((), ())), ("with", Sounds(tones, [f"m{i}" for i in range(40)]))):
        folder = Path(shutil.copytree(trained.run.folder, tmp_path / name))
        add_evidence(folder, examples, None, unlabelled=more)
        evidence = evidence_from_checkpoint(folder / CHECKPOINT)
        spec = spec_from_checkpoint(folder / CHECKPOINT)
        assert evidence is not None
        assert spec.evidence is not None
        image = log_mel_from_decibels(tones[0], spec.audio)
        far.append(evidence(torch.from_numpy(image)[:, None])[0, 1].item() / spec.evidence.far)
        clips.append(spec.provenance["evidence"]["clips"])
    assert far[1] < 0.8 * far[0]
    assert clips[1] == clips[0] + 40
