"""The source of an export: an FP32 .onnx with a ModelSpec, or a checkpoint that is converted to one first."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto

from ..engine.arrays import Float32
from ..engine.artifact import (
    CHECKPOINT,
    SPEC_KEY,
    Artifact,
    is_engine,
    known_models,
    open_artifact,
    path_from_model,
)
from ..engine.errors import ArtifactError, MerError, SpecError, UsageError
from ..engine.files import write_whole
from ..engine.runtimes.trial import check_by_trial
from ..engine.spec import ModelSpec, note_of_stopped
from ..engine.strict_json import json_from_text
from . import OPSET
from .evidence import Evidence, without_evidence
from .foreign import Foreign, check_foreign, metadata_of, onnx_from_foreign, refuse_probabilities
from .foreign_opset import check_converted, opset_of
from .plain_graph import plain_from_onnx

EXPORT_KEY = "mer.export"
"""The metadata_props key of exported graphs: precision, source, calibration, parity, accuracy (JSON)."""

_QUANTIZED = (
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
    "ConvInteger", "MatMulInteger",
)  # fmt: skip
_HOW_TO_OPEN = "dynamic_axes or dynamic_shapes of torch.onnx.export"
_WHOLE = (TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)  # as networks have

Infer = Callable[[Float32], Float32]
"""Log-mels ``[batch, 1, mels, frames]`` to logits ``[batch, labels]``."""


@dataclass(frozen=True)
class Source:
    """An FP32 graph to export.

    The artifact's content is the graph as ``plain_from_onnx`` makes it, its SHA-256 that of the .onnx as it
    was read. Of a checkpoint or a network from elsewhere that .onnx is made here. ``file_sha256`` is that of
    the file that was named, where it is a checkpoint or a network from elsewhere; else empty. The graph gives
    logits alone; ``evidence`` is the part that gives the second output of the file, if it has one, and
    ``read`` then the artifact as it was read. ``torch_infer`` computes the checkpoint's own logits. It is
    None for an .onnx, which is itself the reference. ``given`` is what had to be said of a network from
    elsewhere: see ``Foreign``.
    """

    artifact: Artifact
    torch_infer: Infer | None = None
    evidence: Evidence | None = None
    read: Artifact | None = None
    file_sha256: str = ""
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> Artifact:
        """The artifact with all outputs."""
        return self.read or self.artifact

    def model(self) -> ModelProto:
        """A fresh copy of the graph, which the caller may change."""
        return onnx.load_from_string(self.artifact.content)


def open_source(
    model: str, foreign: Foreign | None = None, say: Callable[[str], None] = lambda line: None
) -> Source:
    """Opens a model by name, alias or path; a file that is no .onnx is read as a checkpoint (needs torch).

    Args:
        foreign: what is said of a file that was not made here.
        say: gets a line on what of such a file is left out, and a warning on a training that was stopped.

    Raises:
        UsageError: an unknown name, or a file that is neither.
        ArtifactError: a pickle, an engine, external data, no ModelSpec, a fixed batch, an opset that
            is too old, a graph that is FP16 or INT8 already, or one that ``plain_from_onnx`` or ONNX Runtime
            refuses.
        MerError: a checkpoint, but torch is not installed.
    """
    path = path_of_source(model)
    check_foreign(foreign, path)
    if foreign is not None:
        return dataclasses.replace(_from_foreign(path, foreign, say), given=foreign.given)
    source = _from_our_own(path)
    if note := note_of_stopped(model, source.artifact.spec.provenance):
        say(note)
    return source


def _from_our_own(path: Path) -> Source:
    if path.suffix.lower() == ".onnx":
        return _source(open_artifact(str(path)))
    if is_engine(path):
        raise ArtifactError(f"{path} is an engine already; export from its .onnx or its checkpoint")
    _refuse_pickle(path)
    return _from_checkpoint(path)


def path_of_source(model: str) -> Path:
    """As ``path_from_model``, and the checkpoint of a training's folder that holds no .onnx.

    Raises:
        UsageError: see there.
    """
    checkpoints = (Path(model, CHECKPOINT), Path(model, "final", CHECKPOINT))
    try:
        return path_from_model(model)
    except UsageError:
        for checkpoint in checkpoints:
            if checkpoint.is_file():
                return checkpoint
        raise


def name_of_source(path: Path) -> str:
    """What its exports are called: the file's name, or the folder's, since all trainings' have one name."""
    if path.name != CHECKPOINT:
        return path.stem
    folder = path.parent.resolve()
    return (folder.parent if folder.name == "final" else folder).name or path.stem


def fp32_models() -> list[str]:
    """Names of every known model that can be exported.

    Those that an export wrote are left out, unless it is the import of a network from elsewhere in FP32: that
    one has no other file here.
    """
    return [name for name, path in known_models().items() if _is_no_copy(path)]


def _is_no_copy(path: Path) -> bool:
    texts = metadata_of(path)
    if EXPORT_KEY not in texts:
        return True
    try:
        report, spec = json_from_text(texts[EXPORT_KEY]), ModelSpec.from_json(texts.get(SPEC_KEY, ""))
        return report["precision"] == "fp32" and "imported" in spec.provenance
    except (SpecError, ValueError, TypeError, KeyError):
        return False


def _from_checkpoint(path: Path) -> Source:
    def write(target: Path) -> Infer:
        from .torch_to_onnx import onnx_from_checkpoint

        return onnx_from_checkpoint(path, target)

    return _written(path, write)


def _from_foreign(path: Path, foreign: Foreign, say: Callable[[str], None]) -> Source:
    def write_weights(target: Path) -> Infer:
        from .torch_to_onnx import onnx_from_weights

        return onnx_from_weights(path, foreign.spec(path), target)

    if path.suffix.lower() != ".onnx":
        return _written(path, write_weights)
    graph = onnx_from_foreign(path, foreign, say)
    source = _written(path, lambda target: write_whole(target, graph.content), graph.fixed_batch)
    if graph.before is not None:
        check_converted(graph.before, source.artifact)
    refuse_probabilities(source.artifact)
    return source


def _written(path: Path, write: Callable[[Path], Infer | None], fixed_batch: int = 0) -> Source:
    """A source whose graph is written to a temporary file first; see ``_source`` of ``fixed_batch``."""
    with tempfile.TemporaryDirectory(prefix="mer-export-") as folder:
        target = Path(folder) / f"{path.stem}.onnx"
        try:
            infer = write(target)
        except ModuleNotFoundError as error:
            raise MerError(
                f'a checkpoint needs {error.name}, which is not installed: pip install "merkit[train]"; '
                "or give an .onnx"
            ) from None
        except OSError as error:
            raise MerError(f"the graph cannot be written into {folder}: {error.strerror}") from None
        artifact = open_artifact(str(target))
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    artifact = dataclasses.replace(artifact, path=path, name=name_of_source(path))
    return dataclasses.replace(_source(artifact, fixed_batch), torch_infer=infer, file_sha256=sha256)


def _source(artifact: Artifact, fixed_batch: int = 0) -> Source:
    """The artifact with its graph in plain form; refused before any work if it cannot be exported.

    Args:
        fixed_batch: the batch that its graph was made for, where that was opened here.
    """
    path, model = artifact.path, onnx.load_from_string(artifact.content)
    if opset_of(model) < OPSET:
        raise ArtifactError(f"{path} is of opset {opset_of(model)}; {OPSET} or newer is needed")
    try:
        plain = plain_from_onnx(model)
        _check_precision(plain)
        _open_batch(plain)
    except MerError as error:
        raise ArtifactError(f"{path}: {error}") from error
    logits, evidence = without_evidence(plain)
    spec = dataclasses.replace(artifact.spec, evidence=None)
    plain_artifact = dataclasses.replace(artifact, spec=spec, content=logits.SerializeToString())
    try:  # an operator that is not known, a batch inside the graph
        check_by_trial(plain_artifact, "onnxruntime")
    except ArtifactError as error:
        if not fixed_batch:
            raise
        raise ArtifactError(
            f"{error}; its batch, fixed at {fixed_batch}, was opened to try it: if that is why, export it "
            f"with a dynamic one ({_HOW_TO_OPEN})"
        ) from None
    return Source(plain_artifact, evidence=evidence, read=artifact if evidence else None)


def _check_precision(model: ModelProto) -> None:
    graph = model.graph
    kinds = {tensor.data_type for tensor in graph.initializer}
    kinds |= {a.i for node in graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to"}
    strange = sorted(TensorProto.DataType.Name(kind) for kind in kinds.difference(_WHOLE))
    quantized = any(node.op_type in _QUANTIZED for node in graph.node)
    if quantized or {"FLOAT16", "BFLOAT16"}.intersection(strange):
        raise ArtifactError("the graph is FP16 or INT8 already; export from the FP32 model")
    if strange:
        raise ArtifactError(f"the graph computes in {', '.join(strange)}; an FP32 graph is needed")


def _open_batch(model: ModelProto) -> None:
    """Gives a dynamic batch a name where it has none."""
    outputs = (value for value in model.graph.output if value.name in ("logits", "evidence"))
    for value in (*model.graph.input, *outputs):
        batch = value.type.tensor_type.shape.dim[0]
        if batch.dim_value > 0:
            raise ArtifactError(
                f"{value.name} have the fixed batch {batch.dim_value}; an engine needs a dynamic one "
                f"({_HOW_TO_OPEN})"
            )
        batch.dim_param = batch.dim_param or "batch"


def is_exported_graph(path: Path) -> bool:
    """Whether an export wrote this .onnx file; one that cannot be read is none."""
    return EXPORT_KEY in metadata_of(path)


def _refuse_pickle(path: Path) -> None:
    """Before torch is imported, so that a bare install says it too."""
    with path.open("rb") as file:
        start = file.read(2)
    if zipfile.is_zipfile(path) or (
        start[:1] == b"\x80" and start[1:] in (b"\x02", b"\x03", b"\x04", b"\x05")
    ):
        raise ArtifactError(
            f"{path} is a pickle (torch.save): loading one runs its code, so only safetensors are read; the "
            "weights of a network from elsewhere are, with --spec, --labels and --backbone"
        )
    if path.suffix.lower() != ".safetensors":
        raise UsageError(
            f"{path} is neither an .onnx nor a .safetensors file; a network from elsewhere needs --spec, "
            "--labels and --backbone"
        )
