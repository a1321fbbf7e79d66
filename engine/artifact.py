"""Finds a model by name, alias or path, and opens it safely."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .backbone_names import backbone_from_name
from .errors import ArtifactError, SpecError, UsageError
from .spec import ModelSpec

if TYPE_CHECKING:
    import onnx

DEFAULT_MODEL = "audiocnn"
"""The bundled model with the best macro-F1 on validation songs; models/ has a card with the figures."""
SPEC_KEY = "mer.model_spec"
"""The metadata_props key under which an .onnx file carries its ModelSpec as JSON."""

_SIDECAR_FORMAT = 1
_BUNDLED = Path(__file__).parent / "models"


@dataclass(frozen=True)
class Artifact:
    """A model file, read once: the bytes that were checked (``content``) are the bytes that run.

    ``facts`` is the JSON of an engine's sidecar; it is empty for an .onnx file.
    """

    name: str
    path: Path
    spec: ModelSpec
    sha256: str
    content: bytes
    facts: Mapping[str, Any] = field(default_factory=dict)


def models_home() -> Path:
    """The folder of networks that are too big to bundle: ``$MER_HOME/models``, or ``~/.cache/mer/models``."""
    return Path(os.environ.get("MER_HOME") or Path.home() / ".cache" / "mer") / "models"


def known_models() -> dict[str, Path]:
    """Name to file: the bundled models, then those of ``models_home()``. A bundled name takes precedence."""
    models: dict[str, Path] = {}
    for folder in (_BUNDLED, models_home()):
        for path in sorted(folder.glob("*.onnx")):
            models.setdefault(path.stem, path)
    return models


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
            f"unknown model {model!r}; known: {names}; or give the path of an .onnx or .engine file"
        ) from None


def open_artifact(model: str) -> Artifact:
    """Reads and checks an ``.onnx`` or ``.engine`` file.

    An .onnx file must hold all of its weights, and a ModelSpec that fits its input and output. An .engine
    is executable code: it is accepted only if mer-export's sidecar (``.json``) lies beside it and names
    its SHA-256.

    Raises:
        UsageError: no such model.
        ArtifactError: not ONNX, weights in other files, no ModelSpec, or one that does not fit; an engine
            without a sidecar, or with one that does not match it.
    """
    path = path_from_model(model)
    content = _read(path)
    sha256 = hashlib.sha256(content).hexdigest()
    if path.suffix == ".engine":
        facts = _facts_of(path, sha256)
        return Artifact(path.stem, path, _spec_from_facts(facts, path), sha256, content, facts)
    return Artifact(path.stem, path, _spec_of(content, path), sha256, content)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from None


def _facts_of(engine: Path, sha256: str) -> dict[str, Any]:
    path = engine.with_suffix(".json")
    if not path.is_file():
        raise ArtifactError(
            f"{engine} has no sidecar {path.name}: engines are code, and only those that mer-export wrote, "
            "with their .json, are loaded"
        )
    try:
        facts = json.loads(_read(path))
        version, expected_sha256 = facts["format"], facts["engine"]["sha256"]
        if version == _SIDECAR_FORMAT:
            _check_facts(facts)
    except (ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{path} is no sidecar of mer-export ({type(error).__name__}: {error})") from None
    if version != _SIDECAR_FORMAT:
        raise ArtifactError(f"{path} has format {version}; this merkit reads {_SIDECAR_FORMAT}: export again")
    if expected_sha256 != sha256:
        raise ArtifactError(
            f"{engine} does not match the hash in {path.name}: it is damaged, cut short or was replaced; "
            "export it again"
        )
    return facts


def _check_facts(facts: Any) -> None:
    """Checks the type and form of every value that the runtime relies on."""
    shapes = [facts["profiles"]["images"][name] for name in ("min", "opt", "max")]
    valid = (
        facts["builder"] in ("tensorrt", "tensorrt_rtx")
        and re.fullmatch(r"\d+(\.\w+)+", facts["builder_version"])
        and re.fullmatch(r"\d+", facts.get("cuda") or "0")
        and isinstance(facts["options"], dict)
        and all(re.fullmatch(r"\d+\.\d+", name) for name in facts["compute_capability"]["capabilities"])
        and all(len(shape) == 4 and all(isinstance(n, int) and n > 0 for n in shape) for shape in shapes)
        and shapes[0][0] <= shapes[1][0] <= shapes[2][0]
    )
    if not valid:
        raise ValueError("builder, version, capability or profile is not as mer-export writes them")


def _spec_from_facts(facts: Mapping[str, Any], path: Path) -> ModelSpec:
    try:
        spec = ModelSpec.from_json(json.dumps(facts["model_spec"]))
    except (SpecError, KeyError) as error:
        raise ArtifactError(f"{path.with_suffix('.json')}: {error}") from None
    expected = [1, spec.audio.n_mels, spec.audio.frames]
    if any(shape[1:] != expected for shape in facts["profiles"]["images"].values()):
        raise ArtifactError(
            f"{path} takes other images than its ModelSpec says, [batch, {', '.join(map(str, expected))}]"
        )
    return spec


def _spec_of(content: bytes, path: Path) -> ModelSpec:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load_from_string(content)
    except (DecodeError, ValueError):
        raise ArtifactError(f"{path} is not an ONNX file") from None
    # Checked before any library loads the graph: external data is a path that the file's author chose.
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(graph)):
        raise ArtifactError(f"{path} keeps weights in other files; only single-file models are loaded")
    metadata = {prop.key: prop.value for prop in graph.metadata_props}
    if SPEC_KEY not in metadata:
        raise ArtifactError(
            f"{path} carries no ModelSpec (metadata_props has no {SPEC_KEY}); was it made by mer-export?"
        )
    try:
        spec = ModelSpec.from_json(metadata[SPEC_KEY])
    except SpecError as error:
        raise ArtifactError(f"{path}: {error}") from None
    images = {value.name: _shape(value) for value in graph.graph.input}.get("images")
    logits = {value.name: _shape(value) for value in graph.graph.output}.get("logits")
    expected = [1, spec.audio.n_mels, spec.audio.frames]
    if images is None or logits is None or images[1:] != expected or logits[1:] != [len(spec.labels)]:
        raise ArtifactError(
            f"{path} must take images [batch, {', '.join(map(str, expected))}] and give logits "
            f"[batch, {len(spec.labels)}], as its ModelSpec says; it takes {images} and gives {logits}"
        )
    return spec


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model, including those in attributes, subgraphs and functions."""
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
