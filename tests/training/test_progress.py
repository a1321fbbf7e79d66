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
        progress.epoch(Epoch(2, 0.5, 0.75, 0.625, 0.8, 0.7, 1.25))
        progress.epoch(Epoch(3, 0.5, 0.75, _NAN, _NAN, _NAN, 1.25))
    assert capsys.readouterr().err.splitlines() == [
        "run: goes on after epoch 1 of 20",
        "epoch   2/20  loss 0.500 accuracy 0.750"
        "  validation: loss 0.625 accuracy 0.800 macro-F1 0.700  1.2 s",
        "epoch   3/20  loss 0.500 accuracy 0.750  1.2 s",
    ]


def test_figures_of_the_test_part_are_called_so(capsys: pytest.CaptureFixture[str]):
    with TerminalProgress() as progress:
        progress.begin("run", 20, 0, held_out="test")
        progress.epoch(Epoch(1, 0.5, 0.75, 0.625, 0.8, 0.7, 1.25))
    assert "  test: loss 0.625" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [False, True])
def test_names_cannot_move_the_cursor_and_stdout_stays_free(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    with TerminalProgress() as progress:
        progress.begin("[red]r\x1b[2Jun", 2, 1)
        progress.say("skipped a\x1b[2J\rb.wav: [bold]\nand more")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "\x1b[2J" not in printed.err
    assert "\r" not in printed.err or terminal
    assert "skipped a\\x1b[2J\\rb.wav: [bold]\nand more" in printed.err
    assert "[red]r\\x1b[2Jun: goes on after epoch 1 of 2" in printed.err
