"""A model repository for NVIDIA's Triton Inference Server: samples in, logits out.

Three models of each export: NAME_log_mel makes log-mels of samples, NAME_network computes them, and NAME is
the two in a row, which is what clients call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..engine.artifact import Artifact, is_engine
from ..engine.errors import MerError, UsageError
from ..engine.files import write_whole
from ..engine.runtimes.onnxruntime import passes_to_leave_out
from ..engine.signals import signals_deferred
from ..engine.spec import ModelSpec
from ..engine.strict_json import LONGEST
from .output_files import check_same_network

_WROTE = "# written by mer-export\n"
_UNFINISHED = ".mer-export"  # an empty file, in a folder that is being written
# What is added to a name, and lines of which such a model's configuration has one.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "": ('platform: "ensemble"',),
    "_network": ('platform: "tensorrt_plan"', 'platform: "onnxruntime_onnx"'),
    "_log_mel": ('backend: "python"',),
}
_SPEC = "model_spec.json"
_FRONT = Path(__file__).with_name("triton_log_mel.py")
_QUEUE_US = 2_000  # that a request may wait for others: much less than its log-mels take
_LOG_MEL_PROCESSES = 4


def write_repository(
    folder: Path, artifact: Artifact, batches: tuple[int, int] = (64, 64)
) -> tuple[Path, ...]:
    """Adds the three models of an .onnx file or an engine to a model repository.

    While they are written, Triton finds no configuration of an older export of that name, so that it loads
    no mixture of the two. Signals wait until they are written.

    Args:
        batches: the best and the most windows at once, of an .onnx: it takes any. An engine has its own.

    Returns:
        Their folders: the one that clients call first.

    Raises:
        UsageError: Triton cannot load such an engine, or there is another model of that name.
        MerError: it cannot be written.
    """
    name, spec = artifact.name, artifact.spec
    if artifact.facts:
        profile = artifact.facts["profiles"]["images"]
        check_for_triton(artifact.facts["builder"], profile["min"][0])
        batches = profile["opt"][0], profile["max"][0]
    check_names(folder, name)
    check_served(folder, name, spec)
    models = {
        name: _both(artifact, batches[1]),
        f"{name}_network": _network(artifact, *batches),
        f"{name}_log_mel": _log_mel(artifact, batches[1]),
    }
    targets = tuple(folder / each for each in models)
    labels = "".join(f"{label}\n" for label in spec.labels)
    content = "model.plan" if is_engine(artifact.path) else "model.onnx"
    files: list[tuple[Path, bytes | str]] = [
        (targets[0] / "labels.txt", labels),
        (targets[0] / _SPEC, spec.to_json() + "\n"),
        (targets[1] / "labels.txt", labels),
        (targets[1] / "1" / content, artifact.content),
        (targets[2] / "1" / "model.py", _FRONT.read_bytes()),
        # A configuration last: Triton loads what has one. The model that needs the others comes last of all.
        *((folder / each / "config.pbtxt", _WROTE + _text(models[each])) for each in reversed(models)),
    ]
    try:
        with signals_deferred():
            for target in targets:
                (target / "1").mkdir(parents=True, exist_ok=True)
                (target / _UNFINISHED).touch()
            for target in targets:  # the model that needs the others goes first
                (target / "config.pbtxt").unlink(missing_ok=True)
            for path, text in files:
                write_whole(path, text)
            for target in targets:
                (target / _UNFINISHED).unlink()
    except OSError as error:
        served = (targets[0] / "config.pbtxt").exists()
        left = "" if served else f"; Triton serves no {name} until it is exported again"
        raise MerError(f"cannot write into {folder}: {error.strerror or error}{left}") from None
    return targets


def check_names(folder: Path, name: str) -> None:
    """Refuses a model repository in which an export of this name would replace what must stay.

    Raises:
        UsageError: the name cannot be a model's, or there is another model of that name.
    """
    if any(not character.isprintable() for character in name):
        raise UsageError(f"{name!r} can be no model's name: rename the file")
    for suffix, kind in _KINDS.items():
        _check_target(folder / f"{name}{suffix}", kind)


def check_served(folder: Path, name: str, spec: ModelSpec) -> None:
    """Refuses to replace another network that Triton serves by this name.

    Raises:
        UsageError: its labels or its backbone differ.
    """
    target = folder / name
    if (target / "config.pbtxt").exists():  # what was cut short is served by nobody
        check_same_network(target / _SPEC, _text_of(target / _SPEC), spec)


def check_for_triton(builder: str, least_batch: int) -> None:
    """Refuses engines that Triton does not load, or with which it refuses a song's few windows.

    Args:
        builder: "tensorrt" or "tensorrt_rtx".
        least_batch: windows at once. Triton does not fill up a batch, as mer-label does.

    Raises:
        UsageError: TensorRT for RTX, or more windows than one.
    """
    if builder != "tensorrt":
        raise UsageError(
            "Triton loads engines of TensorRT, and none of TensorRT for RTX: "
            "build with TensorRT, or give it the .onnx"
        )
    if least_batch > 1:
        raise UsageError(f"Triton would refuse requests of fewer windows than {least_batch}: --min-batch 1")


def _check_target(folder: Path, kind: tuple[str, ...]) -> None:
    """Raises UsageError where somebody else's model is, or one of ours of another kind."""
    config = folder / "config.pbtxt"
    try:
        if config.exists():
            text = config.read_text(encoding="utf-8")
            ours, same = text.startswith(_WROTE), any(line in text.splitlines() for line in kind)
        else:  # an export that was killed, or for which the disk was too small, left what it had written
            ours = same = (folder / _UNFINISHED).exists() or not any(
                path.is_file() for path in (folder, *folder.rglob("*"))
            )
    except (OSError, UnicodeDecodeError):
        ours = same = False
    if not ours:
        raise UsageError(f"{folder} is there, and mer-export did not write it: move it away")
    if not same:
        raise UsageError(
            f"{folder} is there, and is a part of another export: choose another name with --out"
        )


def _text_of(path: Path) -> str:
    """A small file's text; empty where there is none."""
    try:
        small = path.is_file() and path.stat().st_size <= LONGEST
        return path.read_text(encoding="utf-8") if small else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _tensor(name: str, *dims: int, **more: str) -> dict[str, Any]:
    return {"name": name, "data_type": _Name("TYPE_FP32"), "dims": list(dims), **more}


def _images(artifact: Artifact) -> dict[str, Any]:
    audio = artifact.spec.audio
    return _tensor("images", 1, audio.n_mels, audio.frames)


def _outputs(artifact: Artifact) -> list[dict[str, Any]]:
    labels = {"logits": {"label_filename": "labels.txt"}}
    outputs = artifact.spec.outputs
    return [_tensor(name, columns, **labels.get(name, {})) for name, columns in outputs.items()]


def _network(artifact: Artifact, best: int, most: int) -> dict[str, Any]:
    engine = is_engine(artifact.path)
    crashes = not engine and passes_to_leave_out(artifact.content)
    return {
        "name": f"{artifact.name}_network",
        "platform": "tensorrt_plan" if engine else "onnxruntime_onnx",
        "max_batch_size": most,
        "input": [_images(artifact)],
        "output": _outputs(artifact),
        # Two of an engine: one's copies run while the other computes. An .onnx takes the GPU if there is one.
        "instance_group": [
            {"count": 2, "kind": _Name("KIND_GPU")} if engine else {"count": 1, "kind": _Name("KIND_AUTO")}
        ],
        "dynamic_batching": {"preferred_batch_size": [best], "max_queue_delay_microseconds": _QUEUE_US},
        # Its backend of ONNX Runtime takes 1 for extended optimizations, -1 for basic ones, 2 for none.
        **({"optimization": {"graph": {"level": 1}}} if crashes else {}),
    }


def _log_mel(artifact: Artifact, most: int) -> dict[str, Any]:
    return {
        "name": f"{artifact.name}_log_mel",
        "backend": "python",
        "max_batch_size": most,
        "input": [_tensor("samples", artifact.spec.audio.window_samples)],
        "output": [_images(artifact)],
        "instance_group": [{"count": _LOG_MEL_PROCESSES, "kind": _Name("KIND_CPU")}],
        "parameters": [{"key": "model_spec", "value": {"string_value": artifact.spec.to_json()}}],
    }


def _both(artifact: Artifact, most: int) -> dict[str, Any]:
    name, outputs = artifact.name, artifact.spec.outputs
    steps = {
        f"{name}_log_mel": ({"samples": "samples"}, {"images": "images"}),
        f"{name}_network": ({"images": "images"}, {each: each for each in outputs}),
    }
    return {
        "name": name,
        "platform": "ensemble",
        "max_batch_size": most,
        "input": [_tensor("samples", artifact.spec.audio.window_samples)],
        "output": _outputs(artifact),
        "ensemble_scheduling": {
            "step": [
                {
                    "model_name": model,
                    "model_version": -1,  # the newest
                    "input_map": [{"key": key, "value": value} for key, value in taken.items()],
                    "output_map": [{"key": key, "value": value} for key, value in given.items()],
                }
                for model, (taken, given) in steps.items()
            ]
        },
    }


class _Name(str):
    """A name of the schema, which stands without quotes."""


def _text(message: Mapping[str, Any], indent: str = "") -> str:
    """Protobuf's text format of a message."""
    lines = []
    for field, value in message.items():
        for each in value if isinstance(value, list) and value and isinstance(value[0], dict) else [value]:
            if isinstance(each, dict):
                lines.append(f"{indent}{field} {{\n{_text(each, indent + '  ')}{indent}}}\n")
            else:
                lines.append(f"{indent}{field}: {_scalar(each)}\n")
    return "".join(lines)


def _scalar(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_scalar, value))}]"
    if isinstance(value, str) and not isinstance(value, _Name):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
