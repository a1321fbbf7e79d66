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
from merkit.engine.errors import DeviceError, UsageError

CHECKS = {
    "good": "json.dump(['passed', 'fine', {'rate': 5}], open(answer, 'w'))",
    "bad": "json.dump(['failed', 'not\\x1b fine', {}], open(answer, 'w')); sys.exit(1)",
    "gone": "print('last words'); os.kill(os.getpid(), 9)",
    "stuck": "subprocess.Popen(['sleep', '60']); time.sleep(60)",
    "closing": "json.dump(['passed', 'fine', {}], open(answer, 'w')); os.kill(os.getpid(), 11)",
    "never": "json.dump(['passed', 'fine', {}], open(answer, 'w')); time.sleep(60)",
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
    assert status == {
        "good": "passed", "bad": "failed", "gone": "crashed", "stuck": "hung",
        "closing": "crashed", "never": "hung", "last": "passed",
    }  # fmt: skip
    assert report["checks"][0]["figures"] == {"rate": 5}
    assert "exit code -9: last words" in report["checks"][2]["summary"]
    assert report["checks"][4]["summary"].startswith("passed (fine), then exit code -11")
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
@pytest.mark.parametrize("name", ["hour.json", "hour.md"])
def test_no_other_file_is_replaced(tmp_path: Path, tiny_model: Path, name: str) -> None:
    run(tmp_path, tiny_model, only=("good",))  # whose own files are
    (tmp_path / name).write_text('{"mine": 1}')
    with pytest.raises(UsageError, match=f"{name} is there and not of this command's making"):
        run(tmp_path, tiny_model, only=("good",))
    assert (tmp_path / name).read_text() == '{"mine": 1}'


@pytest.mark.usefixtures("processes")
def test_a_check_ends_when_the_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it may take to start."""
    monkeypatch.setattr(first_hour, "_LAST_S", 0.0)
    check = Check("stuck", "correct", 1, "?", 30.0)
    result = first_hour._result(check, Bench({}, 1.0, tmp_path), 1.0)
    assert result["status"] == "hung"
    assert result["seconds"] < 20


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
        (Options(models=("audioset",) * 2, report=tmp_path / "a.json"), "two of the models have one name"),
        (Options(models=("nothing",), report=tmp_path / "a.json"), "unknown model"),
        (Options(report=tmp_path / "a.md"), "same name"),
        (Options(report=tmp_path / "none" / "a.json"), "no folder"),
    ):
        with pytest.raises(UsageError, match=match):
            run_first_hour(options, print)


ended: list[int] = []  # exit codes of processes that must not live on


def answer_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: Callable[[Bench], dict]) -> list:
    """What a check's own process writes."""
    monkeypatch.setattr(Check, "function", lambda self: check)
    monkeypatch.setattr(os, "_exit", lambda code: ended.append(code))
    first_hour._do("streams", Bench({}, 0, tmp_path))
    return json.loads((tmp_path / "streams.json").read_text())


def test_a_checks_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: Bench) -> dict:
        raise CheckFailed("wrong logits")

    def breaking(_: Bench) -> dict:
        raise DeviceError("Xid 79")

    def skipping(_: Bench) -> dict:
        raise CheckSkipped("no tool")

    ended.clear()
    passing = {"summary": "well", "rate": 1.5}
    assert answer_of(tmp_path, monkeypatch, lambda _: dict(passing)) == ["passed", "well", {"rate": 1.5}]
    assert not ended
    assert answer_of(tmp_path, monkeypatch, failing) == ["failed", "wrong logits", {}]
    assert ended == [1]
    assert answer_of(tmp_path, monkeypatch, breaking) == ["failed", "Xid 79", {}]
    assert ended == [1, 1]
    assert answer_of(tmp_path, monkeypatch, skipping) == ["skipped", "no tool", {}]


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    ("status", "fine"),
    [("passed", True), ("skipped", True), ("left out", True)]
    + [(status, False) for status in ("failed", "crashed", "hung")],
)
def test_what_ends_well(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, status: str, fine: bool
) -> None:
    seconds: list[float] = []

    def result(check: Check, bench: Bench, left: float) -> dict:
        seconds.append(bench.seconds)
        ended = status if check.name == "bad" else "passed"
        return {"status": ended, "seconds": 0, "summary": "", "figures": {}}

    checks = [Check(name, "correct", weight, "?") for name, weight in (("good", 1), ("bad", 2), ("last", 5))]
    monkeypatch.setattr(first_hour, "CHECKS", checks)
    monkeypatch.setattr(first_hour, "_result", result)
    monkeypatch.setattr(first_hour, "_share", lambda checks, seconds: 10.0)
    assert run(tmp_path, tiny_model)[0] is fine
    assert seconds == [10, 20, 50]


@pytest.mark.usefixtures("processes")
def test_what_a_check_takes_is_no_longer_left(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each could take all of the minutes."""
    lefts: list[float] = []

    def result(check: Check, bench: Bench, left: float) -> dict:
        lefts.append(left)
        time.sleep(0.1)
        return {"status": "passed", "seconds": 0.1, "summary": "", "figures": {}}

    monkeypatch.setattr(first_hour, "_result", result)
    run(tmp_path, tiny_model, only=("good", "bad", "last"), minutes=1.0)
    assert 60 >= lefts[0] >= lefts[1] + 0.1 >= lefts[2] + 0.2


def test_time_is_shared_out_by_weight() -> None:
    checks = [Check("a", "correct", weight, "?") for weight in (2, 3)]
    assert first_hour._share(checks, 124.0) == 20.0  # each takes twelve seconds to start
    assert first_hour._share(checks, 1.0) == 0.2


@pytest.mark.usefixtures("processes")
def test_what_cannot_run_here_gets_no_time(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: list[list[str]] = []
    monkeypatch.setattr(Check, "missing", lambda self: "no DALI" if self.name == "bad" else None)
    monkeypatch.setattr(
        first_hour, "_share", lambda checks, _: shared.append([check.name for check in checks]) or 0.5
    )
    fine, report, _ = run(tmp_path, tiny_model, only=("good", "bad", "last"))
    assert fine
    assert [check["status"] for check in report["checks"]] == ["passed", "skipped", "passed"]
    assert shared == [["good", "last"]]


def test_the_default_network_comes_first() -> None:
    assert next(iter(first_hour._bundled())) == first_hour.DEFAULT_MODEL


@pytest.mark.parametrize(("fine", "code"), [(True, 0), (False, 3)])
def test_the_scripts_exit_code(monkeypatch: pytest.MonkeyPatch, fine: bool, code: int) -> None:
    monkeypatch.setattr(first_hour, "run_first_hour", lambda *_: fine)
    assert first_hour.main([]) == code


@pytest.mark.parametrize(("code", "named"), [(0, True), (9, False)])
def test_what_nvidia_smi_says(monkeypatch: pytest.MonkeyPatch, code: int, named: bool) -> None:
    done = subprocess.CompletedProcess([], code, "an H100, 580.1\n", "")
    monkeypatch.setattr(first_hour, "describe_machine", lambda: Options())
    monkeypatch.setattr(first_hour.subprocess, "run", lambda *_, **__: done)
    expected = {"name": "an H100", "driver_version": "580.1"} if named else None
    assert first_hour._machine().get("gpu") == expected


@pytest.mark.usefixtures("processes")
def test_a_check_ends_with_all_that_it_started(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = (
        "child = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); "
    )
    monkeypatch.setitem(
        CHECKS, "good", start + "json.dump(['passed', str(child.pid), {}], open(answer, 'w'))"
    )
    _, report, _ = run(tmp_path, tiny_model, only=("good",))
    status = Path(f"/proc/{report['checks'][0]['summary']}/stat")
    end = time.monotonic() + 10
    while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end, "it is still there"
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_script_is_stopped_by_sigterm_as_by_ctrl_c() -> None:
    """Else the check goes on, on the GPU: its process has a session of its own."""
    code = (
        "import signal, sys; from merkit.benchmarks.experiments import first_hour\n"
        "first_hour.run_first_hour = lambda *_: signal.raise_signal(signal.SIGTERM)\n"
        "sys.exit(first_hour.main([]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, "stopped\n")


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
        "from merkit.benchmarks.measure import untrained\n"
    )
    options: dict = {"capture_output": True, "text": True, "cwd": tmp_path}
    options["env"] = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", imports, "--help"], **options)
    assert done.returncode == 0, done.stderr
    for arguments, code, text in ((["--help"], 0, "--minutes"), (["--json", "a.json"], 1, "Error: ")):
        done = subprocess.run([sys.executable, script, *arguments], **options)
        assert done.returncode == code, done.stderr
        assert text in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "a.json").exists()
