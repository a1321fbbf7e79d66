"""Training repeats, resumes with the same result, learns what can be learnt, and stops at NaN."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from failing_disk import FailingDisk
from merkit.engine import files
from merkit.engine.errors import MerError
from merkit.engine.spec import AudioSpec
from merkit.training.fit import trainer
from merkit.training.fit.batches import TrainingData
from merkit.training.fit.inference import logits_from_network
from merkit.training.fit.trainer import train
from merkit.training.networks.audiocnn import AudioCNN
from merkit.training.recipe import PROTOCOLS, Recipe
from merkit.training.teachers.lesson import Lesson
from torch import nn

SPEC = AudioSpec(window_samples=16_000, frames=32, n_mels=32, mean=(-50.0,), std=(10.0,))
RECIPE = Recipe(epochs=4, batch_size=8, learning_rate=3e-3, ema=0.9)


def _clips(count: int = 48) -> tuple[list[np.ndarray], np.ndarray]:
    """Noise with more power in the lower, the middle or the upper third of the mels."""
    rng = np.random.default_rng(0)
    targets = np.arange(count) % 3
    clips = [rng.normal(-50, 10, (32, 60)).astype(np.float32) for _ in range(count)]
    for clip, target in zip(clips, targets, strict=True):
        clip[target * 10 : target * 10 + 10] += 12
    return clips, targets


def _windows(clips: list[np.ndarray]) -> list[np.ndarray]:
    """The first and the last of each clip."""
    return [np.stack([clip[:, :32], clip[:, -32:]]) for clip in clips]


def _data(count: int = 48, validation: int = 12) -> TrainingData:
    clips, targets = _clips(count)
    training = count - validation
    return TrainingData(
        clips, _windows(clips), targets, np.arange(training), np.arange(training, count), SPEC
    )


def _train(recipe: Recipe = RECIPE, **options):
    torch.manual_seed(recipe.seed)
    network = AudioCNN(3)
    return train(network, _data(), recipe, **options)


def _same(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_and_one_seed_gives_one_network():
    recipe = dataclasses.replace(RECIPE, epochs=12)
    first, history = _train(recipe)
    second, again = _train(recipe)
    assert max(row.val_macro_f1 for row in history) > 0.8
    assert _same(first, second)
    assert [dataclasses.replace(row, seconds=0) for row in history] == [
        dataclasses.replace(row, seconds=0) for row in again
    ]
    other, _ = _train(dataclasses.replace(RECIPE, seed=1))
    assert not _same(first, other)


def test_tags_are_learnt_beside_the_labels():
    """The tag splits each label in two; the labels' outputs stay in front, and are learnt no less."""
    clips, targets = _clips(96)
    tags = (np.arange(96) // 3 % 2).astype(np.float32)[:, None]
    for clip, tag in zip(clips, tags[:, 0], strict=True):
        clip[:, ::2] += 12 * tag
    recipe = dataclasses.replace(RECIPE, epochs=10, mixup=0.0, tag_weight=1.0)
    torch.manual_seed(0)
    held_out = np.arange(72, 96)
    data = TrainingData(clips, _windows(clips), targets, np.arange(72), held_out, SPEC, tags)
    network, history = train(AudioCNN(4), data, recipe)
    assert max(row.val_macro_f1 for row in history) > 0.8
    outputs = np.stack(
        [logits[0] for logits in logits_from_network(network, _windows(clips), held_out, SPEC)]
    )
    assert outputs.shape == (24, 4)
    assert ((outputs[:, 3] > 0) == (tags[held_out, 0] > 0)).mean() > 0.8


def test_teachers_teach_what_the_labels_do_not_say():
    """The labels are drawn by lot; the soft ones, and clips without a label, say what is so."""
    clips, truth = _clips(96)
    soft, vectors = np.eye(3, dtype=np.float32)[truth], (truth - 1.0).astype(np.float32)[:, None]
    drawn = np.random.default_rng(0).integers(0, 3, 48)
    targets = np.where(np.arange(48) < 24, drawn, truth[:48])
    lesson = Lesson(soft, vectors, tuple(clips[48:]))
    windows = _windows(clips[:48])
    data = TrainingData(clips[:48], windows, targets, np.arange(24), np.arange(24, 48), SPEC, None, lesson)
    recipe = dataclasses.replace(RECIPE, epochs=16, distill=1.0, embedding_weight=1.0, unlabelled_share=2.0)
    torch.manual_seed(0)
    network, history = train(AudioCNN(4), data, recipe)
    assert max(row.val_macro_f1 for row in history) > 0.8
    outputs = np.stack([logits[0] for logits in logits_from_network(network, windows, np.arange(48), SPEC)])
    assert np.corrcoef(outputs[:, 3], vectors[:48, 0])[0, 1] > 0.8


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("after", [1, 3])
def test_resumed_is_the_same_as_uninterrupted(tmp_path: Path, schedule, after: int):
    recipe = dataclasses.replace(RECIPE, schedule=schedule)
    whole, history = _train(recipe)

    def kill(row: trainer.Epoch) -> None:
        if row.epoch == after:
            raise _Killed

    state = tmp_path / "state.pt"
    with pytest.raises(_Killed):
        _train(recipe, state_file=state, on_epoch=kill)
    seen: list[int] = []
    resumed, rows = _train(recipe, state_file=state, on_epoch=lambda row: seen.append(row.epoch))
    assert seen == list(range(after + 1, 5))
    assert _same(whole, resumed)
    assert [row.loss for row in rows] == [row.loss for row in history]


def test_nan_stops_at_its_step_and_keeps_the_epoch_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls = 0
    real = trainer.training_loss

    def failing(*arguments):
        nonlocal calls
        calls += 1
        return real(*arguments) * (float("nan") if calls == 8 else 1)

    monkeypatch.setattr(trainer, "training_loss", failing)
    kept: list[int] = []
    state = tmp_path / "state.pt"
    with pytest.raises(
        MerError, match=r"became nan in epoch 2, step 3; the best network up to epoch 1 is kept"
    ):
        _train(state_file=state, on_better=lambda network, row: kept.append(row.epoch))
    assert kept == [1]
    assert len(torch.load(state, weights_only=True)["best"])
    monkeypatch.undo()
    assert _same(_train(state_file=state)[0], _train()[0])


def test_weights_that_the_last_step_destroys_are_not_returned(monkeypatch: pytest.MonkeyPatch):
    """Its loss is finite, its gradient is not."""
    calls = 0
    real = trainer.training_loss

    def failing(outputs, *arguments):
        nonlocal calls
        calls += 1
        infinite_slope = torch.sqrt((outputs * 0).sum()) if calls == 8 else 0
        return real(outputs, *arguments) + infinite_slope

    monkeypatch.setattr(trainer, "training_loss", failing)
    recipe = dataclasses.replace(RECIPE, epochs=2, batch_size=9)
    with pytest.raises(MerError, match=r"not finite after epoch 2; the best network up to epoch 1 is kept"):
        _train(recipe)
    assert calls == 8


def test_a_state_of_another_training_is_refused(tmp_path: Path):
    state = tmp_path / "state.pt"
    _train(dataclasses.replace(RECIPE, epochs=1), state_file=state, key="one")
    with pytest.raises(MerError, match="another training"):
        _train(state_file=state, key="other")
    torch.save(nn.Linear(1, 1), state)
    with pytest.raises(MerError, match="not a state of mer-train"):
        _train(state_file=state, key="one")
    state.write_bytes(b"PK")
    with pytest.raises(MerError, match="not a state of mer-train"):
        _train(state_file=state, key="one")


@pytest.mark.parametrize("kind", ["write", "sync", "replace"])
def test_a_full_disk_is_said_as_such_and_keeps_the_state_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    state = tmp_path / "state.pt"
    _train(dataclasses.replace(RECIPE, epochs=1), state_file=state)
    before = state.read_bytes()
    monkeypatch.setattr(files, "Disk", lambda: FailingDisk(kind, 1))
    with pytest.raises(OSError, match="No space left") as error:
        _train(state_file=state)
    assert error.value.filename == str(state)
    assert state.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_a_signal_while_the_state_is_written_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(disk: FailingDisk, kind: str) -> None:
        if kind == "write":
            raise KeyboardInterrupt

    monkeypatch.setattr(FailingDisk, "count", interrupted)
    monkeypatch.setattr(files, "Disk", lambda: FailingDisk("write", 1))
    with pytest.raises(KeyboardInterrupt):
        _train(dataclasses.replace(RECIPE, epochs=1), state_file=tmp_path / "state.pt")
    assert not list(tmp_path.iterdir())


def test_early_stopping_keeps_the_best_epoch(monkeypatch: pytest.MonkeyPatch):
    figures = iter([(1.0, 0.5, 0.5), (1.0, 0.6, 0.6), (1.1, 0.6, 0.6), (0.9, 0.5, 0.5), (0.1, 1.0, 1.0)])
    monkeypatch.setattr(trainer, "_evaluate", lambda *_: next(figures))
    states: dict[int, dict] = {}
    network, history = _train(
        dataclasses.replace(RECIPE, epochs=9, patience=2),
        on_better=lambda net, row: states.update(
            {row.epoch: {k: v.clone() for k, v in net.state_dict().items()}}
        ),
    )
    assert [row.better for row in history] == [True, True, False, False]
    assert all(torch.equal(network.state_dict()[name], states[2][name]) for name in states[2])


def test_the_papers_plain_training_runs_and_leaves_frozen_layers_alone():
    network = AudioCNN(3)
    network.features.requires_grad_(False)
    before = [p.clone() for p in network.features.parameters()]
    recipe = dataclasses.replace(PROTOCOLS["hindi-2022"].recipe, epochs=2, batch_size=8)
    trained, history = train(network, _data(), recipe)
    after = list(trained.features.parameters())  # pyright: ignore[reportAttributeAccessIssue]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert len(history) == 2


@pytest.mark.parametrize("count", [4, 16, 17, 33, 129, 721])
def test_the_rate_is_0_at_the_end_whatever_the_last_batch(count: int, monkeypatch: pytest.MonkeyPatch):
    schedules = []
    real = trainer.schedule_from_recipe
    monkeypatch.setattr(
        trainer, "schedule_from_recipe", lambda *a: schedules.append(real(*a)) or schedules[-1]
    )
    clips = [np.zeros((4, 4), np.float32)] * count
    spec = AudioSpec(window_samples=2_048, frames=4, n_mels=4)
    data = TrainingData(clips, [], np.arange(count) % 2, np.arange(count), np.arange(0), spec)
    recipe = dataclasses.replace(RECIPE, epochs=2, batch_size=16)
    train(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), data, recipe)
    (schedule,) = schedules
    assert schedule.get_last_lr()[0] == pytest.approx(0, abs=1e-12)


def test_a_training_part_of_one_batch_and_one_more():
    recipe = dataclasses.replace(RECIPE, epochs=1, batch_size=8)
    clips, targets = _clips(10)
    data = TrainingData(clips, [], targets, np.arange(9), np.arange(0), SPEC)
    _, history = train(AudioCNN(3), data, recipe)
    assert np.isfinite(history[0].loss)
    assert np.isnan(history[0].val_loss)


@pytest.mark.parametrize(("groups", "types"), [(1, {torch.bfloat16}), (4, {torch.float32})])
def test_a_cpu_computes_depthwise_convolutions_in_float32(
    groups: int, types: set[torch.dtype], monkeypatch: pytest.MonkeyPatch
):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: True, raising=False)
    seen: set[torch.dtype] = set()
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3, groups=groups), nn.AdaptiveAvgPool2d(1))
    network.append(nn.Flatten()).append(nn.Linear(4, 3))
    network[1].register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    data = dataclasses.replace(_data(), training=np.arange(4), validation=np.arange(0))
    train(network, data, Recipe(epochs=1, batch_size=4))
    assert seen == types
