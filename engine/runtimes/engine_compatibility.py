"""Does an engine fit this machine? Asked of its sidecar, for deserializing gives no reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..artifact import Artifact
from ..errors import DeviceError

_FAMILIES = {"7.5": "turing", "8.0": "ampere", "8.6": "ampere", "8.9": "ada", "12.0": "blackwell"}
_OLDEST_PORTABLE = (8, 6)  # of TensorRT for RTX's portable engines


class _Gpu(Protocol):
    name: str
    capability: str
    driver: str


def check_fit(artifact: Artifact, version: str, gpu: _Gpu) -> None:
    """Compares builder version, CUDA and compute capability with the machine's.

    Args:
        version: of the installed TensorRT, or TensorRT for RTX, whichever built the engine.

    Raises:
        DeviceError: it cannot run here; the message gives the command that rebuilds it.
    """
    facts = artifact.facts
    why = _version_problem(facts, version) or _capability_problem(facts, gpu)
    if why:
        raise DeviceError(f"{artifact.path} {why}; rebuild it: {rebuild_command(artifact, gpu.capability)}")
    cuda = facts.get("cuda")
    if cuda and int(gpu.driver.split(".")[0]) < int(cuda):
        raise DeviceError(
            f"the driver of {gpu.name} knows CUDA {gpu.driver}, and {facts['builder']} needs CUDA {cuda}: "
            "update the NVIDIA driver"
        )


def rebuild_command(artifact: Artifact, capability: str | None = None) -> str:
    """The ``mer-export`` line that makes an engine like this one, for a GPU of that capability."""
    facts = artifact.facts
    source = facts.get("source", {}).get("model", "MODEL.onnx")
    precision = facts.get("precision", "fp16")
    data = " --data FOLDER" if precision == "int8" else ""
    batches = " ".join(f"--{name}-batch {shape[0]}" for name, shape in facts["profiles"]["images"].items())
    if facts["builder"] == "tensorrt":
        builder = "--builder tensorrt"
    else:
        family = _FAMILIES.get(capability or "")
        ahead = facts["compute_capability"]["capabilities"] and family
        builder = f"--builder rtx --gpu {family}" if ahead else "--builder rtx"
    return f"mer-export -m {source} --{precision}{data} {builder} {batches} -o {artifact.path.parent}/"


def _version_problem(facts: Mapping[str, Any], version: str) -> str | None:
    built = facts["builder_version"]
    if built == version:
        return None
    ours, theirs = (tuple(int(part) for part in text.split(".")[:3]) for text in (version, built))
    if facts["options"].get("version_compatible") and theirs <= ours and ours[0] - theirs[0] <= 1:
        return None
    return f"was built by {facts['builder']} {built}, and {version} is installed"


def _capability_problem(facts: Mapping[str, Any], gpu: _Gpu) -> str | None:
    found, listed = gpu.capability, facts["compute_capability"]["capabilities"]
    here = tuple(map(int, found.split(".")))
    if not listed:
        if here >= _OLDEST_PORTABLE:
            return None
        return f"runs on RTX cards from Ampere on, not on {gpu.name} ({found})"
    if found in listed:
        return None
    if facts["options"].get("hardware_compatible") and here >= (8, 0):
        return None
    return f"was compiled for {', '.join(map(str, listed))}, and {gpu.name} has {found}"
