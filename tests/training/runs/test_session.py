"""Names and choices become networks and splits."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from audio_files import noise
from click.testing import CliRunner
from merkit.engine.data.labelled_audio import Clip, LabelledAudio, heard_text, labelled_audio
from merkit.engine.errors import MerError, UsageError
from merkit.engine.spec import ModelSpec
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.cli import main
from merkit.training.data.examples import Examples
from merkit.training.data.splits import Split
from merkit.training.evaluate.predictions import Predictions
from merkit.training.networks import musicnn_weights
from merkit.training.networks.audiocnn import AudioCNN
from merkit.training.networks.backbones import PAPER_BACKBONES
from merkit.training.networks.checkpoint import save_checkpoint, spec_from_checkpoint
from merkit.training.recipe import PROTOCOLS, with_overrides
from merkit.training.runs import session as session_module
from merkit.training.runs import settings as settings_module
from merkit.training.runs.announcements import summary
from merkit.training.runs.observer import NoObserver
from merkit.training.runs.provenance import split_note
from merkit.training.runs.run_folder import CARD, CHECKPOINT, METRICS, FinishedRun, prepare_folder
from merkit.training.runs.session import Session, models_from_names, read_data, read_examples, run_session
from merkit.training.runs.split_kinds import splits_from_choice
from safetensors.torch import load_file
from small_training import Says, Trained, fast_job
from tensorflow_files import random_musicnn, write_musicnn_wheel

BEST = PROTOCOLS["best"]


def test_names_of_networks():
    assert models_from_names(["ResNet-18", "all"]) == (
        "resnet18",
        *(name for name in PAPER_BACKBONES if name != "resnet18"),
    )
    assert models_from_names(["audiocnn", "audiocnn"]) == ("audiocnn",)


def _in_parts(data: LabelledAudio) -> LabelledAudio:
    """Every fourth clip is to be tested."""
    clips = tuple(
        dataclasses.replace(clip, part="training" if i % 4 else "test") for i, clip in enumerate(data.clips)
    )
    return dataclasses.replace(data, clips=clips)


def _said(data: LabelledAudio, cache: Path, out: Path, **fields: Any) -> tuple[str, list[FinishedRun], int]:
    """What a session of one epoch says, its runs, and how many clips it left out."""
    protocol = fields.pop("protocol", None) or fast_job("epochs=1").protocol
    splits = fields.pop("splits", splits_from_choice(None, protocol, data))
    models = fields.pop("models", ("audiocnn",))
    session = Session(
        data, "songs", models, protocol, out, splits, cache=cache, workers=1, export=False, **fields
    )
    runs, skipped = run_session(session, says := Says())
    return "\n".join(says.lines), runs, skipped


def test_a_stranger_is_told_what_is_wrong_with_his_data(songs: Path, cache: Path, tmp_path: Path):
    """A silent clip, and a quieter copy of a clip under the other label and artist."""
    data = labelled_audio(songs / "clips.csv")
    first, last = data.clips[0], data.clips[-1]
    sound = noise(4, 16_000)
    for name, level in (("original", 1), ("copy", 0.3), ("silent", 0)):
        soundfile.write(tmp_path / f"{name}.wav", level * sound, 16_000)
    more = (
        Clip(tmp_path / "original.wav", first.label, first.group, name="original.wav"),
        Clip(tmp_path / "copy.wav", last.label, last.group, name="copy.wav"),
        Clip(tmp_path / "silent.wav", first.label, first.group, name="silent.wav"),
    )
    data = dataclasses.replace(data, clips=(*data.clips, *more), notes=("a note of the data",))
    text, (run,), skipped = _said(data, cache, tmp_path / "run", folds=2)
    assert "a note of the data" in text
    assert "songs: 43 clips, 2 labels: calm 22, tense 21" in text
    assert f"skipped {tmp_path / 'silent.wav'}: is silent" in text
    assert "1 of 43 clips are left out, since labelling refuses them; 42 are used: calm 21, tense 21" in text
    assert "1 near copy of another clip, the first copy.wav (of original.wav)" in text
    assert "one recording under two labels: original.wav (calm), copy.wav (tense)" in text
    assert skipped == 1
    assert run.metrics["songs"] == 42
    assert [row[0] for row in run.metrics["skipped"]] == [str(tmp_path / "silent.wav")]
    card = (tmp_path / "run" / "fold-1" / CARD).read_text()
    assert "1 clips that labelling refuses" in card
    assert "grouped by group: none stands on both sides" in card


def _old_run(folder: Path, model: str = "") -> Path:
    """A folder that holds a training, as far as its files' names say it."""
    prepare_folder(folder, "old", "fresh", model)
    for name in filter(None, (CHECKPOINT, METRICS, model and f"{model}.onnx")):
        (folder / name).write_text("old")
    return folder


@pytest.mark.parametrize(
    ("models", "kinds", "folders"),
    [
        ("audiocnn", "grouped", "."),
        ("audiocnn", "random grouped", "random grouped"),
        ("audiocnn squeezenet", "grouped", ". audiocnn squeezenet"),  # the first was one network's own
    ],
)
def test_a_stop_after_overwrite_leaves_nothing_that_resume_would_refuse(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: str, kinds: str, folders: str
):
    """The old runs go before the clips are heard, and after all that can be refused by then."""

    def stopped(session: Session, observer: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session_module, "read_examples", stopped)
    data, out, cache = labelled_audio(songs / "clips.csv"), tmp_path / "out", tmp_path / "cache"
    runs = [_old_run(out / name, name if name in models else "") for name in folders.split()]
    trial, other = _old_run(out / "plans" / "head-1"), _old_run(out / "of-others", "audiocnn")
    fields = {"models": tuple(models.split()), "splits": tuple(kinds.split()), "mode": "overwrite"}
    for wrong in (
        {"unlabelled": (tmp_path / "nowhere",), "teachers": ("audiocnn",)},
        {"teachers": ("nothing-msd",)},
        {"protocol": with_overrides(BEST, ["guard=9"])},
    ):
        with pytest.raises(MerError):
            _said(data, cache, out, **fields, **wrong)
        assert all((run / CHECKPOINT).exists() for run in (*runs, trial, other))
    with pytest.raises(KeyboardInterrupt):
        _said(data, cache, out, **fields)
    assert not any(list(run.glob("*.*")) for run in runs)
    assert (trial.exists(), (other / "audiocnn.onnx").exists()) == (False, True)


def test_a_network_that_is_there_is_refused_before_another_is_trained(songs: Path, tmp_path: Path):
    run = _old_run(tmp_path / "out" / "squeezenet")
    fields = {"models": ("audiocnn", "squeezenet"), "splits": ("grouped",)}
    with pytest.raises(UsageError, match=f"{run} holds a training; resume it, or overwrite it"):
        _said(labelled_audio(songs / "clips.csv"), tmp_path / "cache", tmp_path / "out", **fields)
    assert not (tmp_path / "cache").exists()


def test_each_network_hears_its_own_images(songs: Path, cache: Path):
    data = labelled_audio(songs / "clips.csv")
    data = dataclasses.replace(data, clips=(*data.clips[:2], *data.clips[-2:]))
    models = ("audiocnn", "musicnn", "resnet18")
    session = Session(data, "songs", models, BEST, Path("out"), cache=cache, workers=1)
    examples = read_examples(session, NoObserver())
    assert [len(examples[model].decibels[0]) for model in models] == [128, 96, 128]
    assert examples["audiocnn"] is examples["resnet18"]


def test_borrowed_weights_bring_their_notice(
    songs: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wheel = tmp_path / "musicnn.whl"
    content = write_musicnn_wheel(wheel, (random_musicnn(0), random_musicnn(1)))
    monkeypatch.setattr(musicnn_weights, "_WHEEL_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setenv("MER_HOME", str(tmp_path / "home"))
    data = labelled_audio(songs / "clips.csv")
    data = dataclasses.replace(data, clips=(*data.clips[:4], *data.clips[-4:]))
    recipe = dataclasses.replace(BEST.recipe, epochs=1)
    protocol = dataclasses.replace(BEST, recipe=recipe, weights=str(wheel), validation_share=0.0)
    _, (run,), _ = _said(data, cache, tmp_path / "run", models=("musicnn",), protocol=protocol)
    assert "Universitat Pompeu Fabra 2019" in (run.folder / CARD).read_text()
    spec = spec_from_checkpoint(run.folder / CHECKPOINT)
    assert "Permission to use, copy, modify" in spec.provenance["notice"]
    assert spec.audio == PRESETS["musicnn"]


def test_a_given_split_is_used_and_judged(songs: Path, cache: Path, tmp_path: Path):
    data = _in_parts(labelled_audio(songs / "clips.csv"))
    text, (run,), _ = _said(data, cache, tmp_path / "run")
    assert "the data's own split: " in text
    # Each artist has two clips, one after the other: every tested one has another in training.
    assert "as the data gives it: of 10 test songs 10 have their group in training" in text
    assert run.metrics["split"]["kind"] == "given"
    assert run.metrics["split"]["shared"]["groups"] == 10
    assert run.metrics["macro_f1_interval"] is None or len(run.metrics["macro_f1_interval"]) == 2
    assert "figures too high for other music" in (tmp_path / "run" / CARD).read_text()
    text, (run,), _ = _said(data, cache, tmp_path / "folds", folds=2)
    assert "the split that the data comes with is not used" in text
    assert run.metrics["split"]["kind"] == "grouped"


def test_a_column_that_says_train_of_every_clip_is_no_split_which_is_said(
    songs: Path, cache: Path, tmp_path: Path
):
    data = labelled_audio(songs / "clips.csv")
    said = "the split that the data comes with is not used: it does not say both"
    assert said not in _said(data, cache, tmp_path / "none")[0]
    clips = tuple(dataclasses.replace(clip, part="training") for clip in data.clips)
    assert said in _said(dataclasses.replace(data, clips=clips), cache, tmp_path / "run")[0]


def test_a_label_that_is_not_tested_is_named(songs: Path, cache: Path, tmp_path: Path):
    data = labelled_audio(songs / "clips.csv")
    clips = tuple(
        dataclasses.replace(clip, part="test" if clip.label == "calm" and i % 4 == 0 else "training")
        for i, clip in enumerate(data.clips)
    )
    text, (run,), _ = _said(dataclasses.replace(data, clips=clips), cache, tmp_path / "run")
    assert "not tested, since the test part has none: tense" in text
    assert "(too few clips for an interval); not tested: tense" in text
    assert run.metrics["not_tested"] == ["tense"]
    assert run.metrics["per_label"]["tense"]["f1"] is None
    card = (tmp_path / "run" / CARD).read_text()
    assert "| tense | 0 | - | - | - |" in card
    assert "too few clips for an interval" in card


def test_a_label_that_is_not_validated_is_named(songs: Path, cache: Path, tmp_path: Path):
    data = labelled_audio(songs / "clips.csv")
    clips = tuple(
        dataclasses.replace(clip, part="test" if i % 4 == 0 else "validation" if i in (1, 2) else "training")
        for i, clip in enumerate(data.clips)
    )
    text, _, _ = _said(dataclasses.replace(data, clips=clips), cache, tmp_path / "run")
    assert "not validated, since the validation part has none: tense" in text
    assert "not tested" not in text


def test_a_leak_in_a_grouped_split_is_a_bug(examples: Examples):
    split = Split("grouped", np.arange(1, 40), np.arange(0), np.arange(1), "")
    with pytest.raises(RuntimeError, match="is none: of 1 test songs 1 has its group in training"):
        split_note(examples, split, BEST)


def test_a_group_that_is_too_large_to_be_tested_is_named(examples: Examples):
    clips = tuple(
        dataclasses.replace(c, group=c.group if i < 10 else "x") for i, c in enumerate(examples.clips)
    )
    test = np.asarray([i for i in range(10) if clips[i].group == clips[0].group])
    split = Split("grouped", np.setdiff1d(np.arange(len(clips)), test), np.arange(0), test, "")
    note = split_note(dataclasses.replace(examples, clips=clips), split, BEST)
    assert note == (
        "grouped by group: none stands on both sides; the group 'x', "
        f"{len(clips) - 10} of {len(clips)} clips, is larger than a test part and not tested"
    )


def test_labels_in_the_order_given(songs: Path):
    assert read_data(songs, "auto", "tense, calm").labels == ("tense", "calm")
    assert read_data(songs, "auto", None).labels == ("calm", "tense")
    with pytest.raises(MerError, match=r'none of tense, "calm, quiet": calm'):
        read_data(songs, "auto", 'tense,"calm, quiet"')


def test_the_licence_of_a_job(songs: Path):
    session = Session(labelled_audio(songs), "songs", ("audiocnn",), BEST, Path("out"))
    assert "not stated" in session.job("audiocnn", BEST).licence
    licensed = dataclasses.replace(session, licence="CC-BY")
    assert licensed.job("audiocnn", BEST).licence == "CC-BY"


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """A random network, which heard nothing: its features still tell these songs apart."""
    path = tmp_path / "teacher.safetensors"
    save_checkpoint(AudioCNN(2), ModelSpec("audiocnn", ("a", "b"), fast_job().protocol.audio), path)
    return path


@pytest.mark.xdist_group("trained")
def test_summary(trained: Trained):
    first, folder = summary(trained.run).splitlines()
    assert first.startswith(
        f"audiocnn on {len(trained.split.test)} held-out songs (grouped split): macro-F1 "
    )
    assert folder == str(trained.run.folder)


@pytest.mark.xdist_group("trained")
def test_a_session_with_a_teacher_and_music_without_labels(
    songs: Path, cache: Path, tmp_path: Path, teacher: Path
):
    music = tmp_path / "गाने"
    music.mkdir()
    for number in range(3):
        soundfile.write(music / f"{number}.wav", noise(4, 16_000, number), 16_000)
    data = labelled_audio(songs / "clips.csv")
    fields = {"teachers": (str(teacher),), "unlabelled": (music,)}
    said, (run,), _ = _said(data, cache, tmp_path / "out", **fields)
    assert f"teachers: {teacher}; 3 clips without a label" in said
    assert "clips without a label to learn from: 3" in said
    spec = spec_from_checkpoint(tmp_path / "out" / CHECKPOINT)
    assert spec.provenance["teachers"][0]["name"] == "teacher.safetensors"
    assert spec.provenance["unlabelled"] == {"name": "गाने", "clips": 3, "left_out": 0}
    assert spec.provenance["recipe"]["unlabelled_share"] > 0
    assert "**Teachers**: teacher.safetensors (" in (tmp_path / "out" / CARD).read_text()
    again, (resumed,), _ = _said(data, cache, tmp_path / "out", mode="resume", **fields)
    assert "to learn from" not in again  # nothing was trained
    assert resumed.metrics == run.metrics
    with pytest.raises(MerError, match="another training"):
        _said(data, cache, tmp_path / "out", mode="resume", teachers=(str(teacher),))


@pytest.mark.parametrize("command", [["--out", "OUT"], ["table", "--runs", "OUT", "--results", "OUT.md"]])
def test_music_without_labels_is_grouped_as_the_data_is(
    command: list[str], songs: Path, tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str | None] = []

    def unlabelled(sources: object, group_by: str | None) -> None:
        asked.append(group_by)
        raise MerError("enough")

    monkeypatch.setattr(settings_module, "unlabelled_clips", unlabelled)
    options = ["--data", songs / "clips.csv", "--group-by", "group", "--teacher", teacher, "-m", "audiocnn"]
    arguments = [*(word.replace("OUT", str(tmp_path / "out")) for word in command), *map(str, options)]
    result = CliRunner().invoke(main, [*arguments, "--unlabelled", str(songs)])
    assert "enough" in result.stderr
    assert asked == ["group"]


def test_the_least_confidence_is_not_of_songs_that_the_weights_had_heard(
    songs: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data, protocol = labelled_audio(songs / "clips.csv"), fast_job("epochs=1").protocol
    heard = data.clips[::2]
    provenance = {"heard_clips": heard_text(heard)}
    spec = ModelSpec("audiocnn", data.labels, protocol.audio, provenance=provenance)
    weights = tmp_path / "begun.safetensors"
    save_checkpoint(AudioCNN(2), spec, weights)
    given: list[Predictions] = []
    monkeypatch.setattr(session_module, "add_evidence", lambda *args: given.append(args[2]))
    protocol = dataclasses.replace(protocol, weights=str(weights))
    _, (run,), _ = _said(data, cache, tmp_path / "out", protocol=protocol, plan="frozen")
    assert run.predictions
    new = {*run.predictions.ids} - {clip.id for clip in heard}
    assert 0 < len(new) < len(run.predictions.ids)
    assert {*given[0].ids} == new


@pytest.mark.xdist_group("trained")
def test_a_second_head_and_a_network_on_every_clip(songs: Path, cache: Path, tmp_path: Path, teacher: Path):
    """Other labels are learnt beside, and are no outputs of the network; a head over it takes more music."""
    words = tmp_path / "words"
    for number in range(4):
        (words / ("slow", "fast")[number % 2]).mkdir(parents=True, exist_ok=True)
        path = words / ("slow", "fast")[number % 2] / f"{number}.wav"
        soundfile.write(path, noise(4, 16_000, number), 16_000)
    (words / "slow" / "bad.wav").write_bytes(b"")
    data, out = labelled_audio(songs / "clips.csv"), tmp_path / "out"
    fields = {"teachers": (str(teacher),), "second": (words,), "folds": 2, "final": True}
    said, _, _ = _said(data, cache, out, **fields)
    assert "4 clips without a label, 1 left out that labelling refuses (the first: slow/bad.wav: " in said
    spec = spec_from_checkpoint(out / "final" / CHECKPOINT)
    assert (spec.labels, spec.provenance["second_heads"]) == (data.labels, [["fast", "slow"]])
    assert spec.provenance["test_clips"] == []

    protocol = dataclasses.replace(BEST, weights=str(out))
    more = {"protocol": protocol, "plan": "frozen", "second": (words,), "models": ("audiocnn",)}
    said, (head,), _ = _said(data, cache, tmp_path / "head", **more)
    assert "teachers: none; 4 clips without a label" in said
    assert "embedding" in {name.partition(".")[0] for name in load_file(head.folder / CHECKPOINT)}


def test_other_labels_of_the_labelled_clips_are_refused_before_any_is_heard(
    songs: Path, tmp_path: Path, teacher: Path
):
    """They are no music without labels, so that nothing of their other labels would be learnt."""
    data = labelled_audio(songs / "clips.csv")
    second = tmp_path / "styles.csv"
    rows = [f"{clip.path},{('slow', 'fast')[number % 2]}" for number, clip in enumerate(data.clips)]
    second.write_text("\n".join(["path,label", *rows]))
    fields = {"teachers": (str(teacher),), "second": (second,)}
    count = len(data.clips)
    with pytest.raises(UsageError, match=f"styles.csv: {count} of its {count} clips are also in --data"):
        _said(data, tmp_path / "cache", tmp_path / "out", **fields)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"second": (Path(),)}, "music without labels teaches nothing by itself: name a teacher"),
        ({"unlabelled": (Path(),)}, "music without labels teaches nothing by itself: name a teacher"),
        (
            {"protocol": with_overrides(BEST, ["distill=0.5"])},
            "distill: there is no teacher to learn that from",
        ),
        ({"teachers": ("nothing-msd",)}, "nothing-msd"),
    ],
)
def test_teachers_that_are_not_there(fields: dict[str, Any], reason: str, songs: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=reason):
        _said(labelled_audio(songs / "clips.csv"), tmp_path / "cache", tmp_path / "out", **fields)
    assert not (tmp_path / "cache").exists()
