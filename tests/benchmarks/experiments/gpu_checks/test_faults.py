"""What the checks of other processes' faults make of memory, messages and exit codes; no GPU, no process."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")
from merkit.benchmarks.experiments.gpu_checks import faults
from merkit.benchmarks.experiments.gpu_checks.bench import Bench, CheckFailed, CheckSkipped

FREE, NOISE = 8 << 30, 64 << 20


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    runtime = SimpleNamespace(infer=lambda _: None)
    reference = SimpleNamespace(log_mels=None, check=lambda *_: None)
    monkeypatch.setattr(Bench, "open", lambda _: nullcontext(runtime))
    monkeypatch.setattr(Bench, "first", None)
    monkeypatch.setattr(faults, "Reference", lambda *_: reference)
    monkeypatch.setattr(faults.time, "sleep", lambda _: None)
    return Bench({}, 1.0, tmp_path)


def with_child(monkeypatch: pytest.MonkeyPatch, output: str = "", free: tuple[int, ...] = ()) -> list[Any]:
    """A child that prints this, and so many bytes free at each look, the last for ever."""
    signals: list[Any] = []
    left = list(free)

    @contextmanager
    def child(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(
            send_signal=signals.append,
            wait=lambda: signals.append("waited"),
            communicate=lambda timeout: (output.encode(), None),
            returncode=1,
        )

    def look() -> int:
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(faults, "_child", child)
    monkeypatch.setattr(faults, "driver", lambda: nullcontext(SimpleNamespace(free_bytes=look)))
    return signals


def test_memory_of_a_killed_process_comes_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    signals = with_child(monkeypatch, free=(FREE, FREE - (1 << 30), FREE - (1 << 30), FREE - NOISE))
    figures = faults.check_killed(bench)
    assert signals == [faults.signal.SIGKILL, "waited"]
    assert figures == {"summary": "its memory was back after 0.2 s", "bytes_of_child": 1 << 30}


def test_memory_of_a_killed_process_that_is_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with_child(monkeypatch, free=(FREE, FREE - (1 << 30), FREE - NOISE - 1))
    with pytest.raises(CheckFailed, match=f"{NOISE + 1:,} bytes of the killed process are lost"):
        faults.check_killed(bench)


def test_a_fault_that_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with_child(monkeypatch, "error: an H100: CUDA failed\nclosed\n")
    figures = faults.check_fault(bench)
    assert figures == {"summary": "an H100: CUDA failed; it ended with exit code 1", "exit_code": 1}


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("a\nTraceback\nclosed\n", "no DeviceError; it printed"),
        ("error: CUDA failed\n", r"close\(\) failed after"),
    ],
)
def test_a_fault_that_is_not_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, output: str, why: str
) -> None:
    with_child(monkeypatch, output)
    with pytest.raises(CheckFailed, match=why):
        faults.check_fault(bench)


def test_what_the_memory_checker_says(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "========= COMPUTE-SANITIZER\n========= Invalid write\n========= ERROR SUMMARY: 1 error\n"
    done = SimpleNamespace(returncode=0, stdout=said, stderr="")
    monkeypatch.setattr(faults.shutil, "which", lambda *_, **__: "compute-sanitizer")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert faults.check_sanitizer(bench)["summary"] == "ERROR SUMMARY: 1 error"
    done.returncode = 9
    with pytest.raises(CheckFailed, match=r"^ERROR SUMMARY: 1 error \| COMPUTE-SANITIZER \| Invalid write"):
        faults.check_sanitizer(bench)
    monkeypatch.setattr(faults.shutil, "which", lambda *_, **__: None)
    with pytest.raises(CheckSkipped, match="compute-sanitizer"):
        faults.check_sanitizer(bench)
