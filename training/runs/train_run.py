"""One training on one split, from examples to a folder of results; a finished one is not repeated."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from ...engine.arrays import Float32
from ...engine.backbone_names import backbone_from_name
from ...engine.errors import MerError
from ...engine.files import write_whole
from ...engine.spec import AudioSpec, ModelSpec
from ..data.examples import Examples, Integers, standardised, tag_targets
from ..data.sides import groups_together
from ..data.splits import Split, hash_of_lines, held_out_part
from ..evaluate.figures import confusion_png, curves_png
from ..evaluate.metrics_report import HEARD_BEFORE, card_from_spec, metrics_from_predictions, write_json
from ..evaluate.predictions import (
    Predictions,
    fit_temperature,
    load_predictions,
    predictions_from_logits,
    predictions_from_network,
    save_predictions,
)
from ..fit.batches import TrainingData
from ..fit.trainer import Epoch, train
from ..networks.backbones import keep_outputs
from ..networks.checkpoint import network_from_checkpoint, save_checkpoint, spec_from_checkpoint
from ..networks.trained import identity_of_weights
from ..recipe import Recipe
from ..teachers.lesson import Lesson
from .beginning import network_to_train
from .differences import differences
from .frozen_fit import FrozenFit, frozen_fit
from .observer import NoObserver, Observer
from .pretraining import pretraining_facts, pretraining_of
from .provenance import Job, run_provenance, songs_heard_before
from .run_folder import (
    CARD,
    CHECKPOINT,
    LOGITS,
    METRICS,
    STATE,
    FinishedRun,
    Mode,
    checkpoint_of,
    epochs_in,
    prepare_folder,
    run_from_folder,
)
from .tensorboard import tensorboard_in

_WRITTEN = ("model", "protocol", "parameters", "macs", "recipe", "skipped", "split", "minutes")
_TESTED = (
    *("songs", "accuracy", "macro_f1", "window", "majority", "temperature"),
    *("calibration_error", "calibration_error_by_chance"),
)
_VALIDATION_FIGURES = ("songs", "accuracy", "macro_f1", "calibration_error", "log_loss")


def train_split(
    job: Job,
    examples: Examples,
    split: Split,
    folder: Path,
    mode: Mode = "fresh",
    observer: Observer | None = None,
) -> FinishedRun:
    """Trains a network, fits its temperature on validation, tests it once, and writes all results.

    Raises:
        UsageError: the folder holds a training, and the mode is "fresh"; or see ``check_files``.
        MerError: the folder holds another training; or the loss is not finite, then the folder holds
            the checkpoint of the best epoch before.
    """
    audio = standardised(job.protocol.audio, (examples.windows[i] for i in split.training))
    run = _Run(job, examples, split, folder, audio, observer or NoObserver())
    if prepare_folder(folder, run.key, mode, backbone_from_name(job.model), run.differing):
        run.say_what_stays()
        run.mend_predictions()
    else:
        network, history = run.train()
        temperature, metrics = run.test(network)
        run.write(network, history, temperature, metrics)
    return run_from_folder(folder, (*_WRITTEN, *(_TESTED if len(split.test) else ())))


@dataclass(frozen=True)
class _Run:
    """One training and its folder. ``audio`` is standardised on the training part."""

    job: Job
    examples: Examples
    split: Split
    folder: Path
    audio: AudioSpec
    observer: Observer

    @cached_property
    def key(self) -> str:
        """Identifies the training: equal keys give equal networks."""
        protocol, clips, targets = self.job.protocol, self.examples.clips, self.examples.targets
        # Not their path: another file may lie there by now, and the same one elsewhere.
        weights = identity_of_weights(protocol.weights)
        same = dataclasses.replace(protocol, weights=weights, ours="")
        parts = (
            ("training", self.split.training),
            ("validation", self.split.validation),
            ("test", self.split.test),
        )
        return hash_of_lines(
            [
                backbone_from_name(self.job.model),
                json.dumps(dataclasses.asdict(same), sort_keys=True),
                self.audio.fingerprint,
                *self.examples.labels,
                *(f"{name}:{clips[i].id}:{targets[i]}" for name, positions in parts for i in positions),
                *(f"tags:{';'.join(clip.tags)}" for clip in clips if protocol.recipe.tag_weight),
                *([f"plan:{self.job.plan}"] if self.job.plan != "all" else []),
                *(self.job.teaching.identity(self.examples, self.split) if self.job.teaching else []),
                *(f"group:{ids}" for ids in groups_together(self.examples, self.split)),
                *map(json.dumps, pretraining_facts(self.job, self.examples).values()),
            ]
        )

    def differing(self) -> str:
        """See ``differences``: from the training whose checkpoint is in the folder."""
        name = backbone_from_name(self.job.model)
        here = ModelSpec(name, self.examples.labels, self.audio, 1.0, self.provenance)
        with suppress(MerError):
            return differences(spec_from_checkpoint(self.folder / CHECKPOINT), here)
        return ""

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What is known of the network before it is trained."""
        return run_provenance(self.job, self.examples, self.split, self.tags[0]) | self.taught_by

    @cached_property
    def recipe(self) -> Recipe:
        """See ``Job.recipe_on``."""
        return self.job.recipe_on(self.split)

    @cached_property
    def tags(self) -> tuple[tuple[str, ...], Float32 | None]:
        """See ``tag_targets``; none where the recipe does not learn tags."""
        learnt = self.recipe.tag_weight and self.job.plan != "frozen"
        return tag_targets(self.examples, self.split.training) if learnt else ((), None)

    @cached_property
    def taught_by(self) -> dict[str, Any]:
        """See ``Teaching.facts`` and ``pretraining_facts``; empty without teachers."""
        facts = self.job.teaching.facts(self.examples, self.split) if self.job.teaching else {}
        return facts | pretraining_facts(self.job, self.examples)

    @cached_property
    def lesson(self) -> Lesson | None:
        """See ``Teaching.lesson``; its vectors only where the recipe learns them."""
        teaching = self.job.teaching
        if not teaching:
            return None
        lesson = teaching.lesson(self.examples, self.split, self.recipe.balance)
        return lesson if self.recipe.embedding_weight else lesson.without_vectors()

    @cached_property
    def fit(self) -> FrozenFit | None:
        """See ``frozen_fit``; None where more than a head is trained."""
        if self.job.plan != "frozen":
            return None
        return frozen_fit(self.job, self.examples, self.split, self.observer)

    def say_what_stays(self) -> None:
        """What was asked for and is not done, since the training is finished and its files stay."""
        if self.job.licence != Job.licence and (self.folder / CHECKPOINT).exists():
            provenance = spec_from_checkpoint(checkpoint_of(self.folder)).provenance
            if provenance.get("licence") != self.job.licence:
                self.observer.say(f"{self.folder} is finished: its card keeps the licence that it has")

    def mend_predictions(self) -> None:
        """Makes the test part's predictions again from the checkpoint, where they are lost or damaged."""
        path = self.folder / LOGITS
        if not len(self.split.test):
            return
        with suppress(MerError):
            load_predictions(path)
            return
        network, spec = network_from_checkpoint(checkpoint_of(self.folder))
        predictions = predictions_from_network(network, self.examples, self.split.test, spec.audio)
        save_predictions(predictions, path)
        self.observer.say(f"{path} was missing or damaged: made again from the checkpoint")

    def train(self) -> tuple[nn.Module, list[Epoch]]:
        """Trains, or continues, with the best network so far in the folder as a checkpoint."""
        if self.fit:
            self.observer.begin(self.folder.name, 1, 0)
            self.observer.epoch(self.fit.history)
            return self.fit.network, [self.fit.history]
        _, tag_rows = self.tags
        examples, split, validation = self.examples, self.split, self.split.validation
        if not len(validation) and self.job.protocol.name != "best":
            validation = split.test  # both papers draw curves of their test part; nothing is chosen by them
        data = TrainingData(
            examples.decibels,
            examples.windows,
            examples.targets,
            split.training,
            validation,
            self.audio,
            tag_rows,
            self.lesson,
        )
        held_out = held_out_part(len(split.validation))
        self.observer.begin(self.folder.name, self.recipe.epochs, epochs_in(self.folder), held_out)
        tensorboard = tensorboard_in(self.folder)

        def on_epoch(row: Epoch) -> None:
            self.observer.epoch(row)
            tensorboard(row)

        goes_on = (self.folder / STATE).exists()
        start = None if goes_on else pretraining_of(self.job, examples, self.observer.say)
        network, history = train(
            network_to_train(self.job, data, examples.clips, examples.labels, sum(data.columns[:3]), start),
            data,
            self.recipe,
            self.folder / STATE,
            self.key,
            on_epoch,
            lambda best, row: save_checkpoint(
                self._labels_only(best), self._spec(), self.folder / CHECKPOINT
            ),
        )
        return self._labels_only(network), history

    def test(self, network: nn.Module) -> tuple[float, dict[str, Any]]:
        """The temperature, fitted on validation, and the metrics; writes the test part's predictions."""
        temperature, validation = self.fit.head.temperature if self.fit else 1.0, {}
        if len(self.split.validation):
            predictions = self._predictions(network, self.split.validation)
            temperature = fit_temperature(predictions)
            figures = metrics_from_predictions(predictions, temperature)
            validation = {"validation": {name: figures[name] for name in _VALIDATION_FIGURES}}
        if not len(self.split.test):
            return temperature, validation
        predictions = self._predictions(network, self.split.test)
        save_predictions(predictions, self.folder / LOGITS)
        heard = songs_heard_before(
            self.job, self.examples, {int(self.examples.songs[i]) for i in self.split.test}
        )
        before = {HEARD_BEFORE: len(heard)} if heard else {}
        return temperature, metrics_from_predictions(predictions, temperature) | before | validation

    def write(
        self, network: nn.Module, history: Sequence[Epoch], temperature: float, metrics: Mapping[str, Any]
    ) -> None:
        """The final checkpoint, its card, figures and metrics. ``macs`` are known once it is exported."""
        folder, model = self.folder, self.job.model
        if "confusion" in metrics:
            title = f"{model}, {self.job.protocol.name}: accuracy {metrics['accuracy']:.3f}"
            confusion_png(metrics["confusion"], self.examples.labels, folder / "confusion.png", title)
        spec = self._spec(temperature, metrics)
        save_checkpoint(network, spec, folder / CHECKPOINT)
        write_whole(folder / CARD, card_from_spec(spec))
        curves_png({model: history}, folder / "curves.png", held_out_part(len(self.split.validation)))
        write_json(
            {
                **metrics,
                "model": backbone_from_name(model),
                "protocol": self.job.protocol.name,
                "parameters": sum(p.numel() for p in network.parameters()),
                "macs": None,
                "split": spec.provenance["split"],
                "skipped": self.examples.left_out,
                "recipe": dataclasses.asdict(self.recipe),
                "epochs": len(history),
                "chosen_epoch": max(row.epoch for row in history if row.better),
                "minutes": round(sum(row.seconds for row in history) / 60, 2),
                "history": [dataclasses.asdict(row) for row in history],
            },
            folder / METRICS,
        )
        (folder / STATE).unlink(missing_ok=True)  # last: a folder without it holds a finished training

    def _predictions(self, network: nn.Module, chosen: Integers) -> Predictions:
        if self.fit:
            return predictions_from_logits(self.fit.logits(chosen), self.examples, chosen)
        return predictions_from_network(network, self.examples, chosen, self.audio)

    def _labels_only(self, network: nn.Module) -> nn.Module:
        """A network without the outputs of tags and vectors."""
        if not self.tags[0] and not self.job.teaching:
            return network
        return keep_outputs(copy.deepcopy(network), self.job.model, len(self.examples.labels))

    def _spec(self, temperature: float = 1.0, metrics: Mapping[str, Any] | None = None) -> ModelSpec:
        """Without metrics the training is not finished, and its provenance says so."""
        provenance = self.provenance | (self.fit.provenance if self.fit else {})
        provenance |= {"metrics": dict(metrics or {}), "finished": metrics is not None}
        name = backbone_from_name(self.job.model)
        return ModelSpec(name, self.examples.labels, self.audio, temperature, provenance)
