"""The run as a whole: a process and a time limit for every check, whatever a check does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from merkit.benchmarks.cli import main as bench
from merkit.benchmarks.experiments import first_hour
from merkit.benchmarks.experiments.first_hour import Options, run_first_hour
from merkit.benchmarks.experiments.gpu_checks import faults
from merkit.benchmarks.experiments.gpu_checks.bench import Bench, CheckFailed, CheckSkipped
from merkit.benchmarks.experiments.gpu_checks.plan import Check
from merkit.engine.errors import UsageError

CHECKS = {
    "good": "json.dump(['passed', 'fine', {'rate': 5}], open(answer, 'w'))",
    "bad": "json.dump(['failed', 'not\\x1b fine', {}], open(answer, 'w')); sys.exit(1)",
    "gone": "print('last words'); os.kill(os.getpid(), 9)",
    "stuck": "subprocess.Popen(['sleep', '60']); time.sleep(60)",
    "last": "json.dump(['passed', 'still here', {}], open(answer, 'w'))",
}


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that are small programs."""

    def command(bench: Bench, name: str, seconds: float | None = None) -> list[str]:
        head = f"import json, os, subprocess, sys, time; answer = {str(bench.folder / f'{name}.json')!r}; "
        return [sys.executable, "-c", head + CHECKS[name]]

    monkeypatch.setattr(faults, "own_command", command)
    monkeypatch.setattr(first_hour, "CHECKS", [Check(name, "correct", 1, f"{name}?", 2.0) for name in CHECKS])
    monkeypatch.setattr(first_hour, "require_gpu", lambda: None)


def run(tmp_path: Path, model: Path, **options: object) -> tuple[bool, dict, list[str]]:
    lines: list[str] = []
    report = tmp_path / "hour.json"
    fine = run_first_hour(Options(models=(str(model),), report=report, **options), lines.append)  # type: ignore
    return fine, json.loads(report.read_text()), lines


@pytest.mark.usefixtures("processes")
def test_no_check_ends_the_run(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_hour, "_share", lambda checks, seconds: 0.5)
    began = time.monotonic()
    fine, report, lines = run(tmp_path, tiny_model)
    assert time.monotonic() - began < 40
    assert not fine
    status = {check["name"]: check["status"] for check in report["checks"]}
    assert status == {"good": "passed", "bad": "failed", "gone": "crashed", "stuck": "hung", "last": "passed"}
    assert report["checks"][0]["figures"] == {"rate": 5}
    assert "exit code -9: last words" in report["checks"][2]["summary"]
    assert [line.split()[1] for line in lines] == list(CHECKS)
    page = (tmp_path / "hour.md").read_text()
    assert "| last | last? | passed |" in page
    assert "\x1b" not in page


@pytest.mark.usefixtures("processes")
def test_some_checks_and_too_little_time(tmp_path: Path, tiny_model: Path) -> None:
    fine, report, _ = run(tmp_path, tiny_model, only=("good", "last"))
    assert fine
    assert [check["name"] for check in report["checks"]] == ["good", "last"]
    fine, report, _ = run(tmp_path, tiny_model, only=("good",), minutes=0.1)
    assert fine
    assert report["checks"][0]["status"] == "left out"


@pytest.mark.usefixtures("processes")
def test_the_report_is_whole_without_a_reader(
    tmp_path: Path, tiny_model: Path, without_reader: Callable[..., int | str | None]
) -> None:
    report = tmp_path / "a.json"
    arguments = ("first-hour", "--only", "good", "--model", tiny_model, "--json", report)
    assert without_reader(*arguments) == 141
    assert json.loads(report.read_text())["checks"][0]["status"] == "passed"
    assert "| good | good? | passed |" in report.with_suffix(".md").read_text()


def test_what_it_refuses(tmp_path: Path, tiny_model: Path) -> None:
    engine = tmp_path / "a.engine"
    engine.write_bytes(b"")
    for options, match in (
        (Options(only=("speed",), report=tmp_path / "a.json"), "no check speed; there are: streams"),
        (Options(models=(str(engine),), report=tmp_path / "a.json"), r"must be \.onnx"),
        (Options(minutes=float("nan"), report=tmp_path / "a.json"), "minutes must be a number"),
        (Options(models=("nothing",), report=tmp_path / "a.json"), "unknown model"),
        (Options(report=tmp_path / "a.md"), "same name"),
        (Options(report=tmp_path / "none" / "a.json"), "no folder"),
    ):
        with pytest.raises(UsageError, match=match):
            run_first_hour(options, print)


def answer_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: Callable[[Bench], dict]) -> list:
    """What a check's own process writes."""
    monkeypatch.setattr(Check, "function", lambda self: check)
    monkeypatch.setattr(os, "_exit", lambda code: None)
    first_hour._do("streams", Bench({}, 0, tmp_path))
    return json.loads((tmp_path / "streams.json").read_text())


def test_a_checks_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: Bench) -> dict:
        raise CheckFailed("wrong logits")

    def skipping(_: Bench) -> dict:
        raise CheckSkipped("no tool")

    passing = {"summary": "well", "rate": 1.5}
    assert answer_of(tmp_path, monkeypatch, lambda _: dict(passing)) == ["passed", "well", {"rate": 1.5}]
    assert answer_of(tmp_path, monkeypatch, failing) == ["failed", "wrong logits", {}]
    assert answer_of(tmp_path, monkeypatch, skipping) == ["skipped", "no tool", {}]


def test_the_command_without_a_gpu(tmp_path: Path) -> None:
    done = CliRunner().invoke(bench, ["first-hour", "--json", str(tmp_path / "a.json")])
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert not (tmp_path / "a.json").exists()
    done = CliRunner().invoke(bench, ["first-hour", "--only", "x", "--json", str(tmp_path / "a.json")])
    assert done.exit_code == 2


def test_the_plain_script_needs_nothing_that_reads_sound(tmp_path: Path) -> None:
    """In a Python that has none of these packages, and not this one either."""
    pytest.importorskip("torchvision")
    block = tmp_path / "sitecustomize.py"
    names = {"soundfile", "soxr", "av", "click", "rich", "pyarrow", "pycuda", "librosa", "tensorrt_rtx"}
    block.write_text(
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {names!r}:\n"
        "            raise ModuleNotFoundError(f'no {name}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    script = Path(first_hour.__file__)
    imports = (
        "import runpy, sys; from pathlib import Path\n"
        f"try: runpy.run_path({str(script)!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        f"assert runpy.run_path({str(script)!r}, run_name='__mp_main__')['CHECKS']  # in a worker process\n"
        "from merkit.benchmarks.experiments.gpu_checks.plan import CHECKS\n"
        "for check in CHECKS: check.place in ('with_dali', 'with_tensorrt') or check.function()\n"
        "from merkit.training.networks import backbones\nfrom merkit.export import torch_to_onnx\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", imports, "--help"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    for arguments, code, text in ((["--help"], 0, "--minutes"), (["--json", "a.json"], 1, "Error: ")):
        done = subprocess.run(
            [sys.executable, script, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )
        assert done.returncode == code, done.stderr
        assert text in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "a.json").exists()
