"""Whether an engine fits this machine, by its sidecar: TensorRT gives no reason when it refuses one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from ..artifact import Artifact
from ..errors import DeviceError
from . import GpuInfo

CARDS: Mapping[str, tuple[str, ...]] = {
    "turing": ("7.5",),
    "ampere": ("8.0", "8.6"),
    "ada": ("8.9",),
    "blackwell": ("12.0",),
}
"""Families of cards for which TensorRT for RTX compiles ahead, and their compute capabilities."""

_RTX_PORTABLE = ("8.0", "8.6", "8.9", "12.0", "12.1")


def takes_rtx_portable(capability: str) -> bool:
    """Whether a GPU of this compute capability runs portable engines of TensorRT for RTX.

    As TensorRT for RTX 1.7.1 says where it refuses one, on an H200: "Supported compute capabilities: 8.0 8.6
    8.9 12.0 12.1 >12.0".
    """
    return capability in _RTX_PORTABLE or tuple(map(int, capability.split("."))) > (12, 1)


def fp32_products(table: Any) -> list[str]:
    """The products of matrices in FP32 in a report's ``precision_by_op``: RTX compiles none for Turing."""
    counts = table if isinstance(table, Mapping) else {}
    products = ((name, counts.get(name)) for name in ("Gemm", "MatMul"))
    return [name for name, each in products if isinstance(each, Mapping) and each.get("fp32")]


def check_fit(artifact: Artifact, version: str, gpu: GpuInfo) -> None:
    """Compares an engine's builder version, CUDA and compute capability with this machine's.

    Args:
        version: of the installed TensorRT or TensorRT for RTX, whichever built the engine.

    Raises:
        DeviceError: it cannot run here; the message has the command that rebuilds it.
    """
    facts = artifact.facts
    problem = _version_problem(facts, version) or _capability_problem(facts, gpu)
    if problem:
        command = rebuild_command(artifact, gpu.capability)
        raise DeviceError(f"{artifact.path} {problem}; rebuild it: {command}")
    cuda = facts.get("cuda")
    if cuda and int(gpu.driver.split(".")[0]) < int(cuda):
        raise DeviceError(
            f"the driver of {gpu.name} knows CUDA {gpu.driver}, and {facts['builder']} needs CUDA {cuda}: "
            "update the NVIDIA driver"
        )


def rebuild_command(artifact: Artifact, capability: str) -> str:
    """The ``mer-export`` command for an engine like this one in its place, on a GPU of that capability."""
    facts = artifact.facts
    portable = takes_rtx_portable(capability)
    family = next((name for name, cards in CARDS.items() if capability in cards), None)
    full = facts["builder"] == "tensorrt" or not (portable or family)
    no_fp32 = not full and family == "turing" and bool(fp32_products(facts.get("precision_by_op")))
    precision = facts.get("precision", "fp16")
    precision = "fp16" if no_fp32 and precision == "fp32" else precision
    source = facts.get("source", {})
    words = ["mer-export", "-m", source.get("model", "MODEL.onnx"), *_given(source), f"--{precision}"]
    if precision == "int8":
        words += ["--data", "FOLDER"]
    if full:
        words += ["--builder", "tensorrt"]
    else:
        words += ["--builder", "rtx"]
        if family and (facts["compute_capability"]["capabilities"] or not portable):
            words += ["--gpu", family]
    for name, shape in facts["profiles"]["images"].items():
        words += [f"--{name}-batch", str(shape[0])]
    for name, flag in (("workspace_mb", "--workspace"), ("optimization_level", "--optimization-level")):
        if facts["options"].get(name) is not None:
            words += [flag, str(facts["options"][name])]
    for name in ("hardware_compatible", "version_compatible"):
        if facts["options"].get(name):
            words.append(f"--{name.replace('_', '-')}")
    for layer in _kept(facts):
        if no_fp32:
            layer = "" if precision == "fp16" else layer.removesuffix("=fp32")
        if layer:
            words += ["--keep", layer]
    return shlex.join([*words, "-o", str(artifact.path)])


def _given(source: Mapping[str, Any]) -> list[str]:
    """What was said of a network from elsewhere, which its file does not say."""
    given = source.get("given")
    if not isinstance(given, dict):
        return []
    options = ((f"--{name}", given.get(name)) for name in ("spec", "labels", "backbone"))
    return [word for option, text in options if isinstance(text, str) for word in (option, text)]


def _kept(facts: Mapping[str, Any]) -> list[str]:
    """The layers that were left in a higher precision, as ``--keep`` takes them."""
    kept = facts.get("kept")
    lists = [(kept.get("one step up"), ""), (kept.get("fp32"), "=fp32")] if isinstance(kept, dict) else []
    return [f"{layer}{end}" for layers, end in lists if isinstance(layers, list) for layer in layers]


def _version_problem(facts: Mapping[str, Any], version: str) -> str | None:
    built_by = facts["builder_version"]
    if built_by == version:
        return None
    installed, builder = (tuple(map(int, re.findall(r"\d+", text)[:3])) for text in (version, built_by))
    compatible = facts["options"].get("version_compatible")
    if compatible and builder <= installed and installed[0] - builder[0] <= 1:
        return None
    return f"was built by {facts['builder']} {built_by}, and {version} is installed"


def _capability_problem(facts: Mapping[str, Any], gpu: GpuInfo) -> str | None:
    listed = facts["compute_capability"]["capabilities"]
    if not listed:
        if takes_rtx_portable(gpu.capability):
            return None
        known = f"{', '.join(_RTX_PORTABLE)} and above"
        return f"runs on cards of capability {known}, not on {gpu.name} ({gpu.capability})"
    if gpu.capability in listed:
        return None
    if facts["options"].get("hardware_compatible") and tuple(map(int, gpu.capability.split("."))) >= (8, 0):
        return None
    return f"was compiled for {', '.join(map(str, listed))}, and {gpu.name} has {gpu.capability}"
