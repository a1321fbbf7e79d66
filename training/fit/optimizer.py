"""How the weights move: the optimizer, its schedule, and the average that is judged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ..recipe import Recipe


def optimizer_from_recipe(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Weight decay for what multiplies; none for biases and BatchNorm, which it only hurts."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=recipe.learning_rate)


def schedule_from_recipe(
    optimizer: torch.optim.Optimizer, recipe: Recipe, total: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if recipe.schedule == "onecycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.learning_rate, total_steps=total + 1, pct_start=recipe.warmup
        )
    warm = max(1, round(total * recipe.warmup))

    def factor(step: int) -> float:
        if recipe.schedule == "constant":
            return 1.0
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + float(np.cos(np.pi * (step - warm) / max(1, total - warm))))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def running_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """An average that begins short: with a constant decay BatchNorm's initial variance of 1 would
    stay in the averaged one for hundreds of steps, and evaluation would see one class only."""

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        now = min(decay, float((1 + count) / (10 + count)))
        return averaged.lerp(current, 1 - now) if averaged.is_floating_point() else current

    return average
