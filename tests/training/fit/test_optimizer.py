"""Weight decay spares biases, the cosine warms up and ends at 0, the running average forgets its start."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from merkit.training.fit.optimizer import optimizer_from_recipe, running_average, schedule_from_recipe
from merkit.training.recipe import PROTOCOLS, Recipe
from torch import nn


def test_only_matrices_decay():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    network[2].requires_grad_(False)
    optimizer = optimizer_from_recipe(network, Recipe(weight_decay=0.1))
    decayed, others = optimizer.param_groups
    assert [p.shape for p in decayed["params"]] == [network[0].weight.shape]
    assert len(others["params"]) == 3
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert isinstance(optimizer, torch.optim.AdamW)
    papers = optimizer_from_recipe(network, PROTOCOLS["hindi-2022"].recipe)
    assert not isinstance(papers, torch.optim.AdamW)


def _rates(recipe: Recipe, steps: int) -> list[float]:
    optimizer = optimizer_from_recipe(nn.Linear(1, 1), recipe)
    schedule = schedule_from_recipe(optimizer, recipe, steps)
    rates = []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return rates


def test_the_cosine_warms_up_and_ends_near_0():
    rates = _rates(Recipe(learning_rate=1.0, warmup=0.1), 100)
    assert rates[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert all(later <= earlier for earlier, later in pairwise(rates[10:]))
    assert rates[-1] < 0.001
    assert set(_rates(Recipe(learning_rate=1.0, schedule="constant"), 20)) == {1.0}


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 451])
def test_after_the_last_step_the_rate_is_0(steps: int, warmup: float):
    optimizer = optimizer_from_recipe(nn.Linear(1, 1), Recipe(warmup=warmup))
    schedule = schedule_from_recipe(optimizer, Recipe(warmup=warmup), steps)
    for _ in range(steps):
        assert schedule.get_last_lr()[0] > 0
        optimizer.step()
        schedule.step()
    assert schedule.get_last_lr()[0] == pytest.approx(0, abs=1e-12)


def test_the_average_forgets_its_start():
    average = running_average(0.9)
    value, one = torch.zeros(1), torch.ones(1)
    for count in range(30):
        value = average(value, one, count)
    assert value.item() > 0.99  # with the decay of 0.9 from the first step: 0.958
    assert average(torch.tensor(3), torch.tensor(4), 0).item() == 4  # counters are copied
