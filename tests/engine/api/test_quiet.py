"""Switches against reports to vendors, and Ctrl-C while a command is imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SHOW = (
    "import os, merkit\n"
    "print(os.environ['ORT_DISABLE_TELEMETRY'], os.environ['RAY_USAGE_STATS_ENABLED'])\n"
    "try: import openvino_telemetry\n"
    "except ImportError: print('none')\n"
)


def test_every_process_that_imports_merkit_reports_nothing() -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("ORT_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED")
    }
    command = [sys.executable, "-c", SHOW]
    assert subprocess.check_output(command, env=environment, text=True) == "1 0\nnone\n"
    asked_for = {**environment, "ORT_DISABLE_TELEMETRY": "0", "RAY_USAGE_STATS_ENABLED": "1"}
    assert subprocess.check_output(command, env=asked_for, text=True).splitlines()[0] == "0 1"


INTERRUPT = "import os, signal, merkit\nos.kill(os.getpid(), signal.SIGINT)\nimport this\n"


PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
COMMANDS = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["scripts"]
OTHERS = ("program", "mer-mine", "mer-mine.py", "mer-label.py")


@pytest.mark.parametrize("name", [*COMMANDS, "mer-label.exe", *OTHERS])
def test_ctrl_c_ends_our_commands_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(INTERRUPT)
    done = subprocess.run([sys.executable, tmp_path / name], capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == -signal.SIGINT  # the shell says 130
    assert ("KeyboardInterrupt" in done.stderr) == (name in OTHERS)


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    (tmp_path / "mer-label").write_text(INTERRUPT.replace("import this", "print('on')"))
    command = f"trap '' INT; exec {sys.executable} {tmp_path / 'mer-label'}"
    assert subprocess.check_output(["sh", "-c", command], text=True) == "on\n"
