"""The optimizer, its learning rate schedule, and the running average of the weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from ..recipe import Recipe


def optimizer_from_recipe(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW or Adam over the parameters that require a gradient.

    Weight decay applies to matrices and convolutions only, not to biases and BatchNorm.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=recipe.learning_rate)


def schedule_from_recipe(optimizer: torch.optim.Optimizer, recipe: Recipe, total: int) -> LRScheduler:
    """A constant rate, or a linear warm-up and then half a cosine to 0 (Loshchilov and Hutter, 2017).

    Args:
        total: steps of the whole training; the rate is 0 after the last one.
    """
    warm = min(round(total * recipe.warmup), total - 1)  # at least one step on the way down

    def factor(step: int) -> float:
        if recipe.schedule == "constant":
            return 1.0
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + float(np.cos(np.pi * (step - warm) / (total - warm))))

    return LambdaLR(optimizer, factor)


def running_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """An exponential moving average, for ``AveragedModel``, with a smaller decay in the first steps.

    With a constant decay the initial BatchNorm variance of 1 would remain in the average for hundreds
    of steps, and the averaged network would predict one class only.

    Args:
        decay: the weight of the average so far in a step, once that many steps are done.
    """

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        step_decay = min(decay, float((1 + count) / (10 + count)))
        return averaged.lerp(current, 1 - step_decay) if averaged.is_floating_point() else current

    return average
