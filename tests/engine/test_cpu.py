import os

import pytest
from merkit.engine.cpu import usable_cores


def test_only_cores_that_this_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7}, raising=False)
    assert usable_cores() == 3


@pytest.mark.parametrize(("count", "usable"), [(8, 8), (None, 1)])
def test_systems_without_affinity(monkeypatch: pytest.MonkeyPatch, count: int | None, usable: int) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert usable_cores() == usable
