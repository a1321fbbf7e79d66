"""Without a terminal a training prints a line for each epoch."""

from __future__ import annotations

import pytest
from merkit.training.fit.trainer import Epoch
from merkit.training.progress import TerminalProgress

_NAN = float("nan")


def test_a_line_for_each_epoch(capsys: pytest.CaptureFixture[str]):
    with TerminalProgress() as progress:
        progress.cached(3)(2)
        progress.begin("run", 20, 1)
        progress.epoch(Epoch(2, 0.5, 0.75, 0.625, 0.8, 0.79, 1.25))
        progress.epoch(Epoch(3, 0.5, 0.75, _NAN, _NAN, _NAN, 1.25))
    assert capsys.readouterr().err.splitlines() == [
        "run: goes on after epoch 1 of 20",
        "epoch   2/20  loss 0.500 accuracy 0.750  held out: loss 0.625 accuracy 0.800 macro-F1 0.790  1.2 s",
        "epoch   3/20  loss 0.500 accuracy 0.750  1.2 s",
    ]
