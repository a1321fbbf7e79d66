"""What a command imports: each library costs every start its time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from audio_files import noise, write_audio
from merkit.engine.cpu import BLAS_THREADS

MODULES = """
import sys
from merkit.engine.cli.label import main
try:
    main(sys.argv[1:])
finally:
    print("modules:", *sorted(sys.modules), file=sys.stderr)
"""
NEVER = {"torch", "pandas", "scipy", "pyarrow", "onnx", "google.protobuf", "asyncio", "av", "fsspec"}
COMPUTING = {"numpy", "soundfile", "soxr", "onnxruntime"}


def modules(*arguments: str) -> set[str]:
    command = [sys.executable, "-c", MODULES, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return {*done.stderr.rpartition("modules:")[2].split()}


def test_help_computes_nothing() -> None:
    assert not modules("--help") & (NEVER | COMPUTING | {"rich", "multiprocessing", "importlib.metadata"})


@pytest.mark.parametrize(("chosen", "used"), [(None, "1"), ("3", "3")])
def test_numpy_has_no_thread_for_each_core(tmp_path: Path, chosen: str | None, used: str) -> None:
    path = write_audio(tmp_path / "a.wav", noise(3, 16_000), 16_000)
    environment = {name: value for name, value in os.environ.items() if name != BLAS_THREADS}
    environment |= {} if chosen is None else {BLAS_THREADS: chosen}
    code = MODULES.replace('"modules:", *sorted(sys.modules)', f'"threads:", os.environ["{BLAS_THREADS}"]')
    command = [sys.executable, "-c", f"import os{code}", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stderr.endswith(f"threads: {used}\n")


@pytest.mark.parametrize("suffix", [".wav", ".mp3"])
def test_a_label_needs_few_libraries(tmp_path: Path, suffix: str) -> None:
    path = write_audio(tmp_path / f"a{suffix}", noise(3, 16_000), 16_000)
    loaded = modules(str(path))
    assert loaded >= COMPUTING
    assert not loaded & (NEVER | {"rich"})
