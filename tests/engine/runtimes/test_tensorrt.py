"""The TensorRT runtime: its tests on the stub driver run in another process; here is what needs no GPU."""

from __future__ import annotations

import inspect
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from engine_files import VERSION, engine
from merkit.engine.errors import DeviceError, UsageError
from merkit.engine.runtimes import open_runtime
from merkit.engine.spec import ModelSpec
from stub_cuda.stub import PACKAGES, run_on_stub, why_not_here

ON_STUB = Path(__file__).with_name("on_stub")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("package", PACKAGES)
def test_on_the_stub_driver(package: str, tmp_path: Path) -> None:
    why = why_not_here(package)
    if why:
        # CI builds PyCUDA, and a skip there would hide that nothing was proven.
        assert "MER_REQUIRE_PYCUDA" not in os.environ, why
        pytest.skip(why)
    passed, said, errors = run_on_stub(package, tmp_path, "--basetemp", tmp_path / "tests", ON_STUB)
    assert passed >= 130
    assert "skipped" not in said
    assert "PyCUDA WARNING" not in errors


def test_without_a_driver_it_says_so(
    tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__=VERSION))
    with pytest.raises(DeviceError, match=r"NVIDIA driver|no package for CUDA is installed"):
        open_runtime(engine(tmp_path, spec))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(DeviceError, match=r"tensorrt is not installed.*merkit\[gpu\]"):
        open_runtime(engine(tmp_path, spec))
    with pytest.raises(UsageError):
        open_runtime(engine(tmp_path, spec), "cuda")


def used_names() -> dict[str, list[tuple[str, ...]]]:
    """Class to what the fake has of it, with its parameters: the runtime can use nothing else."""
    from stub_cuda import fake_tensorrt

    names = {}
    for kind in vars(fake_tensorrt.module()).values():
        if inspect.isclass(kind):
            members = {name: member for name, member in vars(kind).items() if not name.startswith("_")}
            names[kind.__name__] = [
                (
                    name,
                    *(list(inspect.signature(member).parameters)[1:] if inspect.isfunction(member) else ()),
                )
                for name, member in members.items()
                if name not in ("most", "fails", "compatible", "types")
            ]
    return names


def test_the_fake_has_only_what_tensorrt_for_rtx_has() -> None:
    """Names, and parameters by the signatures in the bindings' own docstrings."""
    pytest.importorskip("pycuda", reason="the fake stands on the stub driver")
    real = pytest.importorskip("tensorrt_rtx")
    checked = 0
    for kind, members in used_names().items():
        for name, *parameters in members:
            member = getattr(getattr(real, kind), name, None)
            assert member is not None, f"{kind}.{name}"
            if not parameters:
                continue
            signatures = re.findall(rf"{name}\(self: [^,)]+,? ?(.*?)\) ->", member.__doc__ or "")
            names = [re.findall(r"(?:^|, )(\w+): ", signature) for signature in signatures]
            if kind == "ILogger":
                continue  # overridden here, and called by TensorRT by position
            assert parameters in names, f"{kind}.{name}{parameters} is none of {names}"
            checked += 1
    assert checked >= 8


@pytest.mark.parametrize("variable", ["MER_TENSORRT_10_BINDINGS", "MER_TENSORRT_11_BINDINGS"])
def test_full_tensorrt_has_them_too(variable: str) -> None:
    """Against the bindings of full TensorRT, where a folder holds their unpacked wheel.

    pip download --no-deps tensorrt-cu13-bindings==11.4.0.106 (and ==10.13.3.9), unzip: no GPU and no
    libraries are needed to read the docstrings in the binary.
    """
    if variable not in os.environ:
        pytest.skip(f"{variable} names no folder with the unpacked wheel tensorrt-cu13-bindings")
    pytest.importorskip("pycuda", reason="the fake stands on the stub driver")
    (binary,) = Path(os.environ[variable]).glob("tensorrt_bindings/tensorrt.so")
    content = binary.read_bytes()
    only_rtx = {"IRuntimeCache", "IRuntimeConfig", "CudaGraphStrategy", "create_runtime_config"}
    for kind, members in used_names().items():
        for name, *_ in members:
            if kind not in only_rtx and name not in only_rtx:
                # The linker merges equal endings: INPUT may be the end of another string.
                assert name.encode() + b"\0" in content, f"{kind}.{name}"
