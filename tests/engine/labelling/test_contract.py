"""The seconds of the stages, which every backend adds to."""

from __future__ import annotations

import copy

import pytest
from merkit.engine.labelling.contract import StageSeconds


def test_seconds_are_added_by_stage() -> None:
    stages = StageSeconds(decode=1.0)
    stages.add({"decode": 2.0, "mel": 0.5})
    stages.add({})
    stages.add({"mel": 0.25, "idle": 4.0})
    assert stages == StageSeconds(decode=3.0, mel=0.75, idle=4.0)
    with pytest.raises(KeyError):
        stages.add({"dekode": 1.0})


def test_the_seconds_since_a_copy() -> None:
    stages = StageSeconds(start=1.0, network=2.0)
    before = copy.copy(stages)
    stages.add({"network": 0.5, "waited": 3.0})
    since = stages.since(before)
    assert since == {**dict.fromkeys(vars(stages), 0.0), "network": 0.5, "waited": 3.0}
    before.add(since)
    assert before == stages


def test_only_cpu_seconds_are_summed() -> None:
    stages = StageSeconds(*(10.0**power for power in range(8)))
    assert list(vars(stages))[-2:] == ["waited", "idle"]
    assert stages.cpu_s == 111_111.0
