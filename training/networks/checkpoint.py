"""A trained network as one safetensors file that carries its ModelSpec. Pickles are never loaded."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from ...engine.artifact import SPEC_KEY
from ...engine.errors import ArtifactError, SpecError, UsageError
from ...engine.files import write_whole
from ...engine.spec import ModelSpec
from .backbones import build_backbone
from .evidence import Evidence
from .frozen import FROZEN_KEY, unfilled_frozen
from .weights_file import not_finite

_EXTRA_HEAD = "extra.weight"
_EVIDENCE = "evidence."  # before the names of the second output's tensors


def save_checkpoint(
    network: nn.Module, spec: ModelSpec, path: Path, evidence: Evidence | None = None
) -> None:
    """Writes the network's tensors, and the ModelSpec's JSON as metadata under ``SPEC_KEY``.

    Args:
        evidence: the second output, where the spec has one.

    Raises:
        OSError: the disk is full or the folder is not writable; an older file is left unchanged.
    """
    # Copies, contiguous: safetensors refuses channels_last tensors and tensors that share storage.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in (
            *network.state_dict().items(),
            *(evidence.state_dict(prefix=_EVIDENCE).items() if evidence else ()),
        )
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, save(tensors, {SPEC_KEY: spec.to_json()}))


def spec_from_checkpoint(path: Path) -> ModelSpec:
    """The ModelSpec alone; no tensor is read.

    Raises:
        UsageError: no such file.
        ArtifactError: not safetensors (a pickle, for example), or without a readable ModelSpec.
    """
    metadata, _ = _read(path, tensors=False)
    return _spec_from_metadata(metadata, path)


def network_from_checkpoint(path: Path) -> tuple[nn.Module, ModelSpec]:
    """The network, in evaluation mode on the CPU, and its ModelSpec.

    Raises:
        UsageError: no such file, or a backbone that this version does not know.
        ArtifactError: not safetensors (a pickle, for example), without a readable ModelSpec, or with
            tensors that do not fit the backbone that it names, or that hold NaN or infinity.
    """
    metadata, tensors = _read(path, tensors=True)
    spec = _spec_from_metadata(metadata, path)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_EVIDENCE)}
    try:
        network = unfilled_network(spec, tensors)
        network.load_state_dict(tensors)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ArtifactError(f"{path}: its tensors do not fit {spec.backbone}: {reason}") from None
    if reason := not_finite(tensors):
        raise ArtifactError(f"{path}: {reason}")
    return network.eval(), spec


def unfilled_network(spec: ModelSpec, tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    """A network of the form that these tensors were saved from, with other weights.

    Raises:
        UsageError: a backbone that this version does not know.
        ValueError: the spec and the tensors are not of one network.
    """
    labels = len(spec.labels)
    if FROZEN_KEY not in spec.provenance:
        return build_backbone(spec.backbone, labels, extra_head=_EXTRA_HEAD in tensors)
    head = tensors.get("head.weight")
    if head is None or head.ndim != 2:
        raise ValueError("it has no head")
    return unfilled_frozen(spec.backbone, spec.provenance[FROZEN_KEY], tensors, head.shape[1], labels)


def evidence_from_checkpoint(path: Path) -> Evidence | None:
    """The second output, in evaluation mode on the CPU; None where the ModelSpec has none.

    Raises:
        UsageError, ArtifactError: see ``network_from_checkpoint``.
    """
    metadata, tensors = _read(path, tensors=True)
    audio = (spec := _spec_from_metadata(metadata, path)).audio
    if spec.evidence is None:
        return None
    evidence = Evidence(audio.n_mels, audio.frames)
    own = {name.removeprefix(_EVIDENCE): t for name, t in tensors.items() if name.startswith(_EVIDENCE)}
    try:
        evidence.load_state_dict(own)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ArtifactError(f"{path}: the tensors of its evidence do not fit: {reason}") from None
    return evidence.eval()


def _read(path: Path, tensors: bool) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise UsageError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys() if tensors else ()
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        # Tested only after a failure: the length at the start of a good file may look like a pickle.
        if _looks_pickled(path):
            raise ArtifactError(
                f"{path} is a pickle (torch.save): loading one runs its code, so only safetensors are read"
            ) from None
        raise ArtifactError(f"{path} is not a safetensors checkpoint: {error}") from None


def _looks_pickled(path: Path) -> bool:
    """Whether it begins as a zip archive, which torch.save writes, or as a pickle of protocol 2 to 5."""
    with suppress(OSError), path.open("rb") as file:
        start = file.read(2)
        return start == b"PK" or (start[:1] == b"\x80" and start[1:] in (b"\x02", b"\x03", b"\x04", b"\x05"))
    return False


def _spec_from_metadata(metadata: dict[str, str], path: Path) -> ModelSpec:
    if SPEC_KEY not in metadata:
        raise ArtifactError(
            f"{path} carries no ModelSpec ({SPEC_KEY}); was it made by mer-train? mer-export takes weights "
            "from elsewhere with --spec, --labels and --backbone"
        )
    try:
        return ModelSpec.from_json(metadata[SPEC_KEY])
    except SpecError as error:
        raise ArtifactError(f"{path}: {error}") from None
