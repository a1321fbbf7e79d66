"""Weights that a network has learnt from a teacher alone, by music that shares nothing with the labelled."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from merkit.engine.arrays import Float32
from merkit.engine.data.labelled_audio import LabelledAudio
from merkit.engine.errors import MerError, UsageError
from merkit.training.data.examples import Examples
from merkit.training.data.splits import splits_from_protocol
from merkit.training.fit.batches import TrainingData
from merkit.training.fit.trainer import DivergedError
from merkit.training.networks.audiocnn import AudioCNN
from merkit.training.networks.backbones import head_paths
from merkit.training.networks.checkpoint import network_from_checkpoint
from merkit.training.recipe import PROTOCOLS, with_overrides
from merkit.training.runs import pretraining, taught_windows
from merkit.training.runs.beginning import network_to_train
from merkit.training.runs.observer import NoObserver
from merkit.training.runs.plan_check import check_teaching
from merkit.training.runs.pretraining import load_pretrained, pretrained_weights, pretraining_of
from merkit.training.runs.run_folder import CARD
from merkit.training.runs.settings import Session
from merkit.training.runs.train_run import train_split
from merkit.training.teachers import teaching
from merkit.training.teachers.teaching import Teaching
from merkit.training.teachers.unlabelled import Unlabelled
from safetensors.torch import load_file
from small_training import Says, fast_job

AUDIO = fast_job().protocol.audio


class Ears:
    """Hears how loud each third of the mels is, in windows of the network's own AudioSpec."""

    name, key, audio = "thirds", "0123456789abcdef", AUDIO

    def __init__(self) -> None:
        self.windows = 0

    def embed(self, log_mels: Float32) -> Float32:
        self.windows += len(log_mels)
        return np.stack([part.mean(axis=(1, 2, 3)) for part in np.array_split(log_mels, 3, axis=2)], axis=1)


@pytest.fixture
def ears(monkeypatch: pytest.MonkeyPatch) -> Ears:
    """The published network that every source names."""
    hears = Ears()
    published = SimpleNamespace(labels=(), backbone="thirds")
    monkeypatch.setattr(pretraining, "trained_network", lambda source, say: published)
    monkeypatch.setattr(pretraining, "ears_of", lambda trained, audio, **heard: hears)
    monkeypatch.setattr(pretraining, "_PART", 20)
    return hears


@pytest.fixture
def pretrain(examples: Examples, cache: Path, tmp_path: Path) -> Callable[..., Path]:
    """``pretrained_weights`` of the examples' first ten clips, as if nothing were known of their artists.

    Their spectrograms are in the tests' cache, which is read and not written.
    """

    def run(steps: int, say: Callable[[str], None] = print, touched: Any = None, folder: str = "c") -> Path:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        for known in cache.iterdir():
            if known.is_dir() and not (place / known.name).exists():
                (place / known.name).symlink_to(known)
        music = Unlabelled(examples.clips[:10], examples.decibels[:10], touched or (frozenset(),) * 10)
        recipe = fast_job(f"pretrain={steps}").protocol.recipe
        taught = Teaching(("published",), music, cache=place / "embeddings")
        return pretrained_weights("audiocnn", recipe, AUDIO, taught, examples, place, say)

    return run


def test_the_network_comes_to_hear_what_its_teacher_hears(ears: Ears, pretrain: Callable[..., Path]):
    lines: list[str] = []
    weights = pretrain(100, lines.append)
    assert lines[0] == "audiocnn learns from thirds: 100 steps, 10 clips without a label"
    errors = [float(line.split()[3]) for line in lines[1:]]
    assert [line.split()[1] for line in lines[1:]] == [f"{step}/100" for step in (20, 40, 60, 80, 100)]
    assert errors[-1] < 0.6 * errors[0]
    # What is there is not made again; other steps are another network.
    windows = ears.windows
    assert pretrain(100, lines.append) == weights
    assert (len(lines), ears.windows) == (6, windows)
    assert pretrain(20) != weights
    assert ears.windows == windows  # the teacher's part is kept


def test_an_interrupted_one_goes_on_with_the_same_result(ears: Ears, pretrain: Callable[..., Path]):
    whole = load_file(pretrain(60))

    def stop_after_the_first(line: str) -> None:
        if line.startswith("step 20/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(60, stop_after_the_first, folder="other")
    lines: list[str] = []
    again = pretrain(60, lines.append, folder="other")
    assert [line.split()[1] for line in lines[1:]] == ["40/60", "60/60"]
    assert all(torch.equal(tensor, whole[name]) for name, tensor in load_file(again).items())
    assert [file.suffix for file in again.parent.iterdir()] == [".safetensors"]


def test_music_by_labelled_artists_is_not_heard(
    ears: Ears, examples: Examples, pretrain: Callable[..., Path]
):
    known = frozenset({"somebody", examples.clips[20].group})
    lines: list[str] = []
    pretrain(20, lines.append, (known,) * 4 + (frozenset({"somebody"}),) * 6)
    assert lines[0].endswith("6 clips without a label")
    with pytest.raises(MerError, match="fewer than two clips without a label share no artist"):
        pretrain(20, touched=(known,) * 9 + (frozenset(),))


def test_a_teacher_that_was_taught_labels_is_refused(
    ears: Ears, pretrain: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    taught = SimpleNamespace(labels=("calm", "tense"), backbone="audiocnn")
    monkeypatch.setattr(pretraining, "trained_network", lambda source, say: taught)
    with pytest.raises(UsageError, match="published was taught labels: name a published network first"):
        pretrain(20)


def test_the_teacher_hears_the_windows_that_the_network_hears():
    """Whatever its own frames are: here they are a quarter as long."""
    hop = AUDIO.hop_length // 4
    finer = dataclasses.replace(AUDIO, hop_length=hop, frames=126, reference="one", top_db=None)
    hears = SimpleNamespace(audio=finer, embed=lambda log_mels: log_mels[:, 0, :1, 0])
    time = np.tile(np.arange(400, dtype=np.float32), (AUDIO.n_mels, 1))
    starts = taught_windows._starts(100, AUDIO)  # as the network hears the same 100 frames
    assert starts.tolist() == [0, 34, 68]
    heard = taught_windows._heard(hears, SimpleNamespace(decibels=lambda: time), AUDIO, starts)  # pyright: ignore
    assert np.diff(heard[:, 0]).tolist() == [136, 136]


@pytest.mark.parametrize(("frames", "count"), [(1, 1), (32, 1), (62, 1), (64, 2), (100_000, 24)])
def test_a_window_begins_each_second_but_there_are_not_too_many(frames: int, count: int):
    starts = taught_windows._starts(frames, AUDIO)
    assert (len(starts), starts[0], starts[-1]) == (
        count,
        0,
        max(0, frames - AUDIO.frames) if count > 1 else 0,
    )


def test_directions_are_told_apart_by_how_much_they_count():
    rng = np.random.default_rng(0)
    strong = rng.normal(size=(600, 1)) @ np.ones((1, 4))
    features = np.hstack([strong, rng.normal(size=(600, 2))]).astype(np.float32)
    wanted, weights = taught_windows._directions(np.split(features, 3))
    rows = np.concatenate(wanted)
    assert np.cov(rows.T)[:3, :3] == pytest.approx(np.eye(3), abs=0.05)
    assert weights[0] == pytest.approx(2 * weights[1], rel=0.1)  # four equal features in one direction
    assert abs(np.corrcoef(rows[:, 0], strong[:, 0])[0, 1]) > 0.99


def test_training_begins_with_them_and_with_its_own_head(
    ears: Ears, examples: Examples, pretrain: Callable[..., Path]
):
    weights = pretrain(20)
    every = np.arange(len(examples.clips))
    data = TrainingData(examples.decibels, examples.windows, examples.targets, every, every[:0], AUDIO)
    network = network_to_train(fast_job(), data, examples.clips, examples.labels, 5, weights)
    plain = network_to_train(fast_job(), data, examples.clips, examples.labels, 5).state_dict()
    heads, state = tuple(f"{head}." for head in head_paths(network, "audiocnn")), load_file(weights)
    for name, tensor in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):  # its average goes on from any music
            assert torch.equal(tensor, plain[name] if name.startswith(heads) else state[name]), name
    other = AudioCNN(2)
    load_pretrained(other, weights, head_paths(other, "audiocnn"))
    assert torch.equal(other.get_parameter("features.0.weight"), state["features.0.weight"])


def test_a_training_says_how_its_network_began(
    ears: Ears, examples: Examples, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Every fold's is one of these: no other place begins it."""
    published = SimpleNamespace(labels=(), backbone="thirds", provenance={})
    monkeypatch.setattr(teaching, "trained_network", lambda source, say: published)
    monkeypatch.setattr(teaching, "ears_of", lambda trained: ears)
    rows = [np.array([number, number % 2, 1], np.float32) for number in range(len(examples.readable) + 10)]
    monkeypatch.setattr(teaching, "clip_embeddings", lambda *_: rows)
    monkeypatch.setattr(pretraining, "cache_home", lambda: tmp_path)
    for known in cache.iterdir():
        (tmp_path / known.name).symlink_to(known)
    job, says = fast_job("pretrain=20", "epochs=1"), Says()
    splits = splits_from_protocol(examples.clips, job.protocol, "grouped", 2)
    music = Unlabelled(examples.clips[:10], examples.decibels[:10], (frozenset(),) * 10)
    taught = Teaching(("published",), music, cache=tmp_path / "embeddings")
    job = dataclasses.replace(job, teaching=taught)
    runs = [train_split(job, examples, split, tmp_path / split.hash, observer=says) for split in splits]
    assert [line.split()[1] for line in says.lines if line.startswith("step")] == ["20/20"]  # for both folds
    (weights,) = (tmp_path / "pretrained").iterdir()
    stem = load_file(weights)["features.0.weight"]
    for run in runs:
        network, spec = network_from_checkpoint(run.folder / "checkpoint.safetensors")
        assert (network.get_parameter("features.0.weight") - stem).abs().mean() < 0.3 * stem.abs().mean()
        assert spec.provenance["pretrained"]["clips"] == 10
        said = (
            "- **Weights to begin with**: none; first taught by published alone, 20 steps on 10 clips without"
        )
        assert said in (run.folder / CARD).read_text()
    # Artists that became known make another training: it is not gone on with.
    known = Unlabelled(music.clips, music.decibels, (frozenset({examples.clips[20].group}),) * 10)
    other = dataclasses.replace(job, teaching=dataclasses.replace(taught, music=known))
    with pytest.raises(MerError, match="holds another training"):
        train_split(other, examples, splits[0], tmp_path / splits[0].hash, "resume")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_damaged_file_of_the_cache_is_made_again(ears: Ears, pretrain: Callable[..., Path], suffix: str):
    weights = pretrain(20)
    whole = load_file(weights)
    weights.unlink()
    weights.with_suffix(suffix).write_bytes(b"half")
    assert all(torch.equal(tensor, whole[name]) for name, tensor in load_file(pretrain(20)).items())


def test_weights_that_are_not_finite_are_not_kept(
    ears: Ears, pretrain: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(pretraining, "running_average", lambda decay: lambda old, new, count: new * np.nan)
    with pytest.raises(DivergedError, match="has values that are not finite"):
        pretrain(20)
    assert not any((tmp_path / "c" / "pretrained").iterdir())


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts what Linux shows")
def test_clips_are_not_held_open(ears: Ears, pretrain: Callable[..., Path]):
    """A process may have about a thousand files open."""
    counts: list[int] = []
    before = len(os.listdir("/proc/self/fd"))
    pretrain(40, lambda line: counts.append(len(os.listdir("/proc/self/fd"))))
    assert max(counts) < before + 5  # of ten clips


def test_a_recipe_without_it_begins_as_ever(ears: Ears, examples: Examples):
    job = dataclasses.replace(fast_job(), teaching=Teaching(("published",)))
    assert pretraining_of(job, examples, print) is None


@pytest.mark.parametrize(
    ("sets", "fields", "match"),
    [
        ([], {}, "pretrain needs a teacher, and music without labels"),
        ([], {"teachers": ("none",)}, "pretrain needs a teacher, and music without labels"),
        (
            ["layers=head"],
            {"teachers": ("none",), "unlabelled": (Path("m"),)},
            "pretrain needs random weights",
        ),
        ([], {"teachers": ("audiocnn",), "unlabelled": (Path("m"),)}, "audiocnn was taught labels"),
    ],
)
def test_what_it_needs_is_told_first(
    sets: list[str], fields: dict[str, Any], match: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("merkit.training.runs.plan_check.check_teachers", lambda *_: None)
    protocol = with_overrides(PROTOCOLS["best"], ["pretrain=10", *sets])
    data = LabelledAudio((), (), "clip")
    session = Session(data, "x", ("audiocnn",), protocol, Path("out"), **fields)
    with pytest.raises(UsageError, match=match):
        check_teaching(session, NoObserver())
