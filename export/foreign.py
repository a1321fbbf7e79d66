"""A network that was trained elsewhere: its graph or its weights, and what its user says of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper

from ..engine.artifact import LARGEST, SPEC_KEY, Artifact
from ..engine.backbone_names import backbone_from_name
from ..engine.data.cleaning import labels_from_list
from ..engine.errors import ArtifactError, SpecError, UsageError
from ..engine.onnx_graph import check_graph
from ..engine.onnx_wire import check_parts
from ..engine.runtimes import open_runtime
from ..engine.spec import AudioSpec, ModelSpec
from ..engine.spectrogram.presets import PRESETS
from ..engine.text.escape import storable
from .fixed_batch import open_batch
from .foreign_ends import take_our_images, without_softmax
from .foreign_opset import converted
from .graph_edits import free_name, rename, tensor_names
from .song_log_mels import generated_log_mels

_TRIED_WINDOWS, _SUM_ERROR = 16, 1e-4
_LICENCE = "not stated; the network's own terms bind whoever passes it on"


@dataclass(frozen=True)
class Foreign:
    """What no foreign file says: ``audio`` is what it hears, ``labels`` name its outputs in order.

    ``backbone`` is needed for weights without a graph. ``given`` are mer-export's options for all three as
    they were typed, a file by its name.
    """

    audio: AudioSpec
    labels: tuple[str, ...]
    backbone: str | None = None
    given: Mapping[str, str] = field(default_factory=dict)

    def spec(self, path: Path) -> ModelSpec:
        """The ModelSpec of a file."""
        provenance = {"imported": storable(path.name), "licence": _LICENCE}
        return ModelSpec(self.backbone or storable(path.stem), self.labels, self.audio, provenance=provenance)


def foreign_from_texts(spec: str, labels: str, backbone: str | None) -> Foreign:
    """From a preset's name or a JSON file of an AudioSpec, and labels between commas.

    Raises:
        UsageError: no such preset or file, or labels that cannot be a network's.
        SpecError: the file holds no AudioSpec.
    """
    names = tuple(labels_from_list(labels))
    given = {"spec": spec if spec in PRESETS else Path(spec).name, "labels": labels}
    if backbone is not None:
        given["backbone"] = backbone
    if spec in PRESETS:
        audio = PRESETS[spec]
    elif os.path.isfile(spec):
        audio = _audio_from_file(Path(spec))
    else:
        raise UsageError(f"{spec} is neither a file nor a preset; the presets: {', '.join(PRESETS)}")
    if backbone is not None:
        with suppress(UsageError):  # of an .onnx it may be any name; for weights it is looked up
            backbone = backbone_from_name(backbone)
    foreign = Foreign(audio, names, backbone, given)
    try:
        foreign.spec(Path("network"))
    except SpecError as error:
        raise UsageError(str(error)) from None
    return foreign


@dataclass(frozen=True)
class ForeignGraph:
    """A foreign graph as one of ours; ``before`` is it in its own opset, where it was converted.

    ``fixed_batch`` is the batch that was opened; 0 where it was open.
    """

    content: bytes
    before: bytes | None = None
    fixed_batch: int = 0


def onnx_from_foreign(
    path: Path, foreign: Foreign, say: Callable[[str], None] = lambda line: None
) -> ForeignGraph:
    """A foreign graph as one of ours: images in, logits out, with its ModelSpec.

    Its input must be log-mels of one channel, in any order that ``take_our_images`` knows, its output one
    logit a label; a softmax of them at its end is taken off. An older graph is converted to the opset that
    exports need; what was fixed in the batch is opened.

    Args:
        say: gets a line on each of the ends that was changed.

    Raises:
        ArtifactError: it is no ONNX file, is refused by ``check_graph``, or takes or gives something else.
    """
    from google.protobuf.message import DecodeError

    try:
        if path.stat().st_size > LARGEST:
            raise ArtifactError(f"it is larger than {LARGEST >> 20} MB: no file of a model is")
        check_parts(content := path.read_bytes())
        model = onnx.load_from_string(content)
        if not model.HasField("graph"):  # an empty file, for one
            raise ArtifactError("it is not an ONNX file")
        if any(tensor.external_data for tensor in model.graph.initializer):
            raise ArtifactError(
                "it keeps weights in other files; only single-file models are loaded: "
                "onnx.save(onnx.load(F), G) makes one, as does external_data=False of torch.onnx.export"
            )
        check_graph(model)
        if without_softmax(model):
            say(f"{path.name} ends in a softmax, which is taken off: what goes into it are the logits")
        if order := take_our_images(model, foreign.audio):
            say(f"{path.name} takes {order}: windows are put in that order before it")
        older, model = model, converted(model)
        names, fixed_batch = _name_ends(model, foreign)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from None
    except (DecodeError, ValueError):
        raise ArtifactError(f"{path}: it is not an ONNX file") from None
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from None
    model.ClearField("metadata_props")
    helper.set_model_props(model, {SPEC_KEY: foreign.spec(path).to_json()})
    before = _with_ends_of(model, older, names, fixed_batch) if older is not model else None
    return ForeignGraph(model.SerializeToString(), before, fixed_batch)


def refuse_probabilities(artifact: Artifact) -> None:
    """Refuses a network whose outputs are probabilities already, however it makes them.

    Raises:
        ArtifactError: on every window that is tried, its outputs are a softmax's, also in percent, or those
            of a sigmoid each.
    """
    with open_runtime(artifact, "onnxruntime") as runtime:
        outputs = runtime.infer(generated_log_mels(artifact.spec.audio, _TRIED_WINDOWS).log_mels)
    sums = outputs.sum(1)
    one_sum = np.ptp(sums) <= _SUM_ERROR * sums.mean()
    # Outputs that are always the same say nothing, unless they are a softmax's.
    if outputs.min() >= 0 and (
        np.abs(sums - 1).max() <= _SUM_ERROR or (np.ptp(outputs) > 0 and (one_sum or outputs.max() <= 1))
    ):
        seen = "lie between 0 and 1" if outputs.max() <= 1 else "are 0 or more and have one sum"
        raise ArtifactError(
            f"{artifact.path} gives probabilities, and the engine makes the softmax: on {_TRIED_WINDOWS} "
            f"windows all outputs {seen}; export it without its last step, so that it gives the logits of "
            "one softmax over all labels"
        )


def metadata_of(path: Path) -> dict[str, str]:
    """The texts in an .onnx or .safetensors file's metadata, by name; one that cannot be read has none."""
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors import safe_open  # comes with torch, which few exports need

            with safe_open(path, "numpy") as file:
                return dict(file.metadata() or {})
        model = onnx.load_from_string(path.read_bytes() if path.stat().st_size <= LARGEST else b"")
    except Exception:  # protobuf's DecodeError and others
        return {}
    return {prop.key: prop.value for prop in model.metadata_props}


def _audio_from_file(path: Path) -> AudioSpec:
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin with a mark
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


def _name_ends(model: ModelProto, foreign: Foreign) -> tuple[dict[str, str], int]:
    """Names the graph's input and output as ours, after a look at their shapes, and opens a fixed batch.

    Returns each old name to the new, and the batch that was fixed or 0.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ArtifactError(
            f"it has {len(inputs)} inputs and {len(graph.output)} outputs; one of each is needed"
        )
    audio, labels = foreign.audio, len(foreign.labels)
    ends = ((inputs[0], "images", [1, audio.n_mels, audio.frames]), (graph.output[0], "logits", [labels]))
    fixed_batch = 0
    for value, name, shape in ends:
        what = "takes" if name == "images" else "gives"
        kind = value.type.tensor_type.elem_type
        if kind != TensorProto.FLOAT:
            raise ArtifactError(f"it {what} {TensorProto.DataType.Name(kind)}; it must be float32")
        dims = value.type.tensor_type.shape.dim
        given = [dim.dim_value or dim.dim_param[:20] or "?" for dim in dims]
        fixed = list(zip(given[1:], shape, strict=False))
        if len(given) != len(shape) + 1 or any(isinstance(a, int) and a != b for a, b in fixed):
            raise ArtifactError(f"it {what} {given}; the spec and the labels say [batch, {str(shape)[1:-1]}]")
        for dim, size in zip(list(dims)[1:], shape, strict=True):
            dim.dim_value = size
        if dims[0].dim_value:
            fixed_batch = dims[0].dim_value
            open_batch(graph, fixed_batch)
        dims[0].dim_param = "batch"  # that it computes any batch is tried before it is used
    names = {value.name: name for value, name, _ in ends}
    _rename_ends(graph, names)
    return names, fixed_batch


def _rename_ends(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Gives the input and the output new names; a tensor inside that has one of these gets one of its own."""
    taken = tensor_names(graph)
    rename(graph, {name: free_name(f"{name} inside", taken) for name in names.values()} | dict(names))
    for value in graph.output:
        value.name = names[value.name]


def _with_ends_of(model: ModelProto, older: ModelProto, names: Mapping[str, str], fixed_batch: int) -> bytes:
    """The graph before its conversion, with the names and shapes of the ends after it."""
    # Made anew: texts of a stranger before the graph could make it a file of ONNX Runtime's own format.
    if fixed_batch:
        open_batch(older.graph, fixed_batch)
    copy = helper.make_model(older.graph, opset_imports=older.opset_import, ir_version=older.ir_version)
    types = {value.name: value.type for value in (*model.graph.input, *model.graph.output)}
    _rename_ends(copy.graph, names)
    for value in (*copy.graph.input, *copy.graph.output):
        if value.name in types:
            value.type.CopyFrom(types[value.name])
    return copy.SerializeToString()


def check_foreign(foreign: Foreign | None, path: Path) -> None:
    """Whether what was said of a file is needed, and enough.

    Raises:
        UsageError: it is not.
    """
    if foreign is None:
        return
    if path.suffix.lower() in (".onnx", ".safetensors") and SPEC_KEY in metadata_of(path):
        raise UsageError(f"{path} carries a spec and labels of its own: leave these out")
    if path.suffix.lower() != ".onnx" and foreign.backbone is None:
        raise UsageError(f"{path} holds weights without a graph: name the backbone that they are of")
