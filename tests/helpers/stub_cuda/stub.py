"""Builds the stub driver and controls it. Processes must find it as libcuda.so.1, by LD_LIBRARY_PATH."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[2]
SOURCE = Path(__file__).with_name("driver.c")
OUT_OF_MEMORY, LAUNCH_FAILED, NO_DEVICE, INVALID_HANDLE, BUSY = 2, 719, 100, 400, 46


PACKAGES = ("pycuda", "cuda-bindings")
"""Those that can stand behind ``cuda_gpu.Cuda``."""


def why_not_here(package: str) -> str | None:
    """Why the tests on the stub driver cannot run with one of ``PACKAGES``; None where they can."""
    if not sys.platform.startswith("linux"):
        return "the stub driver is Linux's libcuda.so.1"
    if package == "pycuda" and importlib.util.find_spec("pycuda") is None:
        return "PyCUDA is not built here: tests/build_pycuda.sh does that once"
    if package == "cuda-bindings" and not _has_bindings():
        return "cuda-bindings is not installed: torch brings it, or merkit[gpu]"
    missing = [tool for tool in ("cc", "nm") if shutil.which(tool) is None]
    return f"{missing[0]} is not installed" if missing else None


def build(folder: Path) -> Path:
    """Compiles the stub, with every function of a driver that PyCUDA, if it is there, is linked against."""
    ours = set(re.findall(r"^int (cu\w+)\(", SOURCE.read_text(), re.MULTILINE))
    rest = [f"int {name}(void) {{ return NOT_SUPPORTED; }}" for name in sorted(_of_pycuda() - ours)]
    known = [f'{{"{name}", (void *){name}}},' for name in sorted(_of_pycuda() | ours)]
    table = ["static const struct known { const char *name; void *at; } KNOWN[] = {", *known, "{0, 0}};"]
    (folder / "rest.h").write_text("\n".join([*rest, *table]) + "\n")
    library = folder / "libcuda.so.1"
    command = [
        "cc",
        "-O1",
        "-g",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-shared",
        "-fPIC",
        "-pthread",
        f"-I{folder}",
    ]
    subprocess.run([*command, "-Wl,-soname,libcuda.so.1", "-o", library, SOURCE], check=True)
    return library


def run_on_stub(package: str, folder: Path, *arguments: Any) -> tuple[int, str, str]:
    """Runs tests in files ``on_*.py`` with the stub as libcuda.so.1: it must be there before CUDA is.

    Gives how many passed, and what was printed on stdout and stderr.
    """
    build(folder)
    paths = {"LD_LIBRARY_PATH": folder, "PYTHONPATH": TESTS / "helpers"}
    joined = {name: os.pathsep.join([str(path), os.environ.get(name, "")]) for name, path in paths.items()}
    options = ["-q", "-n", "0", "-p", "no:cacheprovider", "-o", "python_files=on_*.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments],
        env={**os.environ, "STUB_CUDA": package, **joined},
        capture_output=True,
        text=True,
        cwd=TESTS.parent,
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    return int(re.findall(r"(\d+) passed", done.stdout)[0]), done.stdout, done.stderr


def _of_pycuda() -> set[str]:
    pycuda = importlib.util.find_spec("pycuda")
    if pycuda is None or pycuda.origin is None:
        return set()
    (binary,) = Path(pycuda.origin).parent.glob("_driver*.so")
    undefined = subprocess.run(
        ["nm", "-D", "--undefined-only", binary], capture_output=True, text=True, check=True
    ).stdout
    return set(re.findall(r"\bU (cu[A-Z]\w+)", undefined))


def _has_bindings() -> bool:
    try:
        return importlib.util.find_spec("cuda.bindings.driver") is not None
    except ModuleNotFoundError:  # not even its package
        return False


class Stub:
    """The stub driver that this process has loaded."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libcuda.so.1")

    def reset(self, seed: int | None = None) -> None:
        """A working GPU again: streams run at once, or with a seed in an order that it chooses."""
        self.library.stub_reset(seed is not None, ctypes.c_ulonglong(seed or 0))

    def device(
        self, count: int = 1, capability: int = 89, driver: int = 13_000, free_bytes: int = 8 << 30
    ) -> None:
        self.library.stub_device(count, capability, driver, ctypes.c_size_t(free_bytes))

    def inject(self, function: str, code: int, after: int = 0) -> None:
        """That function fails once, after so many more calls that succeed."""
        self.library.stub_inject(function.encode(), code, after)

    def break_down(self, code: int) -> None:
        """From now on every function fails, until a reset; ``forget`` what could not be freed then."""
        self.library.stub_break(code)

    def forget(self) -> None:
        self.library.stub_forget()

    def compute_mode(self, mode: int, device: int = 0) -> None:
        self.library.stub_mode(mode, device)

    def live(self) -> dict[str, int]:
        """How many of each kind were taken and not given back."""
        counts = (ctypes.c_int * 5)()
        self.library.stub_live(counts)
        return dict(zip(("memory", "pinned", "streams", "events", "contexts"), counts, strict=True))

    def flags(self, kind: str) -> list[int]:
        """With which flags the live "pinned" memory, "streams" or "events" were made, the oldest first."""
        return self._of_each({"pinned": 1, "streams": 2, "events": 3}[kind])

    def sizes(self, kind: str) -> list[int]:
        """The bytes of each live block, of "memory" on the GPU or "pinned", the oldest first."""
        return self._of_each({"memory": 0, "pinned": 4}[kind])

    def _of_each(self, kind: int) -> list[int]:
        values = (ctypes.c_ulonglong * 100)()
        return list(values[: self.library.stub_flags(kind, values, len(values))])

    def violations(self) -> tuple[int, str]:
        """How many calls would have been silent damage on a GPU, and the reason of the first."""
        why = ctypes.c_char_p()
        count = self.library.stub_violations(ctypes.byref(why))
        return count, (why.value or b"").decode()

    def may_touch(self, address: int, count: int) -> bool:
        """Whether so many bytes there are live memory, of the GPU or pinned; if not, that is a violation."""
        return bool(self.library.stub_touch(ctypes.c_void_p(address), ctypes.c_size_t(count)))

    @property
    def current(self) -> int | None:
        """The GPU whose context is current on this thread."""
        device = self.library.stub_current()
        return device if device >= 0 else None

    @property
    def pushed(self) -> int:
        """Contexts that are current on this thread."""
        return self.library.stub_depth()


@functools.lru_cache
def loaded() -> Stub:
    """The process's stub."""
    return Stub()
