"""What a trained network hears in a window, before it names a label: its embedding."""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...engine.spec import AudioSpec
from .audiocnn import AudioCNN
from .audioset import AudioSetNet
from .backbones import head_paths

_WINDOW_S = 10.0  # of an embedding; a network that hears less hears several patches
_SILENT = -10.0  # deviations: of a log-mel 200 dB below the mean, quieter than any network's floor


class Embedding(nn.Module):
    """Log-mels ``[batch, 1, mels, frames]`` to ``[batch, features]``: what goes into the last layer.

    A network whose windows are shorter than 5 s hears ``patches`` of them one after another; the features
    are then the mean and the deviation over the patches. A network of two parts gives the features of both.

    A network that was trained with more mels than it gets hears silence in those above. What it then knows of
    a band that no clip of the training reaches, such as files of 22 kHz, cannot mislead the layer after it.

    Args:
        network: of the backbone ``name``; it is copied.
        mels: as many as it was trained with; 0 is as many as it gets.
        middle: of an AudioSetNet, the block from which on each one's mean is among the features (Schmid,
            Koutini and Widmer, 2023: "Low-complexity audio embedding extractors"); 0 is the last one's alone.
        hidden: with ``middle``, also what the hidden layer of its classifier gives.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        patches: int = 1,
        mels: int = 0,
        middle: int = 0,
        hidden: bool = False,
    ) -> None:
        super().__init__()
        self.patches, self.mels, self.middle, self.hidden = patches, mels, middle, hidden
        self.network = copy.deepcopy(network)
        for path in head_paths(network, name, embedding=True):
            self.network.set_submodule(path, nn.Identity())
        if hidden and isinstance(network, AudioSetNet):
            self.network.classifier = copy.deepcopy(network.classifier[:2])
        self.network.requires_grad_(False).eval()

    def forward(self, log_mels: Tensor) -> Tensor:
        if self.mels > log_mels.shape[2]:
            log_mels = functional.pad(log_mels, (0, 0, 0, self.mels - log_mels.shape[2]), value=_SILENT)
        if self.patches == 1:
            return self._features(log_mels)
        frames = log_mels.shape[3] // self.patches
        # [batch, 1, mels, patches, frames] to [batch x patches, 1, mels, frames]
        parts = log_mels.unflatten(3, (self.patches, frames)).permute(0, 3, 1, 2, 4).flatten(0, 1)
        features = self._features(parts).unflatten(0, (-1, self.patches))
        mean = features.mean(dim=1)
        deviation = (features - mean[:, None]).square().mean(dim=1).sqrt()
        return torch.cat([mean, deviation], dim=1)

    def train(self, mode: bool = True) -> Embedding:
        """It stays in evaluation mode: it is frozen."""
        return super().train(False)

    def _features(self, log_mels: Tensor) -> Tensor:
        if isinstance(self.network, AudioCNN):
            return torch.cat(self.network.parts(log_mels), dim=1)
        if self.middle and isinstance(self.network, AudioSetNet):
            means = self.network.means(log_mels, self.middle)
            return torch.cat([*means, self.network.classifier(means[-1])] if self.hidden else means, dim=1)
        return self.network(log_mels).flatten(1)


def embedding_audio(audio: AudioSpec) -> tuple[AudioSpec, int]:
    """The windows of about 10 s in which a network is embedded, and how many of its own windows they hold.

    Decibels relative to a window's maximum or mean belong to the network's own window: it has one patch then.
    """
    patches = int(_WINDOW_S // audio.window_s)
    if patches < 2 or audio.reference != "one" or audio.top_db is not None:
        return audio, 1
    frames = patches * audio.frames
    return dataclasses.replace(audio, frames=frames, window_samples=frames * audio.hop_length), patches
