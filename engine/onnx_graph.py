"""What the graph of a model file may hold, whoever made it: checked before any library computes with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any

from .errors import ArtifactError

if TYPE_CHECKING:
    import onnx

    from .spec import ModelSpec

_FLOAT32 = 1  # onnx.TensorProto.FLOAT

# What they cost, or what they answer, depends on more than the shapes of their inputs: they can run for ever,
# take any amount of memory, or answer otherwise every time. Recurrent layers run as often as their input is
# long, and stay.
_REFUSED = frozenset(
    {"Loop", "If", "Scan", "NonZero", "Unique", "Compress", "NonMaxSuppression"}
    | {"Bernoulli", "Multinomial"}
    | {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
    | {"SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SequenceAt"}
    | {"SequenceLength", "SequenceMap", "ConcatFromSequence", "SplitToSequence"}
    | {"Optional", "OptionalGetElement", "OptionalHasElement"}
    | {"StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch", "TfIdfVectorizer"}
    | {"ImageDecoder"}
)
# The inputs, by position, that say how large an output becomes or how long an operator works.
_SIZES: Mapping[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "DFT": (1,),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 4),
    "Split": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Upsample": (1,),
}


def check_graph(model: onnx.ModelProto) -> None:
    """Refuses a graph that reads other files, or whose cost a single trial would not show.

    Raises:
        ArtifactError: weights in other files, wherever they stand; functions, branches, loops or operators of
            other programs; a size that is computed from the sound.
    """
    import onnx

    operators = set()
    for part in _parts(model):
        # A path that the file's author chose, or an address in this process.
        if isinstance(part, onnx.TensorProto) and (part.data_location or part.external_data):
            raise ArtifactError("it keeps weights in other files; only single-file models are loaded")
        if isinstance(part, onnx.NodeProto):
            operators.add((part.domain, part.op_type))
    if model.functions:
        raise ArtifactError("it has functions of its own; write it with its functions inlined (onnx.inliner)")
    for domain, operator in sorted(operators, key=repr):  # bytes where one is not UTF-8
        _check_operator(domain, operator)
    _check_sizes(model.graph)


def check_tensors(graph: onnx.GraphProto, spec: ModelSpec) -> None:
    """Compares what a graph takes and gives with its ModelSpec.

    Raises:
        ArtifactError: it is another.
    """
    weights = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: _shape(value) for value in graph.input if value.name not in weights}
    images, outputs = inputs.get("images"), {value.name: _shape(value) for value in graph.output}
    window = [1, spec.audio.n_mels, spec.audio.frames]
    given = {name: outputs.get(name) for name in spec.outputs}
    fits = all(shape is not None and shape[1:] == [spec.outputs[name]] for name, shape in given.items())
    if len(inputs) != 1 or images is None or images[1:] != window or not fits:
        must = " and ".join(f"{name} float32 [batch, {count}]" for name, count in spec.outputs.items())
        raise ArtifactError(
            f"it must take images float32 [batch, {', '.join(map(str, window))}] and give {must}, as its "
            f"ModelSpec says; it takes {shortened(inputs)} and gives {shortened(given)}"
        )
    for name, shape in {"images": images, **given}.items():
        if shape and isinstance(shape[0], int) and shape[0] > 0:
            raise ArtifactError(
                f"its {name} have the fixed batch {shape[0]}; write it for batches of any size"
            )


def _parts(model: onnx.ModelProto) -> Iterator[Any]:
    """Every message in a model, at whatever depth, without recursion."""
    import onnx

    waiting: list[Any] = [model]
    while waiting:
        part = waiting.pop()
        yield part
        if isinstance(part, onnx.TensorProto):  # the many: nothing in them can hold a tensor
            continue
        for field, value in part.ListFields():
            if field.message_type is not None:
                waiting.extend((value,) if hasattr(value, "ListFields") else value)


def _check_operator(domain: str, operator: str) -> None:
    if domain in ("", "ai.onnx"):
        if operator in _REFUSED:
            raise ArtifactError(
                f"it has the operator {operator}, whose work has no bound or whose answer changes: write it "
                "without (onnxsim folds branches that are constant)"
            )
    elif domain != "com.microsoft" or operator not in ("QuantizeLinear", "DequantizeLinear"):
        raise ArtifactError(f"it has the operator {domain[:60]}.{operator[:60]}, which is none of ONNX's own")


def _check_sizes(graph: onnx.GraphProto) -> None:
    """Refuses sizes that are computed from the sound: a trial with one sound says nothing about another.

    Sizes that are computed from shapes, as exporters do for the batch, are well.
    """
    users = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    waiting = ["images"]
    from_sound = {""}  # the name of an input that is left out
    while waiting:
        name = waiting.pop()
        if name in from_sound:
            continue
        from_sound.add(name)
        for node in users[name]:
            sizes = _SIZES.get(node.op_type, ())
            if any(node.input[place] == name for place in sizes if place < len(node.input)):
                raise ArtifactError(f"a size in its operator {node.op_type} is computed from the sound")
            if node.op_type not in ("Shape", "Size"):
                waiting.extend(node.output)


def _shape(value: onnx.ValueInfoProto) -> list[int | str] | None:
    """The shape of a float32 tensor; None for anything else."""
    tensor = value.type.tensor_type
    if tensor.elem_type != _FLOAT32:
        return None
    return [dim.dim_value or dim.dim_param[:20] for dim in tensor.shape.dim]
