"""Lines for people: escaped, and a skipped clip once."""

from __future__ import annotations

from pathlib import Path

import pytest
from merkit.engine.errors import MerError, UsageError
from merkit.export.checks import Accuracy
from merkit.export.exporter import Exported
from merkit.export.report import Checks
from merkit.export.terminal import Terminal


def test_a_clip_is_skipped_once_and_shows_in_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.say("macro-F1\n  over 3 songs")
    assert terminal.exit_code == 0
    for _ in range(2):
        terminal.say("skipped \x1b[2J.wav: it is silent")
        terminal.say("warning: few")
    printed, warned = capsys.readouterr()
    assert printed == "macro-F1\n  over 3 songs\nskipped \\x1b[2J.wav: it is silent\n"
    assert warned == "warning: few\nwarning: few\n"
    assert terminal.exit_code == 4


def test_what_failed_is_a_line_and_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    failed = terminal.failed("net\r fp16", MerError("it is broken"), "; mend it")
    checks = Checks(accuracy=Accuracy(0.5, 0.475, 0.5, 0.5, 9))
    done = Exported("[red]x", "int8", checks, (Path("x.onnx"),), 1_250_000, 2.0)
    terminal.table([done], [failed, ("y", UsageError("no"))])
    printed, error = capsys.readouterr()
    assert error == "Error: net\\r fp16: it is broken; mend it\n"
    lines = [line.split() for line in printed.splitlines()]
    assert lines[1] == ["[red]x", "int8", "1.2", "47.5", "2.5", "2.0"]
    assert lines[2:] == [["net\\r", "fp16", "failed"], ["y", "failed"]]  # no code under "seconds"


def test_every_line_that_warns_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that belongs to a model above it, or follows what is none."""
    Terminal().say("  warning: too few clips to tell")
    Terminal().say("  FP16 range: 40,000\n  warning: over 32,768")
    printed, warned = capsys.readouterr()
    assert printed == "  FP16 range: 40,000\n"
    assert warned == "  warning: too few clips to tell\n  warning: over 32,768\n"


def test_what_failed_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().failed("c/cut.onnx", MerError("c/cut.onnx: it is not an ONNX file"))
    Terminal().failed("c/cut.onnx", MerError("c/cut.onnx needs more than 4096 MB"), ". Try less")
    Terminal().failed("net", MerError("nets: too many"))
    assert capsys.readouterr().err.splitlines() == [
        "Error: c/cut.onnx: it is not an ONNX file",
        "Error: c/cut.onnx needs more than 4096 MB. Try less",
        "Error: net: nets: too many",
    ]
