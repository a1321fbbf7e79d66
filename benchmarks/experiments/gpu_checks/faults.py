"""What one process on the GPU does to the others, and what NVIDIA's memory checker says."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ....engine.errors import DeviceError
from .bench import Bench, CheckFailed, CheckSkipped, Reference, driver, require

_SCRIPT = Path(__file__).resolve().parents[1] / "first_hour.py"
_START_S = 120.0  # torch and a context on a busy machine
_NOISE = 64 << 20
_WINDOWS = 40


def check_killed(bench: Bench) -> dict[str, Any]:
    """A process that is killed at work costs the others nothing, and its memory comes back."""
    reference = Reference(bench.first, _WINDOWS)
    with bench.open() as runtime, driver() as calls:
        reference.check(runtime.infer(reference.log_mels), "before")
        before = calls.free_bytes()
        with _child(bench, "work_until_killed") as child:
            taken = before - calls.free_bytes()
            reference.check(runtime.infer(reference.log_mels), "beside the other process")
            child.send_signal(signal.SIGKILL)
            child.wait()
        waited, left = 0.0, calls.free_bytes()
        while left < before - _NOISE and waited < 20:
            time.sleep(0.2)
            waited, left = waited + 0.2, calls.free_bytes()
        require(left >= before - _NOISE, f"{before - left:,} bytes of the killed process are lost")
        reference.check(runtime.infer(reference.log_mels), "after")
    return {"summary": f"its memory was back after {waited:.1f} s", "bytes_of_child": taken}


def work_until_killed(bench: Bench) -> None:
    """In the child process."""
    reference = Reference(bench.first, _WINDOWS)
    with bench.open() as runtime:
        runtime.infer(reference.log_mels)
        print("ready", flush=True)
        while True:
            runtime.infer(reference.log_mels)


def check_fault(bench: Bench) -> dict[str, Any]:
    """A kernel that writes where nothing is: its process says so and ends; the others go on."""
    reference = Reference(bench.first, _WINDOWS)
    with bench.open() as runtime:
        reference.check(runtime.infer(reference.log_mels), "before")
        with _child(bench, "break_the_gpu") as child:
            try:
                output, _ = child.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                raise CheckFailed("the process that broke the GPU hangs") from None
            lines = output.decode(errors="replace").splitlines()
            message = next((line for line in lines if line.startswith("error: ")), "")
            require(bool(message), f"no DeviceError; it printed {lines[-3:]}")
            require("closed" in lines, f"close() failed after {message}")
            code = child.returncode
        reference.check(runtime.infer(reference.log_mels), "after another process broke its context")
    return {
        "summary": f"{message.removeprefix('error: ')}; it ended with exit code {code}",
        "exit_code": code,
    }


def break_the_gpu(bench: Bench) -> None:
    """In the child process."""
    reference = Reference(bench.first, _WINDOWS)
    runtime = bench.open()
    reference.check(runtime.infer(reference.log_mels), "before")
    print("ready", flush=True)
    try:
        with driver() as calls:
            calls.fault(runtime.stream)
            runtime.infer(reference.log_mels)
    except DeviceError as error:
        print(f"error: {error}", flush=True)
    runtime.close()
    print("closed", flush=True)


@contextmanager
def _child(bench: Bench, work: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does ``work`` of this file, once it is ready; it is killed afterwards."""
    child = subprocess.Popen(
        own_command(bench, work), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
    assert child.stdout is not None
    try:
        ready, _, _ = select.select([child.stdout], [], [], _START_S)
        line = child.stdout.readline() if ready else b""
        require(line == b"ready\n", f"a second process cannot work on the GPU: {line!r}")
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def check_sanitizer(bench: Bench) -> dict[str, Any]:
    """The shuffled streams again, with compute-sanitizer watching every access of every kernel."""
    tool = shutil.which("compute-sanitizer", path=f"{os.environ.get('PATH', '')}:/usr/local/cuda/bin")
    if tool is None:
        raise CheckSkipped("compute-sanitizer is neither on the PATH nor in /usr/local/cuda/bin")
    # Calls that torch tries and that fail are its own affair.
    options = ["--tool", "memcheck", "--error-exitcode", "9", "--report-api-errors", "no"]
    command = [tool, *options, *own_command(bench, "streams", seconds=min(5.0, bench.seconds))]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line.removeprefix("=========").strip() for line in (done.stdout + done.stderr).splitlines()]
    found = [line for line in lines if "ERROR SUMMARY" in line]
    require(done.returncode == 0, " | ".join([*found, *lines[-8:]])[-1_500:])
    return {"summary": found[-1] if found else "no error", "command": " ".join(options)}


def own_command(bench: Bench, work: str, seconds: float | None = None) -> list[str]:
    """The command line that does one check, or one part of a check, in a process of its own."""
    models = [f"--model={path}" for path in bench.models.values()]
    songs = [f"--songs={bench.songs}"] if bench.songs else []
    share = bench.seconds if seconds is None else seconds
    return [sys.executable, str(_SCRIPT), f"--do={work}", f"--share={share}",
            f"--folder={bench.folder}", *models, *songs]  # fmt: skip
