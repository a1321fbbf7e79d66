"""One network, one split, one recipe: a loop that can be killed at any epoch and goes on the same."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from ..engine.decoders import Float32
from ..engine.errors import MerError
from ..engine.spec import AudioSpec
from .augment import mixup, random_crop, spec_augment, spread_crops


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults are the ``best`` protocol."""

    epochs: int = 80
    batch_size: int = 32
    crops: int = 1  # a clip and epoch
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.1  # of all steps, then cosine to 0
    label_smoothing: float = 0.1
    mixup: float = 0.4
    mask_mels: int = 16
    mask_frames: int = 40
    gain_db: float = 6.0
    ema: float = 0.99  # a step; 0 turns it off
    eval_windows: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; the validation figures are of the averaged (EMA) weights."""

    epoch: int
    loss: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float
    seconds: float


def train(
    network: nn.Module,
    clips: Sequence[Float32],
    targets: np.ndarray,
    training: np.ndarray,
    validation: np.ndarray,
    spec: AudioSpec,
    recipe: Recipe,
    state_file: Path | None = None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> tuple[nn.Module, list[Epoch]]:
    """Trains on ``clips[training]`` and returns the averaged network and its history.

    Args:
        clips: dB spectrograms ``[mels, frames]``, as the cache gives them.
        targets: a label's position for each clip.
        state_file: written after every epoch; if it is there, training goes on from it with the
            same result as without the interruption.

    Raises:
        MerError: the loss is not finite; the state file still holds the epoch before.
    """
    classes = int(targets.max()) + 1
    network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    averaged = AveragedModel(network, avg_fn=_ema(recipe.ema), use_buffers=True)
    optimizer = torch.optim.AdamW(_groups(network, recipe.weight_decay), lr=recipe.learning_rate)
    steps = -(-len(training) * recipe.crops // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _warm_cosine(step, steps * recipe.epochs, recipe.warmup)
    )
    history: list[Epoch] = []
    if state_file and state_file.exists():
        state = torch.load(state_file, weights_only=True)
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        history = [Epoch(**row) for row in json.loads(state["history"])]

    for epoch in range(len(history), recipe.epochs):
        began = time.perf_counter()
        # Seeded by epoch, not carried over, so that a resumed run draws the same numbers.
        rng = np.random.default_rng([recipe.seed, epoch])
        torch.manual_seed(int(rng.integers(2**62)))
        network.train()
        order = np.concatenate([rng.permutation(training) for _ in range(recipe.crops)])
        total = 0.0
        for step in range(steps):
            chosen = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            if len(chosen) < 2:
                continue  # BatchNorm needs two
            crops = np.stack([random_crop(clips[i], spec, rng, recipe.gain_db) for i in chosen])
            images = torch.from_numpy(crops)[:, None]
            wanted = functional.one_hot(torch.from_numpy(targets[chosen]), classes).float()
            images, wanted = mixup(images, wanted, recipe.mixup, rng)
            images = spec_augment(images, recipe.mask_mels, recipe.mask_frames)
            images = images.contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(network(images), wanted, label_smoothing=recipe.label_smoothing)
            if not torch.isfinite(loss):
                raise MerError(f"the loss became {loss.item()} in epoch {epoch + 1}, step {step + 1}")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if recipe.ema:
                averaged.update_parameters(network)
            total += loss.item() * len(chosen)
        judged = averaged if recipe.ema else network
        figures = _evaluate(judged, clips, targets, validation, spec, recipe.eval_windows)
        history.append(Epoch(epoch + 1, total / len(order), *figures, time.perf_counter() - began))
        on_epoch(history[-1])
        if state_file:
            _save_whole(
                {
                    "network": network.state_dict(),
                    "averaged": averaged.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "history": json.dumps([dataclasses.asdict(row) for row in history]),
                },
                state_file,
            )
    return (averaged.module if recipe.ema else network).eval(), history


@torch.inference_mode()
def logits_of(
    network: nn.Module, clips: Sequence[Float32], chosen: np.ndarray, spec: AudioSpec, windows: int
) -> list[Tensor]:
    """For each chosen clip the logits ``[windows, classes]`` of its evenly spread windows."""
    network.eval()
    found = []
    for i in chosen:
        images = torch.from_numpy(np.stack(spread_crops(clips[i], spec, windows)))[:, None]
        found.append(network(images.contiguous(memory_format=torch.channels_last)))
    return found


def _evaluate(
    network: nn.Module,
    clips: Sequence[Float32],
    targets: np.ndarray,
    chosen: np.ndarray,
    spec: AudioSpec,
    windows: int,
) -> tuple[float, float, float]:
    from ..engine.score import accuracy_and_macro_f1

    if not len(chosen):
        return float("nan"), float("nan"), float("nan")
    probabilities = torch.stack([z.softmax(1).mean(0) for z in logits_of(network, clips, chosen, spec, windows)])
    wanted = torch.from_numpy(targets[chosen])
    loss = functional.nll_loss(probabilities.clamp_min(1e-12).log(), wanted).item()
    accuracy, macro_f1 = accuracy_and_macro_f1(targets[chosen], probabilities.argmax(1).numpy())
    return loss, accuracy, macro_f1


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for what multiplies; none for biases and BatchNorm, which it only hurts."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _ema(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """An average that begins short: with a constant decay BatchNorm's initial variance of 1 would
    stay in the averaged one for hundreds of steps, and evaluation would see one class only."""

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        now = min(decay, float((1 + count) / (10 + count)))
        return averaged.lerp(current, 1 - now) if averaged.is_floating_point() else current

    return average


def _warm_cosine(step: int, total: int, warmup: float) -> float:
    warm = max(1, round(total * warmup))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + float(np.cos(np.pi * (step - warm) / max(1, total - warm))))


def _save_whole(state: Any, target: Path) -> None:
    aside = target.with_suffix(".part")
    torch.save(state, aside)
    os.replace(aside, target)
