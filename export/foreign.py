"""A network that was trained elsewhere: its graph or its weights, and what its user says of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, version_converter

from ..engine.artifact import LARGEST, SPEC_KEY
from ..engine.errors import ArtifactError, SpecError, UsageError
from ..engine.onnx_graph import check_graph
from ..engine.onnx_wire import check_parts
from ..engine.spec import AudioSpec, ModelSpec
from ..engine.spectrogram.presets import PRESETS

_OPSET = 20  # the oldest that is exported
_LICENCE = "not stated; the network's own terms bind whoever passes it on"


@dataclass(frozen=True)
class Foreign:
    """What no foreign file says: ``audio`` is what it hears, ``labels`` name its outputs in order.

    ``backbone`` is needed for weights without a graph.
    """

    audio: AudioSpec
    labels: tuple[str, ...]
    backbone: str | None = None

    def spec(self, path: Path) -> ModelSpec:
        """The ModelSpec of a file."""
        provenance = {"imported": path.name, "licence": _LICENCE}
        return ModelSpec(self.backbone or path.stem, self.labels, self.audio, provenance=provenance)


def foreign_from_texts(spec: str, labels: str, backbone: str | None) -> Foreign:
    """From a preset's name or a JSON file of an AudioSpec, and labels between commas.

    Raises:
        UsageError: no such preset or file, or labels that cannot be a network's.
        SpecError: the file holds no AudioSpec.
    """
    names = tuple(label.strip() for label in labels.split(","))
    if spec in PRESETS:
        audio = PRESETS[spec]
    elif os.path.isfile(spec):
        audio = _audio_from_file(Path(spec))
    else:
        raise UsageError(f"{spec} is neither a file nor a preset; the presets: {', '.join(PRESETS)}")
    foreign = Foreign(audio, names, backbone)
    try:
        foreign.spec(Path("network"))
    except SpecError as error:
        raise UsageError(str(error)) from None
    return foreign


def onnx_from_foreign(path: Path, foreign: Foreign, say: Callable[[str], None] = lambda line: None) -> bytes:
    """A foreign graph as one of ours: images in, logits out, with its ModelSpec.

    Its input must be log-mels of one channel, ``[batch, 1, mels, frames]``, its output one logit a label; a
    softmax of them at its end is taken off. An older graph is converted to the opset that exports need; what
    was fixed in the batch is opened.

    Args:
        say: gets a line if a softmax was taken off.

    Raises:
        ArtifactError: it is no ONNX file, is refused by ``check_graph``, or takes or gives something else.
    """
    from google.protobuf.message import DecodeError

    try:
        content = path.read_bytes() if path.stat().st_size <= LARGEST else b""
        check_parts(content)
        model = onnx.load_from_string(content)
        check_graph(model)
        if _without_softmax(model):
            say(f"{path.name} ends in a softmax, which is taken off: what goes into it are the logits")
        model = _converted(model)
        _name_ends(model, foreign)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from None
    except (DecodeError, ValueError):
        raise ArtifactError(f"{path}: it is not an ONNX file") from None
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from None
    model.ClearField("metadata_props")
    onnx.helper.set_model_props(model, {SPEC_KEY: foreign.spec(path).to_json()})
    return model.SerializeToString()


def has_metadata(path: Path, key: str) -> bool:
    """Whether an .onnx file has a text of that name in its metadata; one that cannot be read has none."""
    try:
        model = onnx.load_from_string(path.read_bytes() if path.stat().st_size <= LARGEST else b"")
    except Exception:  # protobuf's DecodeError and others
        return False
    return any(prop.key == key for prop in model.metadata_props)


def _audio_from_file(path: Path) -> AudioSpec:
    try:
        text = path.read_text(encoding="utf-8")
        try:
            return AudioSpec.from_json(text)
        except SpecError as error:
            try:
                return ModelSpec.from_json(text).audio
            except SpecError:
                raise error from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None


def _converted(model: ModelProto) -> ModelProto:
    opsets = [opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    version = max(opsets, default=0)
    if version >= _OPSET:
        return model
    try:
        return version_converter.convert_version(model, _OPSET)
    except Exception as error:  # of any type: the converter's own are C++'s
        reason = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
        raise ArtifactError(
            f"it is of opset {version}, and its conversion to {_OPSET} fails ({reason}): export it anew "
            f"where it was made, with opset {_OPSET}"
        ) from None


def _without_softmax(model: ModelProto) -> bool:
    """Takes off a softmax over the labels at the end, since the engine makes one; whether one was there.

    Raises:
        ArtifactError: the end is a sigmoid of each label.
    """
    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    for output in graph.output:
        node = producers.get(output.name)
        while node is not None and node.op_type == "Identity":
            node = producers.get(node.input[0])
        if node is None or node.domain not in ("", "ai.onnx"):
            continue
        if node.op_type == "Sigmoid":
            raise ArtifactError(
                "it ends in a sigmoid of each label; the logits of one softmax over all labels are needed"
            )
        # Without the attribute it is the labels' axis too, in every opset.
        axis = next((each.i for each in node.attribute if each.name == "axis"), -1)
        if node.op_type == "Softmax" and axis in (1, -1) and len(output.type.tensor_type.shape.dim) == 2:
            node.op_type = "Identity"
            del node.attribute[:]
            return True
    return False


def _name_ends(model: ModelProto, foreign: Foreign) -> None:
    """Names the graph's input and output as ours, after a look at their shapes."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ArtifactError(
            f"it has {len(inputs)} inputs and {len(graph.output)} outputs; one of each is needed"
        )
    audio, labels = foreign.audio, len(foreign.labels)
    ends = ((inputs[0], "images", [1, audio.n_mels, audio.frames]), (graph.output[0], "logits", [labels]))
    for value, name, shape in ends:
        dims = value.type.tensor_type.shape.dim
        given = [dim.dim_value or dim.dim_param[:20] or "?" for dim in dims]
        fixed = list(zip(given[1:], shape, strict=False))
        if len(given) != len(shape) + 1 or any(isinstance(a, int) and a != b for a, b in fixed):
            what = "takes" if name == "images" else "gives"
            raise ArtifactError(f"it {what} {given}; the spec and the labels say [batch, {str(shape)[1:-1]}]")
        for dim, size in zip(list(dims)[1:], shape, strict=True):
            dim.dim_value = size
        dims[0].dim_param = "batch"  # that it computes any batch is tried before it is used
        _rename(graph, value.name, name)


def _rename(graph: GraphProto, old: str, new: str) -> None:
    """Gives a tensor another name; one that has that name already gets one of its own."""
    if old == new:
        return
    other = f"{new} inside"
    names = {old: new, new: other}
    for tensor in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph.node:
        for ends in (node.input, node.output):
            for position, name in enumerate(ends):
                ends[position] = names.get(name, name)


def check_foreign(foreign: Foreign | None, path: Path) -> None:
    """Whether what was said of a file is needed, and enough.

    Raises:
        UsageError: it is not.
    """
    if foreign is None:
        return
    if path.suffix.lower() == ".onnx":
        if has_metadata(path, SPEC_KEY):
            raise UsageError(f"{path} carries a spec and labels of its own: leave these out")
    elif foreign.backbone is None:
        raise UsageError(f"{path} holds weights without a graph: name the backbone that they are of")
