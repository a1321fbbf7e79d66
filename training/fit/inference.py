"""A network on the engine's windows of clips, without gradients, and how right it is there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...engine.arrays import Float32
from ...engine.data.metrics import accuracy_and_macro_f1, log_loss
from ...engine.labelling.song_label import song_probabilities
from ...engine.spec import AudioSpec
from ...engine.spectrogram.log_mel import log_mel_from_decibels

_WINDOWS_AT_ONCE = 64


@torch.inference_mode()
def logits_from_network(
    network: nn.Module, windows: Sequence[Float32], chosen: np.ndarray, spec: AudioSpec
) -> list[Float32]:
    """Each chosen clip's logits ``[windows, outputs]``.

    Args:
        windows: each clip's windows ``[windows, mels, frames]`` in dB.
        chosen: positions of clips.
    """
    network.eval()
    device = next(network.parameters()).device
    waiting: list[Float32] = []
    ends: list[int] = []
    batches: list[Tensor] = []

    def run() -> None:
        log_mels = torch.from_numpy(np.stack(waiting))[:, None]
        batches.append(network(log_mels.to(device, memory_format=torch.channels_last)).float().cpu())
        waiting.clear()

    for i in chosen:
        log_mels = [log_mel_from_decibels(window, spec) for window in windows[i]]
        ends.append(len(log_mels) + (ends[-1] if ends else 0))
        waiting += log_mels
        if len(waiting) >= _WINDOWS_AT_ONCE:
            run()
    if waiting:
        run()
    return np.split(torch.cat(batches).numpy(), ends[:-1]) if batches else []


def figures_of_clips(
    logits: Sequence[Float32], truth: np.ndarray, temperature: float = 1.0
) -> tuple[float, float, float]:
    """Loss (nats), accuracy and macro-F1 by clip; NaN where there are none.

    Args:
        logits: each clip's ``[windows, labels]``.
        truth: the positions of their labels, ``[clips]``.
    """
    if not len(truth):
        return float("nan"), float("nan"), float("nan")
    probabilities = np.stack([song_probabilities(rows, temperature) for rows in logits])
    return log_loss(truth, probabilities), *accuracy_and_macro_f1(truth, probabilities.argmax(axis=1))
