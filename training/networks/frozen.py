"""A trained network that stays as it is, and one linear layer that learns labels from its embedding."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import Tensor, nn

from .backbones import build_backbone
from .embedding import Embedding

FROZEN_KEY = "frozen"
"""The key of ModelSpec.provenance of such a network; its value is what ``frozen_facts`` gives."""

_MOST = 1_000, 1_024, 16  # patches, mels, blocks


class FrozenNetwork(nn.Module):
    """Log-mels ``[batch, 1, mels, frames]`` to logits ``[batch, labels]``."""

    HEADS = ("head",)
    """Path of the layer that gives the logits."""

    def __init__(self, embedding: Embedding, head: nn.Linear) -> None:
        super().__init__()
        self.embedding = embedding
        self.head = head

    def forward(self, log_mels: Tensor) -> Tensor:
        return self.head(self.embedding(log_mels))


def frozen_facts(embedding: Embedding) -> dict[str, Any]:
    """What ``unfilled_frozen`` needs to know."""
    facts = {"mels": embedding.mels, "middle": embedding.middle}
    return {"patches": embedding.patches, **{name: value for name, value in facts.items() if value}}


def unfilled_frozen(
    name: str, facts: Any, tensors: Collection[str], features: int, labels: int
) -> FrozenNetwork:
    """A network of the same form, for weights that come after it.

    Args:
        name: of the backbone.
        facts: what ``frozen_facts`` gave; from a file, so it may be anything.
        tensors: names of the weights.

    Raises:
        UsageError: a backbone that this version does not know.
        ValueError: facts that ``frozen_facts`` does not give.
    """
    facts = facts if isinstance(facts, dict) else {}
    given = facts.get("patches"), facts.get("mels", 0), facts.get("middle", 0)
    for value, least, most in zip(given, (1, 0, 0), _MOST, strict=True):
        if type(value) is not int or not least <= value <= most:
            raise ValueError("its provenance does not say how its embedding is made")
    extra_head, has_hidden = (
        any(tensor.startswith(f"embedding.network.{part}.") for tensor in tensors)
        for part in ("backbone", "classifier")
    )
    network = build_backbone(name, 2, extra_head=extra_head)
    # Other backbones have a ``classifier`` too; of an AudioSetNet it is kept where that layer is heard.
    embedding = Embedding(network, name, *given, hidden=has_hidden and given[2] > 0)
    return FrozenNetwork(embedding, nn.Linear(features, labels))
