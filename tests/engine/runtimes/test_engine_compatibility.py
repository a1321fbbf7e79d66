"""Which engine fits which machine, and the command that makes one that does."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from engine_files import VERSION, engine
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import DeviceError
from merkit.engine.runtimes.engine_compatibility import check_fit, rebuild_command
from merkit.engine.spec import ModelSpec
from merkit.export.builders import EngineOptions

ADA: Any = SimpleNamespace(name="an L4", capability="8.9", driver="13.0")
TURING: Any = SimpleNamespace(name="a T4", capability="7.5", driver="13.0")
HOPPER: Any = SimpleNamespace(name="an H100", capability="9.0", driver="12.8")
AMPERE: Any = SimpleNamespace(name="an RTX 3090", capability="8.6", driver="13.0")
BLACKWELL: Any = SimpleNamespace(name="an RTX 5090", capability="12.0", driver="13.0")
SPARK: Any = SimpleNamespace(name="a GB10", capability="12.1", driver="13.0")
LATER: Any = SimpleNamespace(name="a later card", capability="13.0", driver="13.0")
A100: Any = SimpleNamespace(name="an A100", capability="8.0", driver="13.0")
B200: Any = SimpleNamespace(name="a B200", capability="10.0", driver="13.0")
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
        (COMPATIBLE, "11.4.0.105", ADA, None),  # the fourth number is no version
        (COMPATIBLE, "11.4.0.107", ADA, None),
        ({**COMPATIBLE, "builder_version": "11.4.2.1"}, "11.4.1.9", ADA, "is installed"),
        (COMPATIBLE, "11.5.0.1", ADA, None),
        (COMPATIBLE, "11.5.0rc1", ADA, None),
        (COMPATIBLE, "11.3.0rc1", ADA, "built by tensorrt 11.4.0.106, and 11.3.0rc1 is installed"),
        (COMPATIBLE, "12.0.0.1", ADA, None),
        (COMPATIBLE, "13.0.0.1", ADA, "is installed"),
        (COMPATIBLE, "11.3.0.99", ADA, "is installed"),
        ({**HARDWARE, "cuda": "12"}, VERSION, HOPPER, None),
        (HARDWARE, VERSION, HOPPER, "knows CUDA 12.8, and tensorrt needs CUDA 13"),
        ({**HARDWARE, "cuda": None}, VERSION, HOPPER, None),
        (HARDWARE, VERSION, A100, None),
        (HARDWARE, VERSION, TURING, "a T4 has 7.5"),
        (RTX, VERSION, ADA, None),
        (
            RTX,
            VERSION,
            TURING,
            "runs on cards of capability 8.0, 8.6, 8.9, 12.0, 12.1 and above, not on a T4 (7.5)",
        ),
        (RTX, VERSION, AMPERE, None),
        (RTX, VERSION, BLACKWELL, None),
        (RTX, VERSION, SPARK, None),
        (RTX, VERSION, LATER, None),
        (RTX, VERSION, A100, None),
        (
            {**RTX, "cuda": "12"},
            VERSION,
            HOPPER,
            "not on an H100 (9.0); rebuild it: mer-export -m tiny.onnx --fp16 --builder tensorrt",
        ),
        (RTX, VERSION, B200, "not on a B200 (10.0)"),
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
        assert ("--gpu turing" in command) == (changes in (RTX, AHEAD))
        assert ("--data" in command) == (changes == {"precision": "int8"})
        assert f"-o {tmp_path}/" in command


@pytest.mark.parametrize("builder", ["tensorrt", "tensorrt_rtx"])
def test_it_rebuilds_the_same_engine(tmp_path: Path, spec: ModelSpec, builder: str) -> None:
    from merkit.export.cli import main
    from merkit.export.options import plan_from_options

    folder = tmp_path / "my engines"
    folder.mkdir()
    full = builder == "tensorrt"
    options = {"workspace_mb": 512, "optimization_level": 4, "hardware_compatible": full}
    changes = {
        "builder": builder,
        "source": {"model": "my net; $HOME.onnx", "sha256": "0" * 64},
        "options": {**options, "version_compatible": full},
        "kept": {"one step up": ["stem conv"], "fp32": ["head"]},
    }
    artifact = engine(folder, spec, **changes)
    moved = replace(artifact, path=folder / "net v2.plan")
    command = shlex.split(rebuild_command(moved, "8.9"))
    params = main.make_context("mer-export", command[1:]).params
    plan = plan_from_options(params["out"], params["form"], params)
    assert (params["model"], params["out"], params["fp16"]) == (
        "my net; $HOME.onnx",
        str(moved.path),
        True,
    )
    assert params["builder"] == ("tensorrt" if full else "rtx")
    assert plan.engine == EngineOptions(
        (1, 8, 32), None if full else "ada", 512, 4, None, hardware_compatible=full, version_compatible=full
    )
    assert (plan.keep, plan.keep_fp32) == (("stem conv",), ("head",))


@pytest.mark.parametrize("kept", [None, [], {"fp32": "head"}, {"one step up": None}])
def test_a_sidecar_that_tells_of_no_layers(tmp_path: Path, spec: ModelSpec, kept: Any) -> None:
    assert "--keep" not in rebuild_command(engine(tmp_path, spec, kept=kept), "8.9")


def test_for_turing_it_asks_for_no_product_of_matrices_in_fp32(tmp_path: Path, spec: ModelSpec) -> None:
    """mer-export refuses one there: ``fp32_products``."""
    kept = {"one step up": ["stem"], "fp32": ["head"]}
    fp32, half, eight = (
        {**RTX, "precision": precision, "precision_by_op": {"Gemm": table}, "kept": kept}
        for precision, table in (("fp32", {"fp32": 1}), ("fp16", {"fp32": 1}), ("int8", {"fp32": 1}))
    )
    fp32["kept"] = None
    assert " --fp16 --builder rtx --gpu turing " in rebuild_command(engine(tmp_path, spec, **fp32), "7.5")
    assert " --fp32 --builder rtx --min-" in rebuild_command(engine(tmp_path, spec, **fp32), "8.9")
    command = rebuild_command(engine(tmp_path, spec, **half), "7.5")
    assert " --fp16 " in command
    assert "--keep" not in command
    command = rebuild_command(engine(tmp_path, spec, **eight), "7.5")
    assert " --int8 " in command
    assert " --keep stem --keep head -o" in command
    only_convolutions = {**fp32, "precision_by_op": {"Conv": {"fp32": 9}}}
    assert " --fp32 --builder rtx --gpu turing " in rebuild_command(
        engine(tmp_path, spec, **only_convolutions), "7.5"
    )
    damaged = {**fp32, "precision_by_op": {"Gemm": 3}}
    assert " --fp32 " in rebuild_command(engine(tmp_path, spec, **damaged), "7.5")


def test_what_was_said_of_a_foreign_network_is_said_again(tmp_path: Path, spec: ModelSpec) -> None:
    given = {"spec": "my spec.json", "labels": '"sad, blue",happy', "backbone": "resnet18"}
    source = {"model": "theirs.pth", "sha256": "0" * 64, "given": given}
    command = shlex.split(rebuild_command(engine(tmp_path, spec, source=source), "8.9"))
    start = command.index("--spec")
    assert command[start : start + 6] == [word for name in given for word in (f"--{name}", given[name])]
    for given in (None, ["--triton"], {"spec": 3, "triton": "/"}):
        command = rebuild_command(engine(tmp_path, spec, source={**source, "given": given}), "8.9")
        assert not re.search("spec|triton|labels", command)


@pytest.mark.parametrize(
    ("capability", "family"),
    [("7.5", "turing"), ("8.0", "ampere"), ("8.6", "ampere"), ("8.9", "ada"), ("12.0", "blackwell")],
)
def test_it_is_rebuilt_for_the_family_of_the_card(
    tmp_path: Path, spec: ModelSpec, capability: str, family: str
) -> None:
    """Where it was compiled ahead; else only for Turing, which takes no portable engine."""
    ahead = rebuild_command(engine(tmp_path, spec, **AHEAD), capability)
    assert f"--builder rtx --gpu {family} " in ahead
    portable = rebuild_command(engine(tmp_path, spec, **RTX), capability)
    assert ("--gpu" in portable) == (capability == "7.5")


def test_what_mer_export_writes_is_what_is_read(tmp_path: Path) -> None:
    """A real engine and sidecar of TensorRT for RTX, which compiles without a GPU."""
    pytest.importorskip("tensorrt_rtx")
    from merkit.export.cli import main
    from small_networks import small_network

    source = tmp_path / "small.onnx"
    source.write_bytes(small_network().SerializeToString())
    done = CliRunner().invoke(main, ["-m", str(source), "--fp16", "--gpu", "ada", "-o", f"{tmp_path}/"])
    assert done.exit_code == 0, done.output
    artifact = open_artifact(str(tmp_path / "small_ada_fp16.engine"))
    assert artifact.spec.audio == open_artifact(str(source)).spec.audio
    check_fit(artifact, artifact.facts["builder_version"], ADA)
    with pytest.raises(DeviceError, match="--gpu turing --min-batch 1 --opt-batch 64 --max-batch 64"):
        check_fit(artifact, artifact.facts["builder_version"], TURING)
    report = json.loads((tmp_path / "small_ada_fp16.json").read_text())
    assert report["engine_parity"]["checked"] is False
