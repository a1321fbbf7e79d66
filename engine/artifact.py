"""The one place that finds a model by name, alias or path, and opens it safely."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ArtifactError, SpecError, UsageError
from .names import backbone_from_name
from .spec import ModelSpec

if TYPE_CHECKING:
    import onnx

DEFAULT_MODEL = "audiocnn"
"""Of the bundled ones, the best macro-F1 on validation songs; the cards beside them have the figures."""
SPEC_KEY = "mer.model_spec"
"""The metadata_props key under which an .onnx file carries its ModelSpec as JSON."""

_BUNDLED = Path(__file__).parent / "models"


@dataclass(frozen=True)
class Artifact:
    """A model file, read once: what was checked is what is run."""

    name: str
    path: Path
    spec: ModelSpec
    sha256: str
    content: bytes


def models_home() -> Path:
    """Where networks too big to bundle live: ``$MER_HOME/models``, or ``~/.cache/mer/models``."""
    return Path(os.environ.get("MER_HOME") or Path.home() / ".cache" / "mer") / "models"


def known_models() -> dict[str, Path]:
    """Name to file: the bundled models, then those of ``models_home()`` under other names."""
    found: dict[str, Path] = {}
    for folder in (_BUNDLED, models_home()):
        for path in sorted(folder.glob("*.onnx")):
            found.setdefault(path.stem, path)
    return found


def path_from_model(model: str) -> Path:
    """A model's file, from a path, a name (``mobilenetv3``) or an alias (``mobilenet-v3-small``).

    Raises:
        UsageError: neither a file nor a known name; the message lists the known ones.
    """
    if os.path.isfile(model):
        return Path(model)
    known = known_models()
    if model in known:
        return known[model]
    try:
        return known[backbone_from_name(model)]
    except (UsageError, KeyError):
        names = ", ".join(known) or "none"
        raise UsageError(
            f"unknown model {model!r}; known: {names}; or give the path of an .onnx file"
        ) from None


def open_artifact(model: str) -> Artifact:
    """Reads and checks an ``.onnx`` file: one file, with a ModelSpec that fits its input and output.

    Raises:
        UsageError: no such model.
        ArtifactError: not ONNX, data outside the file, no ModelSpec, or one that does not fit.
    """
    path = path_from_model(model)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from None
    return Artifact(path.stem, path, _spec_of(content, path), hashlib.sha256(content).hexdigest(), content)


def _spec_of(content: bytes, path: Path) -> ModelSpec:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load_from_string(content)
    except (DecodeError, ValueError):
        raise ArtifactError(f"{path} is not an ONNX file") from None
    # Before anything loads the graph: external data is a path of the sender's choice.
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(graph)):
        raise ArtifactError(f"{path} keeps weights in other files; only single-file models are loaded")
    texts = {prop.key: prop.value for prop in graph.metadata_props}
    if SPEC_KEY not in texts:
        raise ArtifactError(
            f"{path} carries no ModelSpec (metadata_props has no {SPEC_KEY}); was it made by mer-export?"
        )
    try:
        spec = ModelSpec.from_json(texts[SPEC_KEY])
    except SpecError as error:
        raise ArtifactError(f"{path}: {error}") from None
    images = {value.name: _shape(value) for value in graph.graph.input}.get("images")
    logits = {value.name: _shape(value) for value in graph.graph.output}.get("logits")
    wanted = [1, spec.audio.n_mels, spec.audio.frames]
    if images is None or logits is None or images[1:] != wanted or logits[1:] != [len(spec.labels)]:
        raise ArtifactError(
            f"{path} must take images [batch, {', '.join(map(str, wanted))}] and give logits "
            f"[batch, {len(spec.labels)}], as its ModelSpec says; it takes {images} and gives {logits}"
        )
    return spec


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model, those of attributes, subgraphs and functions too."""
    nodes = [node for function in model.functions for node in function.node]
    graphs = [model.graph]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(graph.node)
            continue
        for attribute in nodes.pop().attribute:
            yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            graphs.extend(g for g in (attribute.g, *attribute.graphs) if g.node or g.initializer)
