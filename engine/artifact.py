"""Finds a model by name, alias or path, and opens it safely."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from .backbone_names import backbone_from_name, did_you_mean
from .errors import ArtifactError, MerError, SpecError, UsageError
from .onnx_graph import check_graph, check_tensors
from .onnx_wire import check_parts, metadata_from_model
from .signals import pass_on_from_handler
from .spec import AudioSpec, ModelSpec
from .strict_json import LONGEST, json_from_text

DEFAULT_MODEL = "audioset"
"""The bundled model for most catalogues; models/ has a card with its figures."""
SPEC_KEY = "mer.model_spec"
"""The metadata_props key under which an .onnx file carries its ModelSpec as JSON."""

CHECKPOINT = "checkpoint.safetensors"
"""A network in the folder of its training."""

ENGINE_SUFFIXES = (".engine", ".plan", ".trt")
"""How the names of TensorRT engines end: ours, and those of trtexec and of other programs."""

LARGEST = 900_000_000
"""Bytes of a model's file; VGG16, the largest of the nine, has 540 MB."""

# Identifiers of other formats, at the place where these have them: ONNX Runtime and OpenVINO would take the
# file for one of theirs, and read it otherwise than it was checked.
_OTHER_FORMATS = (b"ORTM", b"TFL3")
_MOST_WINDOWS = 1 << 16  # of an engine's profile
_SIDECAR_FORMAT = 1
_MOST_NAMES = 3  # in a line
_METRICS, _STATE, _FINAL = "metrics.json", "state.pt", "final"  # of a training's folder
_BUNDLED = Path(__file__).parent / "models"


@dataclass(frozen=True)
class Artifact:
    """A model file, read once: the bytes that were checked (``content``) are the bytes that run.

    ``facts`` is the JSON of an engine's sidecar; it is empty for an .onnx file. ``further`` are models that
    label the same windows: see ``open_models`` in labelling/further.py.
    """

    name: str
    path: Path
    spec: ModelSpec
    sha256: str
    content: bytes
    facts: Mapping[str, Any] = field(default_factory=dict)
    further: tuple[Artifact, ...] = ()

    @property
    def is_bundled(self) -> bool:
        """Whether it is one of the package's own files, which are trusted as its code is."""
        return _is_bundled(self.path)

    @property
    def heard(self) -> tuple[AudioSpec, ...]:
        """What it and its further models hear, each once; its own comes first."""
        return tuple(dict.fromkeys(model.spec.audio for model in (self, *self.further)))


def _is_bundled(path: Path) -> bool:
    return path.parent == _BUNDLED


def is_engine(path: Path) -> bool:
    """Whether a file is a TensorRT engine, by its suffix."""
    return path.suffix.lower() in ENGINE_SUFFIXES


def models_home() -> Path:
    """The folder of networks that are too big to bundle: ``$MER_HOME/models``, or ``~/.cache/mer/models``.

    Raises:
        MerError: there is no home folder.
    """
    try:
        return Path(os.environ.get("MER_HOME") or Path.home() / ".cache" / "mer") / "models"
    except RuntimeError:  # HOME is not set, and the system knows no home of this user
        raise MerError("this user has no home folder: set HOME, or MER_HOME, to one for models") from None


def known_models() -> dict[str, Path]:
    """Name to file: the bundled models, then those of ``models_home()``. A bundled name takes precedence."""
    folders = [_BUNDLED]
    with suppress(MerError):  # without a home there are the bundled ones
        folders.append(models_home())
    models: dict[str, Path] = {}
    for folder in folders:
        with suppress(OSError):  # a home that cannot be read
            for path in sorted(folder.glob("[!.]*.onnx")):  # "._net.onnx" is a Mac's, beside net.onnx
                if os.path.isfile(path):  # no pipe, which would wait for a writer
                    models.setdefault(path.stem, path)
    return models


def path_from_model(model: str) -> Path:
    """A model's file, from a path, a name (``mobilenetv3``) or an alias (``mobilenet-v3-small``).

    Of a training's folder it is the .onnx that the training exported.

    Raises:
        UsageError: neither a file nor a known name, and the message lists the known ones; or a folder without
            such a file.
    """
    if os.path.isfile(model):
        return Path(model)
    known = known_models()
    if model in known:
        return known[model]
    if os.path.isdir(model):
        return _exported_by_run(Path(model))
    try:
        return known[backbone_from_name(model)]
    except (UsageError, KeyError):
        names = ", ".join(known) or "none"
        raise UsageError(
            f"unknown model {model!r}; known: {names}; or give the path of an .onnx file, an engine or a "
            f"training's folder{did_you_mean(model, known)}"
        ) from None


def _exported_by_run(folder: Path) -> Path:
    """The .onnx beside a training's checkpoint; of a cross-validation, beside that of its final network."""
    for place in (folder, folder / _FINAL):
        checkpoint = place / CHECKPOINT
        if not checkpoint.is_file():
            continue
        with suppress(ArtifactError, OSError, ValueError, KeyError, TypeError):
            name = json_from_text(_read(place / _METRICS, LONGEST))["model"]
            if isinstance(name, str) and os.path.isfile(path := place / f"{Path(name).name}.onnx"):
                return path
        held, to_end = "a checkpoint", ""
        if (place / _STATE).is_file():
            held, to_end = "a training that is not finished", "mer-train --resume finishes it, or "
        elif (found := next(place.glob("[!.]*.onnx"), None)) and not (place / _METRICS).is_file():
            raise UsageError(f"{place} lacks {_METRICS}: name {shlex.quote(str(found))} itself")
        raise UsageError(f"{place} holds {held} and no .onnx of it: {to_end}{_how_to_export(checkpoint)}")
    raise no_training(folder)


def no_training(folder: Path) -> UsageError:
    """The error of a folder that holds no network itself: what it is, and what to name instead."""
    if folds := sorted(folder.glob(f"fold-*/{CHECKPOINT}")):
        return UsageError(
            f"{folder} is a cross-validation without --final: its mer-train command with --resume --final "
            f"makes a network of it; or name one of its folds, such as {shlex.quote(str(folds[0].parent))}"
        )
    # No deeper than a network's and a split's folders: it may be anyone's, with no end below it.
    places = {path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{CHECKPOINT}")}
    trainings = {at.parent if re.match(r"fold-|final$", at.name) else at for at in places}
    names = sorted(training.relative_to(folder).as_posix() for training in trainings)
    if not names:
        return UsageError(f"{folder} is a folder, and no training's: it holds no {CHECKPOINT}")
    shown = names if len(names) <= _MOST_NAMES else [*names[:_MOST_NAMES], "others"]
    listed, path = " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1]))), folder / names[0]
    return UsageError(
        f"{folder} holds trainings in {listed}: name one of them, such as {shlex.quote(str(path))}"
    )


def _how_to_export(checkpoint: Path) -> str:
    return f"mer-export {shlex.quote(str(checkpoint))} --format onnx makes one"


def open_artifact(model: str) -> Artifact:
    """Reads and checks an ``.onnx`` file or an engine.

    An .onnx file must hold all of its weights, operators that ``check_graph`` lets pass, and a ModelSpec that
    fits its input and output. An engine is executable code: it is accepted only if mer-export's sidecar
    (the same name with ``.json``) lies beside it and names its SHA-256.

    Raises:
        UsageError: no such model.
        ArtifactError: not ONNX, too large, a graph that is refused, no ModelSpec, or one that does not fit;
            an engine without a sidecar, or with one that does not match it.
    """
    path = path_from_model(model)
    if path.suffix.lower() == ".safetensors":
        raise ArtifactError(f"{path} is a checkpoint, and an .onnx is needed: {_how_to_export(path)}")
    content = _read(path, LARGEST)
    sha256 = hashlib.sha256(content).hexdigest()
    if is_engine(path):
        facts = _facts_of(path, sha256)
        return Artifact(path.stem, path, _spec_from_facts(facts, path), sha256, content, facts)
    name = _name_of(model) if os.path.isdir(model) and model not in known_models() else path.stem
    return Artifact(name, path, _spec_of(content, path), sha256, content)


def _name_of(training: str) -> str:
    """That of its folder: its file has the backbone's, as others and the bundled network may have."""
    folder = Path(os.path.abspath(training))
    return (folder.parent if folder.name == _FINAL and [*folder.parent.glob("fold-*")] else folder).name


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size <= most:
                return file.read()
    except OSError as error:
        pass_on_from_handler(error)
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from None
    raise ArtifactError(f"{path} is larger than {most >> 20} MB, which is more than any file of a model has")


def _facts_of(engine: Path, sha256: str) -> dict[str, Any]:
    path = engine.with_suffix(".json")
    if not path.is_file():
        raise ArtifactError(
            f"{engine} has no sidecar {path.name}: engines are code, and only those that mer-export wrote, "
            "with their .json, are loaded"
        )
    try:
        facts = json_from_text(_read(path, LONGEST))
        version, expected_sha256 = facts["format"], facts["engine"]["sha256"]
        if version == _SIDECAR_FORMAT:
            _check_facts(facts)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(f"{path} is no sidecar of mer-export ({type(error).__name__}: {error})") from None
    if version != _SIDECAR_FORMAT:
        raise ArtifactError(
            f"{path} has format {shortened(version)}; this merkit reads {_SIDECAR_FORMAT}: export again"
        )
    if expected_sha256 != sha256:
        raise ArtifactError(
            f"{engine} does not match the hash in {path.name}: it is damaged, cut short or was replaced; "
            "export it again"
        )
    return facts


def _check_facts(facts: Any) -> None:
    """Checks the type and form of every value that is used."""
    shapes = [facts["profiles"]["images"][name] for name in ("min", "opt", "max")]
    source = facts.get("source", {})
    valid = (
        facts["builder"] in ("tensorrt", "tensorrt_rtx")
        and re.fullmatch(r"\d{1,6}\.\d{1,6}\.\d{1,6}(\.\w{1,20})*", facts["builder_version"])
        and re.fullmatch(r"\d{1,4}", facts.get("cuda") or "0")
        and isinstance(facts["options"], dict)
        and all(
            re.fullmatch(r"\d{1,4}\.\d{1,4}", name) for name in facts["compute_capability"]["capabilities"]
        )
        and all(len(shape) == 4 and all(type(n) is int and n > 0 for n in shape) for shape in shapes)
        and len(facts["profiles"]["images"]) == len(shapes)
        and shapes[0][0] <= shapes[1][0] <= shapes[2][0] <= _MOST_WINDOWS
        and isinstance(source.get("model", ""), str)
        and re.fullmatch(r"\w{1,20}", facts.get("precision", "fp16"))
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
    if _is_bundled(path):
        try:
            return ModelSpec.from_json(dict(metadata_from_model(content))[SPEC_KEY])
        except (ArtifactError, SpecError, KeyError, ValueError):
            raise ArtifactError(f"{path} is damaged: install merkit again") from None
    import onnx
    from google.protobuf.message import DecodeError

    if content[4:8] in _OTHER_FORMATS:
        raise ArtifactError(f"{path}: it is not an ONNX file")
    try:
        check_parts(content)
        model = onnx.load_from_string(content)
        check_graph(model)
        specs = [prop.value for prop in model.metadata_props if prop.key == SPEC_KEY]
        if len(specs) != 1:
            many = f"more than one ModelSpec ({SPEC_KEY})" if specs else f"no ModelSpec (no {SPEC_KEY})"
            raise ArtifactError(
                f"it carries {many} in its metadata_props; was it made by mer-export? mer-export takes a "
                "network from elsewhere with --spec and --labels"
            )
        spec = ModelSpec.from_json(specs[0])
        check_tensors(model.graph, spec)
    except (ArtifactError, SpecError) as error:
        raise ArtifactError(f"{path}: {error}") from None
    except (DecodeError, ValueError):
        raise ArtifactError(f"{path}: it is not an ONNX file") from None
    return spec
