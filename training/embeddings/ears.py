"""A trained network as ears: what of it makes embeddings, and what tells it from all others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch

from ...engine.arrays import Float32
from ...engine.spec import AudioSpec
from ..networks.audioset import PUBLISHED_WINDOW_S, AudioSetNet
from ..networks.embedding import Embedding, embedding_audio
from ..networks.frozen import FrozenNetwork
from ..networks.trained import TrainedNetwork, trained_network
from ..networks.weights_file import bytes_of_tensors

_VERSION = b"1"  # of how embeddings are computed


@dataclass(frozen=True)
class Ears:
    """``embedding`` maps log-mels ``[windows, 1, mels, frames]`` to ``[windows, features]``.

    ``audio`` says which log-mels; ``notice`` is of the authors of published weights.
    """

    name: str
    audio: AudioSpec
    embedding: Embedding
    notice: str = ""

    @cached_property
    def key(self) -> str:
        """SHA-256 of the weights and of what is heard: equal for equal embeddings only."""
        digest = hashlib.sha256(_VERSION)
        digest.update(self.audio.to_json().encode())
        if self.embedding.mels:
            digest.update(f"{self.embedding.mels} mels".encode())
        if self.embedding.middle:
            digest.update(f"blocks from {self.embedding.middle}".encode())
        for part in bytes_of_tensors(self.embedding.state_dict()):
            digest.update(part)
        return digest.hexdigest()

    @torch.inference_mode()
    def embed(self, log_mels: Float32) -> Float32:
        """Log-mels ``[windows, 1, mels, frames]`` to ``[windows, features]``."""
        device = next(self.embedding.parameters()).device
        return self.embedding(torch.from_numpy(log_mels).to(device)).float().cpu().numpy()


def ears_from_source(source: str) -> Ears:
    """A trained network's, for few clips: see ``trained_network`` for the errors."""
    return ears_of(trained_network(source), with_middle=True)


def embedded_audio(trained: TrainedNetwork) -> AudioSpec:
    """What a network hears where it is embedded: windows of about 10 s."""
    if isinstance(trained.network, FrozenNetwork):
        return trained.audio
    return embedding_audio(trained.audio)[0]


def ears_of(
    trained: TrainedNetwork,
    audio: AudioSpec | None = None,
    with_middle: bool = False,
    with_hidden: bool = False,
) -> Ears:
    """On CUDA where available.

    Args:
        audio: what they are to hear; None is what the network was trained on. Its mels are that one's first.
        with_middle: of the AudioSet network as published, the middle blocks too. One that was trained further
            has what it learnt in its last.
        with_hidden: beside these the hidden layer of its classifier, where the windows are as long as those
            of its training or longer. Of shorter ones that layer helps on clips like those of the fit, and
            not on other music (docs/RESULTS.md).
    """
    audio = audio or embedded_audio(trained)
    if isinstance(trained.network, FrozenNetwork):
        embedding = trained.network.embedding
    else:
        mels = trained.audio.n_mels if trained.audio.n_mels > audio.n_mels else 0
        is_published = isinstance(trained.network, AudioSetNet) and not trained.labels
        middle = AudioSetNet.MIDDLE if with_middle and is_published else 0
        patches = embedding_audio(trained.audio)[1]
        hidden = with_hidden and middle > 0 and audio.window_s >= PUBLISHED_WINDOW_S
        embedding = Embedding(trained.network, trained.backbone, patches, mels, middle, hidden)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Ears(trained.backbone, audio, embedding.to(device), trained.notice)
