"""A network that was trained before, from whatever holds its weights."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from ...engine.artifact import CHECKPOINT, SPEC_KEY, known_models, no_training, path_from_model
from ...engine.backbone_names import did_you_mean
from ...engine.errors import MerError, UsageError
from ...engine.spec import AudioSpec, ModelSpec
from ...engine.spectrogram.presets import PRESETS
from .audioset import NOTICE as AUDIOSET_NOTICE
from .audioset import AudioSetNet, audioset_state, is_audioset_state
from .checkpoint import network_from_checkpoint
from .musicnn import TAGS, MusiCNN
from .musicnn_weights import MUSICNN_WEIGHTS, is_musicnn_weights, musicnn_state
from .musicnn_weights import NOTICE as MUSICNN_NOTICE
from .onnx_weights import network_from_onnx
from .weights_file import bytes_of_tensors, load_weights, state_dict_from_file

_CHECKPOINTS = (CHECKPOINT, f"final/{CHECKPOINT}")
_PLAIN = ("none", "imagenet")  # weights that name no network


@dataclass(frozen=True)
class TrainedNetwork:
    """A network in evaluation mode on the CPU, with the outputs that it was trained for.

    Attributes:
        backbone: its canonical name.
        audio: what it hears.
        labels: what its outputs mean, where it was trained here; empty for published weights.
        notice: of the authors; it goes wherever the weights go, also trained further.
        provenance: its ModelSpec's; empty for published weights.
    """

    backbone: str
    network: nn.Module
    audio: AudioSpec
    labels: tuple[str, ...] = ()
    notice: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)


def names_trained_network(weights: str) -> bool:
    """Whether ``trained_network`` reads these weights: they say themselves which network they are of.

    Others are "none", "imagenet", and files with a state dict alone.
    """
    path = Path(weights)
    if weights in _PLAIN:
        return False
    if is_musicnn_weights(weights) or weights in known_models():
        return True
    if path.is_dir() or path.suffix.lower() == ".onnx":
        return True
    if path.is_file():
        return _carries_spec(path) or is_audioset_state(_names_of_tensors(path))
    with suppress(UsageError):
        return path_from_model(weights).suffix.lower() == ".onnx"
    return False


def place_of_weights(weights: str) -> Path | None:
    """The file or folder of one's own that weights are read from; None where they are a name's."""
    path = Path(weights)
    named = weights in (*_PLAIN, *MUSICNN_WEIGHTS) or (weights in known_models() and not path.is_file())
    return None if named or not os.path.lexists(path) else path


def trained_network(
    source: str, say: Callable[[str], None] = lambda line: print(line, file=sys.stderr)
) -> TrainedNetwork:
    """Finds and reads a trained network.

    Args:
        source: "musicnn-msd", "musicnn-mtt", or MusiCNN's wheel; the AudioSet network's file; a
            run's folder or its checkpoint; an FP32 .onnx that was exported from a network of ours; or the
            name of a known model, such as "audiocnn".
        say: called with one line before something is fetched.

    Raises:
        UsageError: no such file, folder or name.
        MerError: the file holds no weights, or none of a network that is known here.
    """
    path = Path(source)
    if is_musicnn_weights(source):
        network = MusiCNN(TAGS)
        load_weights(network, "musicnn", musicnn_state(source, say))
        return TrainedNetwork("musicnn", network.eval(), PRESETS["musicnn"], notice=MUSICNN_NOTICE)
    if source in known_models() and not path.is_file():
        return _trained(*network_from_onnx(known_models()[source]))
    if source and path.is_dir():  # the path of an empty name is this folder
        return _trained(*network_from_checkpoint(checkpoint_in(path)))
    if path.is_file() and path.suffix.lower() == ".onnx":
        return _trained(*network_from_onnx(path))
    if path.is_file():
        return _trained(*network_from_checkpoint(path)) if _carries_spec(path) else _audioset(path)
    with suppress(UsageError):
        return _trained(*network_from_onnx(path_from_model(source)))
    known = (*MUSICNN_WEIGHTS, *known_models())
    raise UsageError(
        f"weights {source or repr(source)}: no such file, run folder or network; known names: "
        f"{', '.join(known)}; or a file or folder{did_you_mean(source, known)}"
    )


def identity_of_weights(weights: str) -> str:
    """What tells weights to begin with from all others, wherever they lie: "none", "imagenet", or a digest.

    Raises:
        UsageError, MerError: see ``trained_network``.
    """
    if names_trained_network(weights):
        trained = trained_network(weights)
        digest = hashlib.sha256(repr((trained.backbone, trained.labels)).encode())
        for part in bytes_of_tensors(trained.network.state_dict()):
            digest.update(part)
        return digest.hexdigest()
    path = Path(weights)
    if weights in _PLAIN or not path.is_file():
        return weights
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checkpoint_in(folder: Path) -> Path:
    """The checkpoint of a run's folder; of a cross-validation's, that of its final network.

    Raises:
        UsageError: it holds none.
    """
    for name in _CHECKPOINTS:
        if (folder / name).is_file():
            return folder / name
    raise no_training(folder)


def _trained(network: nn.Module, spec: ModelSpec) -> TrainedNetwork:
    notice = str(spec.provenance.get("notice", ""))
    return TrainedNetwork(spec.backbone, network, spec.audio, spec.labels, notice, spec.provenance)


def _carries_spec(path: Path) -> bool:
    metadata, _ = _header(path)
    return SPEC_KEY in metadata


def _names_of_tensors(path: Path) -> Collection[str]:
    """Of a file of safetensors or of ``torch.save``; none where it is neither."""
    _, names = _header(path)
    if not names:  # as the authors of the AudioSet network publish it
        with suppress(MerError):
            return state_dict_from_file(path)
    return names


def _header(path: Path) -> tuple[Mapping[str, str], Collection[str]]:
    """What a safetensors file says of itself, and its tensors' names; both empty where it is no such file."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, file.keys()
    except (SafetensorError, OSError, ValueError):
        return {}, ()


def _audioset(path: Path) -> TrainedNetwork:
    state = state_dict_from_file(path)
    if not is_audioset_state(state):
        raise MerError(
            f"{path} does not say which network its weights are of: name that too, as the model to train"
        )
    network = AudioSetNet()
    load_weights(network, "the AudioSet network", audioset_state(state))
    return TrainedNetwork("audioset", network.eval(), PRESETS["audioset"], notice=AUDIOSET_NOTICE)
