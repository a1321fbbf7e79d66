"""The rows of the table of splits: each protocol's networks, borrowed ears, and the recording alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...engine.artifact import CHECKPOINT
from ...engine.backbone_names import BACKBONES, NETWORKS
from ...engine.data.label_folders import FOLDERS
from ...engine.data.labelled_audio import LabelledAudio
from ...engine.errors import UsageError
from ...engine.text.escape import text_from_path
from ..names import name_of
from ..networks.trained import trained_network
from ..plans import Plan
from ..recipe import PROTOCOLS, with_overrides
from .results_table import HEAVY, place_by_cost
from .settings import Session

RANDOM = "random"
"""The split at random; every other name of a split is the column that groups the clips."""

RECORDING = "recording"
"""The row of what a recording tells without its music, instead of a protocol's name."""

_NETWORKS_OF: Mapping[str, tuple[str, ...]] = {
    "hindi-2022": (
        *("alexnet", "vgg16", "resnet18", "resnet50", "mobilenetv3", "densenet121", "efficientnet_b0"),
    ),
    "icm-2020": ("vgg16", "resnet18", "squeezenet", "mobilenetv2"),
    "best": ("audiocnn", "mobilenetv3", "squeezenet"),
}
"""Those of each paper; of ``best`` those of bundled networks that are trained in all layers."""

_LABELS_OF = {"icm-2020": tuple(FOLDERS["jumusemodb"].values())}
"""What a protocol tells apart; of data that has more labels it gets these alone."""

_EARS: Mapping[Plan, str] = {"frozen": "frozen", "head": "fine-tuned"}
_FOLDS = 5


@dataclass(frozen=True)
class Row:
    """A network under a protocol. ``begins_with`` are its weights in words."""

    protocol: str
    model: str
    weights: str
    begins_with: str
    plan: Plan = "all"

    @property
    def title(self) -> str:
        """The network's name, as the papers spell it."""
        return NETWORKS.get(self.model, self.model)

    @property
    def folds(self) -> int:
        """A head alone is fitted in seconds: it is judged on every clip."""
        return _FOLDS if self.plan == "frozen" else 0

    @property
    def heavy(self) -> bool:
        """Whether it has the epochs of the slow ones."""
        return self.model in HEAVY or self.plan == "head"

    @property
    def cost(self) -> tuple[int, int]:
        """Orders rows by the duration of their trainings."""
        return (0 if self.plan == "frozen" else 1), place_by_cost(self.model)

    @property
    def key(self) -> str:
        """The name of its folder."""
        if self.protocol == RECORDING:
            return RECORDING
        ears = f"-{self.begins_with.replace(', ', '-')}" if self.plan != "all" else ""
        return f"{self.protocol}-{self.model}{ears}"


@dataclass(frozen=True)
class SplitPlan:
    """What the table is made of.

    Attributes:
        data: the labelled audio as each split groups it, by the split's name: see ``RANDOM``.
        name: of the data.
        protocols: in the order of the table.
        models: the networks to train under every protocol; empty for each protocol's own.
        begin: "none" or "imagenet", where the protocols' networks are not to begin as they say.
        ears: trained networks, which get two rows each: see ``trained_network``.
        sets: see ``with_overrides``. What is of the AudioSpec does not touch ``ears``.
        epochs: replaces the recipes'; ``heavy_epochs`` for the four slowest networks and for fine-tuning.
        out: the folder of the trainings.
    """

    data: Mapping[str, LabelledAudio]
    name: str
    protocols: tuple[str, ...]
    models: tuple[str, ...]
    begin: str | None
    ears: tuple[str, ...]
    sets: tuple[str, ...]
    epochs: int | None
    heavy_epochs: int | None
    out: Path
    cache: Path | None = None
    workers: int = 0

    def rows(self) -> list[Row]:
        """In the order of the table.

        Raises:
            UsageError: two trained networks have one name.
            MerError: see ``trained_network``.
        """
        rows = [Row(RECORDING, "no network", "", "", "frozen")]
        for source in self.ears:
            backbone, name = trained_network(source).backbone, _name_of_ears(source)
            rows += [Row("best", backbone, source, f"{name}, {how}", plan) for plan, how in _EARS.items()]
        for protocol in self.protocols:
            for model in self.models or _NETWORKS_OF[protocol]:
                weights = self._weights(protocol, model)
                rows.append(Row(protocol, model, weights, weights.replace("none", "random weights")))
        sources: dict[str, str] = {}
        for row in rows:
            if sources.setdefault(row.key, row.weights) != row.weights:
                raise UsageError(
                    f"--weights {sources[row.key]} and {row.weights} would share the folder {row.key}: give "
                    "one of them another name"
                )
        return rows

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the data, however it is split."""
        return next(iter(self.data.values())).labels

    def labels_of(self, protocol: str) -> tuple[str, ...]:
        """The labels that a protocol tells apart: its own where the data has these and more."""
        own = _LABELS_OF.get(protocol, ())
        return own if own and {*own} < {*self.labels} else self.labels

    def folder(self, row: Row, split: str) -> Path:
        """Of the results of a row on a split."""
        return self.out / row.key / split

    def session(self, row: Row, split: str) -> Session:
        """How a row is trained on a split.

        Raises:
            UsageError: fields that contradict each other.
        """
        own = row.plan == "all"
        sets = [text for text in self.sets if own or not text.startswith("audio.")]
        protocol = with_overrides(PROTOCOLS["best" if row.protocol == RECORDING else row.protocol], sets)
        epochs = self.heavy_epochs if row.heavy and self.heavy_epochs else self.epochs
        chosen = {text.partition("=")[0] for text in sets}
        if epochs:
            chosen.add("epochs")
            protocol = dataclasses.replace(
                protocol, recipe=dataclasses.replace(protocol.recipe, epochs=epochs)
            )
        return Session(
            self._clips(row.protocol, split),
            self.name,
            (row.model,),
            dataclasses.replace(protocol, weights=row.weights or "none"),
            self.folder(row, split),
            ("random" if split == RANDOM else "grouped",),
            row.folds,
            mode="resume",
            cache=self.cache,
            workers=self.workers,
            chosen=frozenset(chosen),
            plan="all" if row.protocol == RECORDING else row.plan,
        )

    def _weights(self, protocol: str, model: str) -> str:
        """Our own networks have no published weights for a protocol to begin with."""
        own = PROTOCOLS[protocol].weights if model in BACKBONES else "none"
        return own if self.begin is None or own == "none" else self.begin

    def _clips(self, protocol: str, split: str) -> LabelledAudio:
        data, labels = self.data[split], self.labels_of(protocol)
        if labels == data.labels:
            return data
        clips = tuple(clip for clip in data.clips if clip.label in labels)
        return dataclasses.replace(data, clips=clips, labels=labels)


def _name_of_ears(source: str) -> str:
    """A run's folder by its name, also where its checkpoint is given; a file without its suffix."""
    path = Path(source)
    if path.name == CHECKPOINT:
        return name_of(path.absolute().parent)
    return text_from_path(path.stem) if path.is_file() else name_of(path)
