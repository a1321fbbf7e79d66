"""Opening a GPU where there is none; on_stub/on_cuda.py has the rest, on the stub driver."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from merkit.engine.errors import DeviceError
from merkit.engine.runtimes import cuda_bindings, cuda_gpu
from merkit.engine.runtimes.cuda_gpu import Gpu, open_gpu


def test_without_a_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pycuda", "cuda", "cuda.bindings", "cuda.bindings.driver"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "merkit.engine.runtimes.cuda_bindings", raising=False)
    with pytest.raises(DeviceError, match=r"no package for CUDA is installed .*merkit\[gpu\]"):
        open_gpu(0)


def test_cuda_bindings_without_a_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "cuda" / "bindings"
    package.mkdir(parents=True)
    (package / "driver.py").write_text('def cuInit(flags):\n    raise RuntimeError("no libcuda.so.1")\n')
    monkeypatch.setitem(sys.modules, "pycuda", None)
    names = ("cuda", "cuda.bindings", "cuda.bindings.driver", "merkit.engine.runtimes.cuda_bindings")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(DeviceError, match=r"no NVIDIA driver that fits \(no libcuda.so.1\)"):
        open_gpu(0)
    for name in names:
        sys.modules.pop(name, None)


def test_pycuda_without_a_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader's text differs from system to system, so that it must not decide."""
    package = tmp_path / "pycuda"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "driver.py").write_text('raise ImportError("some library is missing")')
    for name in ("pycuda", "pycuda.driver"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DeviceError, match=r"no NVIDIA driver that fits \(some library is missing\)"):
        open_gpu(0)
    sys.modules.pop("pycuda", None)


def test_an_error_of_which_the_driver_knows_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuGetErrorString gives no string then, but an error of its own."""
    driver = SimpleNamespace(cuGetErrorString=lambda code: (1, None))
    monkeypatch.setattr(cuda_bindings, "_driver", driver)
    with pytest.raises(cuda_bindings.Error, match=r"^error 913$"):
        cuda_bindings._checked((913,))


def test_a_fork_says_why_the_gpu_is_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA itself says "initialization error" there."""
    pushed: list[str] = []
    context = SimpleNamespace(push=lambda: pushed.append("push"), pop=lambda: pushed.append("pop"))
    device = SimpleNamespace(
        name=lambda: "stub", compute_capability=lambda: (8, 9), retain_primary_context=lambda: context
    )
    cuda: Any = SimpleNamespace(
        Device=lambda _: device, get_driver_version=lambda: 13_000, Error=_Error, MemoryError=_Error
    )
    monkeypatch.setattr(cuda_gpu.atexit, "register", lambda _: None)
    gpu = Gpu(cuda, 0)
    with gpu.current():
        assert pushed == ["push"]
    monkeypatch.setattr(cuda_gpu.os, "getpid", lambda: -1)
    with pytest.raises(DeviceError, match=r'stub was in use before this process was forked.* by .*"spawn"'):
        gpu.current().__enter__()
    assert pushed == ["push", "pop"]


class _Error(Exception):
    pass
