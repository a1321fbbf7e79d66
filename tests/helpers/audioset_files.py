"""The AudioSet network as published: random tensors by the published names, and its definition."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# kernel, expanded, out, squeeze (0: none), relu, stride: MobileNetV3-Large at width 0.4
_BLOCKS = (
    (3, 8, 8, 0, True, 1), (3, 24, 16, 0, True, 2), (3, 32, 16, 0, True, 1), (5, 32, 16, 8, True, 2),
    (5, 48, 16, 16, True, 1), (5, 48, 16, 16, True, 1), (3, 96, 32, 0, False, 2), (3, 80, 32, 0, False, 1),
    (3, 72, 32, 0, False, 1), (3, 72, 32, 0, False, 1), (3, 192, 48, 48, False, 1),
    (3, 272, 48, 72, False, 1), (5, 272, 64, 72, False, 2), (5, 384, 64, 96, False, 1),
    (5, 384, 64, 96, False, 1),
)  # fmt: skip


def random_audioset(seed: int = 0) -> dict[str, Tensor]:
    """Tensors by the published names and in the published shapes."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def put(name: str, *shape: int, scale: float | None = None) -> None:
        fan = max(1, int(torch.tensor(shape[1:]).prod())) if len(shape) > 1 else 1
        state[name] = torch.randn(*shape, generator=generator) * (scale or (2 / fan) ** 0.5)

    def conv(name: str, out: int, into: int, kernel: int) -> None:
        put(f"{name}.0.weight", out, into, kernel, kernel)
        put(f"{name}.1.bias", out, scale=0.1)
        put(f"{name}.1.running_mean", out, scale=0.1)
        for part in ("weight", "running_var"):
            state[f"{name}.1.{part}"] = torch.rand(out, generator=generator) + 0.5
        state[f"{name}.1.num_batches_tracked"] = torch.tensor(7)

    conv("features.0", 8, 1, 3)
    into = 8
    for i, (kernel, wide, out, squeeze, _, _) in enumerate(_BLOCKS, start=1):
        base, layer = f"features.{i}.block", 0
        if wide != into:
            conv(f"{base}.{layer}", wide, into, 1)
            layer += 1
        conv(f"{base}.{layer}", wide, 1, kernel)
        layer += 1
        if squeeze:
            for name, a, b in (("fc1", squeeze, wide), ("fc2", wide, squeeze)):
                put(f"{base}.{layer}.conc_se_layers.0.{name}.weight", a, b)
                put(f"{base}.{layer}.conc_se_layers.0.{name}.bias", a, scale=0.1)
            layer += 1
        conv(f"{base}.{layer}", out, wide, 1)
        into = out
    conv("features.16", 384, 64, 1)
    for name, a, b in (("classifier.2", 512, 384), ("classifier.5", 527, 512)):
        put(f"{name}.weight", a, b)
        put(f"{name}.bias", a, scale=0.1)
    return state


def published_audioset(state: dict[str, Tensor], image: Tensor) -> tuple[Tensor, Tensor]:
    """The 384 features and 527 logits of ``[batch, 1, mels, frames]`` as the published network hears it."""

    def conv(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{name}.0.weight"]
        x = functional.conv2d(x, weight, None, stride, weight.shape[2] // 2, 1, groups)
        norm = [state[f"{name}.1.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, norm[0], norm[1], norm[2], norm[3], training=False, eps=0.001)

    x = functional.hardswish(conv(image, "features.0", 2))
    for i, (_, wide, out, squeeze, relu, stride) in enumerate(_BLOCKS, start=1):
        act = functional.relu if relu else functional.hardswish
        base, layer, y = f"features.{i}.block", 0, x
        if wide != x.shape[1]:
            y, layer = act(conv(y, f"{base}.{layer}")), layer + 1
        y, layer = act(conv(y, f"{base}.{layer}", stride, wide)), layer + 1
        if squeeze:
            z = y.mean((2, 3))
            for name, nonlinearity in (("fc1", functional.relu), ("fc2", torch.sigmoid)):
                q = f"{base}.{layer}.conc_se_layers.0.{name}"
                z = nonlinearity(functional.linear(z, state[f"{q}.weight"], state[f"{q}.bias"]))
            y, layer = y * z[:, :, None, None], layer + 1
        y = conv(y, f"{base}.{layer}")
        x = x + y if stride == 1 and out == x.shape[1] else y
    features = functional.hardswish(conv(x, "features.16")).mean((2, 3))
    hidden = functional.linear(features, state["classifier.2.weight"], state["classifier.2.bias"])
    hidden = functional.hardswish(hidden)
    return features, functional.linear(hidden, state["classifier.5.weight"], state["classifier.5.bias"])
