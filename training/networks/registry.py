"""Networks that other packages add, through the entry points ``merkit.backbones``: see docs/BACKBONES.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from ...engine.backbone_names import outside_backbones
from ...engine.errors import MerError
from ...engine.spec import AudioSpec

if TYPE_CHECKING:  # recipes are read where torch is not needed
    from torch import nn


@dataclass(frozen=True)
class Backbone:
    """What an entry point gives.

    Attributes:
        build: a number of outputs to a network with random weights, which maps log-mels
            ``[batch, 1, mels, frames]`` to ``[batch, outputs]``.
        heads: paths of the layers (linear, or convolutions of 1x1) that give the outputs; new labels get new
            ones, and an embedding is what goes into them.
        audio: what it hears, where it is built for that; None leaves it to the protocol.
        recipe: fields of the ``best`` recipe that it needs otherwise, such as its learning rate.
    """

    build: Callable[[int], nn.Module]
    heads: tuple[str, ...]
    audio: AudioSpec | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)


@cache
def outside_backbone(name: str) -> Backbone | None:
    """The network that another package adds under this name; its code is imported now. None: there is none.

    Raises:
        MerError: it cannot be imported, or is no ``Backbone``.
    """
    entry = outside_backbones().get(name)
    if entry is None:
        return None
    package = entry.dist.name if entry.dist else entry.value
    try:
        backbone = entry.load()
    except Exception as error:  # of any type: it is someone else's code
        raise MerError(f"the backbone {name} of {package} cannot be loaded: {error}") from error
    if not isinstance(backbone, Backbone):
        raise MerError(
            f"the backbone {name} of {package} is no merkit Backbone but {type(backbone).__name__}"
        )
    if wrong := _not_as_said(backbone):
        raise MerError(
            f"the backbone {name} of {package} has wrong attributes ({', '.join(wrong)}): see "
            "docs/BACKBONES.md"
        )
    return backbone


def _not_as_said(backbone: Backbone) -> list[str]:
    """The attributes that hold something else than ``Backbone`` says."""
    heads: Any = backbone.heads
    good = {
        "build": callable(backbone.build),
        "heads (a tuple of paths)": isinstance(heads, tuple)
        and bool(heads)
        and all(isinstance(path, str) for path in heads),
        "audio": backbone.audio is None or isinstance(backbone.audio, AudioSpec),
        "recipe": isinstance(backbone.recipe, Mapping),
    }
    return [name for name, is_good in good.items() if not is_good]
