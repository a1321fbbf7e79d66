"""Engines, their sidecars and what fits where; the runtime itself on the stub driver, in another process."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from engine_files import VERSION, engine, write_engine
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import ArtifactError, DeviceError, MerError, UsageError
from merkit.engine.runtimes import open_runtime
from merkit.engine.runtimes.engine_compatibility import check_fit, rebuild_command
from merkit.engine.spec import ModelSpec
from stub_cuda.stub import build, why_not_here

TESTS = Path(__file__).parents[2]


@pytest.mark.timeout(900)
def test_on_the_stub_driver(tmp_path: Path) -> None:
    """All of on_stub.py, with the stub as libcuda.so.1: it must be there before anything loads CUDA."""
    why = why_not_here()
    if why:
        # CI builds PyCUDA, and a skip there would hide that nothing was proven.
        assert "MER_REQUIRE_PYCUDA" not in os.environ, why
        pytest.skip(why)
    build(tmp_path)
    folders = [TESTS / "helpers"]
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": f"{tmp_path}{os.pathsep}{os.environ.get('LD_LIBRARY_PATH', '')}",
        "PYTHONPATH": os.pathsep.join([*map(str, folders), os.environ.get("PYTHONPATH", "")]),
    }
    arguments = ["-q", "-p", "no:cacheprovider", "--basetemp", tmp_path / "tests"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, Path(__file__).with_name("on_stub.py")],
        env=environment,
        capture_output=True,
        text=True,
        cwd=TESTS.parent,
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert re.search(r"\d+ passed", done.stdout)
    assert "skipped" not in done.stdout
    assert "PyCUDA WARNING" not in done.stderr


def test_an_engine_carries_its_spec(tmp_path: Path, spec: ModelSpec) -> None:
    artifact = engine(tmp_path, spec)
    assert artifact.spec == spec
    assert artifact.name == "tiny"
    assert artifact.facts["builder_version"] == VERSION
    with open_runtime(artifact, "null") as runtime:
        assert runtime.name == "null"
    with pytest.raises(MerError):
        open_runtime(open_artifact("audiocnn"), "tensorrt")


def test_an_engine_without_its_sidecar_is_refused(tmp_path: Path, spec: ModelSpec) -> None:
    path = write_engine(tmp_path, spec)
    sidecar = path.with_suffix(".json")
    whole = sidecar.read_text()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        ArtifactError, match=r"does not match the hash in tiny\.json: it is damaged, cut short"
    ):
        open_artifact(str(path))
    sidecar.unlink()
    with pytest.raises(ArtifactError, match=r"no sidecar tiny\.json: engines are code"):
        open_artifact(str(path))
    for broken in (
        "",
        "[]",
        "null",
        "{}",
        '{"format": 1}',
        '{"format": 1, "engine": 7}',
        whole[: len(whole) // 2],
    ):
        sidecar.write_text(broken)
        with pytest.raises(ArtifactError, match="no sidecar of mer-export"):
            open_artifact(str(path))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": 2}, "this merkit reads 1"),
        ({"builder": "../../evil"}, "as mer-export writes"),
        ({"builder_version": None}, "no sidecar"),
        ({"builder_version": "new"}, "as mer-export writes"),
        ({"cuda": "x"}, "as mer-export writes"),
        ({"options": None}, "as mer-export writes"),
        ({"compute_capability": {"capabilities": ["sm89"]}}, "as mer-export writes"),
        ({"compute_capability": {}}, "no sidecar"),
        ({"profiles": {"images": {"min": [1], "opt": [1], "max": [1]}}}, "as mer-export writes"),
        ({"profiles": {}}, "no sidecar"),
        ({"model_spec": {"backbone": "x"}}, "lacks fields"),
    ],
)
def test_sidecars_of_other_makers(tmp_path: Path, spec: ModelSpec, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ArtifactError, match=why):
        engine(tmp_path, spec, **changes)


def test_a_sidecar_of_other_images(tmp_path: Path, spec: ModelSpec) -> None:
    shapes = {name: [batch, 1, 64, 64] for name, batch in (("min", 1), ("opt", 8), ("max", 32))}
    with pytest.raises(ArtifactError, match="other images"):
        engine(tmp_path, spec, profiles={"images": shapes})


def test_without_a_driver_it_says_so(
    tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__=VERSION))
    with pytest.raises(DeviceError, match=r"NVIDIA driver|PyCUDA is not installed"):
        open_runtime(engine(tmp_path, spec))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(DeviceError, match=r"tensorrt is not installed.*merkit\[gpu\]"):
        open_runtime(engine(tmp_path, spec))
    with pytest.raises(UsageError):
        open_runtime(engine(tmp_path, spec), "cuda")


ADA: Any = SimpleNamespace(name="an L4", capability="8.9", driver="13.0")
TURING: Any = SimpleNamespace(name="a T4", capability="7.5", driver="13.0")
HOPPER: Any = SimpleNamespace(name="an H100", capability="9.0", driver="12.8")
RTX = {"builder": "tensorrt_rtx", "compute_capability": {"target": "portable", "capabilities": []}}
AHEAD = {"builder": "tensorrt_rtx", "compute_capability": {"target": "ada", "capabilities": ["8.9"]}}
HARDWARE = {"options": {"hardware_compatible": True, "version_compatible": False}}
COMPATIBLE = {"options": {"hardware_compatible": False, "version_compatible": True}}


@pytest.mark.parametrize(
    ("changes", "version", "gpu", "why"),
    [
        ({}, VERSION, ADA, None),
        ({}, VERSION, TURING, "compiled for 8.9, and a T4 has 7.5"),
        ({}, "11.3.0.99", ADA, f"built by tensorrt {VERSION}, and 11.3.0.99 is installed"),
        ({}, "11.4.0.107", ADA, "is installed"),
        (COMPATIBLE, "11.5.0.1", ADA, None),
        (COMPATIBLE, "12.0.0.1", ADA, None),
        (COMPATIBLE, "13.0.0.1", ADA, "is installed"),
        (COMPATIBLE, "11.3.0.99", ADA, "is installed"),
        ({**HARDWARE, "cuda": "12"}, VERSION, HOPPER, None),
        (HARDWARE, VERSION, HOPPER, "knows CUDA 12.8, and tensorrt needs CUDA 13"),
        ({**HARDWARE, "cuda": None}, VERSION, HOPPER, None),
        (HARDWARE, VERSION, TURING, "a T4 has 7.5"),
        (RTX, VERSION, ADA, None),
        (RTX, VERSION, TURING, "runs on RTX cards from Ampere on"),
        (AHEAD, VERSION, ADA, None),
        (AHEAD, VERSION, HOPPER, "an H100 has 9.0"),
        (AHEAD, "1.7.0.1", ADA, "is installed"),
    ],
)
def test_what_fits(
    tmp_path: Path, spec: ModelSpec, changes: dict[str, Any], version: str, gpu: Any, why: str | None
) -> None:
    artifact = engine(tmp_path, spec, **changes)
    if why is None:
        check_fit(artifact, version, gpu)
        return
    with pytest.raises(DeviceError, match=re.escape(why)) as caught:
        check_fit(artifact, version, gpu)
    assert "mer-export -m " in str(caught.value) or "update the NVIDIA driver" in str(caught.value)


def test_the_command_that_rebuilds_is_one(tmp_path: Path, spec: ModelSpec) -> None:
    from merkit.export.cli import main

    known = {name for parameter in main.params for name in parameter.opts}
    changes: dict[str, Any]
    for changes in ({}, RTX, AHEAD, {"precision": "int8"}):
        command = rebuild_command(engine(tmp_path, spec, **changes), "7.5")
        words = command.split()
        assert words[0] == "mer-export"
        assert {word for word in words if word.startswith("-")} <= known
        assert ("--gpu turing" in command) == (changes is AHEAD)
        assert ("--data" in command) == (changes == {"precision": "int8"})
        assert f"-o {tmp_path}/" in command


def test_what_mer_export_writes_is_what_is_read(tmp_path: Path) -> None:
    """A real engine and sidecar of TensorRT for RTX, which compiles without a GPU."""
    pytest.importorskip("tensorrt_rtx")
    from click.testing import CliRunner
    from merkit.export.cli import main
    from small_networks import small_network

    source = tmp_path / "small.onnx"
    source.write_bytes(small_network().SerializeToString())
    done = CliRunner().invoke(main, ["-m", str(source), "--fp16", "--gpu", "ada", "-o", f"{tmp_path}/"])
    assert done.exit_code == 0, done.output
    artifact = open_artifact(str(tmp_path / "small_ada_fp16.engine"))
    assert artifact.spec.audio == open_artifact(str(source)).spec.audio
    check_fit(artifact, artifact.facts["builder_version"], ADA)
    with pytest.raises(DeviceError, match="--gpu turing --min-batch 1 --opt-batch 8 --max-batch 32"):
        check_fit(artifact, artifact.facts["builder_version"], TURING)
    said = json.loads((tmp_path / "small_ada_fp16.json").read_text())
    assert said["engine_parity"]["checked"] is False


def used_names() -> dict[str, list[tuple[str, ...]]]:
    """Class to what the fake has of it, with its parameters: the runtime can use nothing else."""
    from stub_cuda import fake_tensorrt

    found = {}
    for kind in vars(fake_tensorrt.module()).values():
        if inspect.isclass(kind):
            members = {name: each for name, each in vars(kind).items() if not name.startswith("_")}
            found[kind.__name__] = [
                (name, *(list(inspect.signature(each).parameters)[1:] if inspect.isfunction(each) else ()))
                for name, each in members.items()
                if name not in ("most", "fails", "compatible")
            ]
    return found


def test_the_fake_has_only_what_tensorrt_for_rtx_has() -> None:
    """Names, and parameters by the signatures in the bindings' own docstrings."""
    pytest.importorskip("pycuda", reason="the fake stands on the stub driver")
    real = pytest.importorskip("tensorrt_rtx")
    checked = 0
    for kind, members in used_names().items():
        for name, *parameters in members:
            found = getattr(getattr(real, kind), name, None)
            assert found is not None, f"{kind}.{name}"
            if not parameters:
                continue
            signatures = re.findall(rf"{name}\(self: [^,)]+,? ?(.*?)\) ->", found.__doc__ or "")
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
