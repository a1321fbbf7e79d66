"""A network on clips from the cache, without gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...engine.arrays import Float32
from ...engine.spec import AudioSpec
from ..data.augment import spread_crops

_WINDOWS_AT_ONCE = 64


@torch.inference_mode()
def logits_from_network(
    network: nn.Module, clips: Sequence[Float32], chosen: np.ndarray, spec: AudioSpec, windows: int
) -> list[Float32]:
    """Each chosen clip's logits ``[windows, outputs]``, of up to ``windows`` evenly spread windows.

    Args:
        clips: spectrograms ``[mels, frames]`` in dB.
        chosen: positions of clips.
    """
    network.eval()
    device = next(network.parameters()).device
    waiting: list[Float32] = []
    counts: list[int] = []
    batches: list[Tensor] = []

    def run() -> None:
        log_mels = torch.from_numpy(np.stack(waiting))[:, None]
        batches.append(network(log_mels.to(device, memory_format=torch.channels_last)).float().cpu())
        waiting.clear()

    for i in chosen:
        crops = spread_crops(clips[i], spec, windows)
        counts.append(len(crops))
        waiting.extend(crops)
        if len(waiting) >= _WINDOWS_AT_ONCE:
            run()
    if waiting:
        run()
    return np.split(torch.cat(batches).numpy(), np.cumsum(counts)[:-1]) if batches else []
