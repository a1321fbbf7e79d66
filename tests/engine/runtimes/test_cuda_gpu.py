"""Opening a GPU where there is none; on_stub/on_cuda.py has the rest, on the stub driver."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from merkit.engine.errors import DeviceError
from merkit.engine.runtimes.cuda_gpu import open_gpu


def test_without_pycuda_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(DeviceError, match=r"PyCUDA is not installed .*merkit\[gpu\]"):
        open_gpu(0)


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
