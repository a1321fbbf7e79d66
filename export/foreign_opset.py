"""A foreign graph in the opset that exports need, and the proof that it still computes the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import ModelProto, helper, version_converter

from ..engine.artifact import Artifact
from ..engine.errors import ArtifactError
from ..engine.runtimes import open_runtime
from ..engine.runtimes.trial import check_by_trial
from . import OPSET
from .song_log_mels import generated_log_mels

_RESIZE_SAYS_HOW = 11  # the opset since which a Resize has the two attributes
_WINDOWS = 4
_ROUNDING, _LEAST = 1e-3, 1e-4  # the kernels of another opset may add in another order


def opset_of(model: ModelProto) -> int:
    """The opset of ONNX's own operators; 0 where none is said."""
    return max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0)


def converted(model: ModelProto) -> ModelProto:
    """The model itself if its opset is new enough, else a converted copy.

    Raises:
        ArtifactError: it cannot be converted.
    """
    version = opset_of(model)
    if version >= OPSET:
        return model
    try:
        newer = version_converter.convert_version(model, OPSET)
    except Exception as error:  # of any type: the converter's own are C++'s
        reason = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
        raise ArtifactError(
            f"it is of opset {version}, and its conversion to {OPSET} fails ({reason}): {_advice()}"
        ) from None
    if version < _RESIZE_SAYS_HOW:
        _say_how_to_resize(newer)
    return newer


def check_converted(before: bytes, after: Artifact) -> None:
    """Refuses a converted graph that gives other logits than the one before; the converter errs in silence.

    Args:
        before: the graph in its own opset, with the ends of ``after``.

    Raises:
        ArtifactError: they differ, or ONNX Runtime cannot compute the one before.
    """
    older = replace(after, content=before)
    log_mels = generated_log_mels(after.spec.audio, _WINDOWS).log_mels
    try:
        check_by_trial(older, "onnxruntime")
        with open_runtime(older, "onnxruntime") as runtime:
            expected = runtime.infer(log_mels)
    except ArtifactError as error:
        raise ArtifactError(
            f"{after.path} is of an opset before {OPSET}, and cannot be compared with what it is converted "
            f"to ({error}): {_advice()}"
        ) from None
    with open_runtime(after, "onnxruntime") as runtime:
        error = np.abs(runtime.infer(log_mels) - expected).max()
    largest = np.abs(expected).max()
    if not error <= _ROUNDING * largest + _LEAST:
        raise ArtifactError(
            f"{after.path} is of an opset before {OPSET}, and gives other logits once it is converted (by "
            f"{error:.2g}, where the largest is {largest:.2g}): {_advice()}"
        )


def _advice() -> str:
    return f"export it anew where it was made, with opset {OPSET}"


def _say_how_to_resize(model: ModelProto) -> None:
    """What a Resize of an older opset does is no newer one's default, and the converter leaves it out."""
    for node in model.graph.node:
        if node.op_type == "Resize":
            node.attribute.extend(
                [
                    helper.make_attribute("coordinate_transformation_mode", "asymmetric"),
                    helper.make_attribute("nearest_mode", "floor"),
                ]
            )
