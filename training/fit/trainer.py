"""The training loop. It can be killed after any epoch and continues with the same result."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ...engine.errors import MerError
from ...engine.files import whole_file
from ..recipe import Recipe
from .batches import TrainingData, augmented_batch, batch_count, shuffled_batches
from .inference import figures_of_clips, logits_from_network
from .loss import balancing_weights, training_loss
from .optimizer import optimizer_from_recipe, running_average, schedule_from_recipe


class DivergedError(MerError):
    """A training whose numbers left what floats hold; another recipe may do."""


@dataclass(frozen=True)
class Epoch:
    """The figures of one epoch, in shares (accuracy, macro-F1), nats (losses) and seconds.

    ``loss`` and ``accuracy`` are those of training, with augmentation. The validation figures are by
    clip, of the averaged (EMA) weights; NaN without validation. ``better`` means that this epoch's
    network is the best so far. ``learning_rate`` is that of its first step.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float
    seconds: float
    better: bool = True
    learning_rate: float = float("nan")


def train(
    network: nn.Module,
    data: TrainingData,
    recipe: Recipe,
    state_file: Path | None = None,
    key: str = "",
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_better: Callable[[nn.Module, Epoch], None] = lambda network, epoch: None,
) -> tuple[nn.Module, list[Epoch]]:
    """Trains a network; returns it with the weights of the chosen epoch, and the history.

    On CUDA where available, in bfloat16 where the processor has it. Parameters that do not require a
    gradient are not changed.

    Args:
        state_file: written after every epoch. If it exists, training continues from it, with the same
            result as without the interruption.
        key: what identifies this training; a state file with another key is refused.
        on_better: called with the network that would be returned now, when it is a new one.

    Raises:
        DivergedError: the loss or a weight is not finite; the state file still holds the epoch before.
        MerError: the state file is another training's.
    """
    training = _Training(network, data, recipe)
    if state_file and state_file.exists():
        state = read_state(state_file)
        if state["key"] != key:
            raise MerError(
                f"{state_file} is of another training (other data, split, recipe, network or weights); "
                "remove it"
            )
        training.restore(state)
    while not training.finished:
        row = training.run_epoch()
        if state_file:
            write_state({**training.state(), "key": key}, state_file)
        if row.better:
            on_better(training.judged, row)
        on_epoch(row)
    return training.best_network(), training.history


class _Training:
    """Everything that changes from epoch to epoch.

    ``judged`` is the network that is validated and returned: the averaged one where the recipe averages.
    """

    def __init__(self, network: nn.Module, data: TrainingData, recipe: Recipe) -> None:
        self.data, self.recipe = data, recipe
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device, memory_format=torch.channels_last)  # pyright: ignore
        average = running_average(recipe.ema)
        self.averaged = AveragedModel(self.network, avg_fn=average, use_buffers=True)
        self.judged = self.averaged.module if recipe.ema else self.network
        steps = batch_count(len(data.training), recipe.batch_size)
        self.optimizer = optimizer_from_recipe(self.network, recipe)
        self.schedule = schedule_from_recipe(self.optimizer, recipe, steps * recipe.epochs)
        self.label_weights = None
        if recipe.balance:
            weights = balancing_weights(data.targets[data.training], data.classes)
            self.label_weights = weights.to(self.device)
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] = {}
        self._stateful = {
            "network": self.network,
            "averaged": self.averaged,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
        }

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or validation has not improved for ``patience`` of them."""
        done = len(self.history)
        if done >= self.recipe.epochs:
            return True
        last_better = max((row.epoch for row in self.history if row.better), default=0)
        return bool(self.recipe.patience and done and done - last_better >= self.recipe.patience)

    def run_epoch(self) -> Epoch:
        """Trains on every training clip once, validates, and remembers the weights if they are better."""
        start, epoch, rate = perf_counter(), len(self.history), float(self.schedule.get_last_lr()[0])
        # Seeded for each epoch, so that a resumed training draws the same numbers.
        rng = np.random.default_rng([self.recipe.seed, epoch])
        torch.manual_seed(int(rng.integers(2**62)))
        loss, accuracy = self._train_once(rng)
        for name, tensor in self.judged.state_dict().items():
            # The last step's: no loss comes after it that would show them.
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise self._diverged(f"{name} has values that are not finite after epoch {epoch + 1}")
        validation = _evaluate(self.judged, self.data)
        better = self.recipe.keep == "last" or not len(self.data.validation) or self._is_better(validation)
        if better:
            self.best = {name: t.detach().clone() for name, t in self.judged.state_dict().items()}
        seconds = perf_counter() - start
        self.history.append(Epoch(epoch + 1, loss, accuracy, *validation, seconds, better, rate))
        return self.history[-1]

    def state(self) -> dict[str, Any]:
        """For ``restore``, in types that ``torch.load`` reads with ``weights_only``."""
        history = json.dumps([dataclasses.asdict(row) for row in self.history])
        states = {name: part.state_dict() for name, part in self._stateful.items()}
        return {**states, "best": self.best, "history": history}

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from a ``state``."""
        for name, part in self._stateful.items():
            part.load_state_dict(state[name])
        self.history = [Epoch(**row) for row in json.loads(state["history"])]
        self.best = state["best"]

    def best_network(self) -> nn.Module:
        """The network with the best weights, in evaluation mode."""
        if self.best:
            self.judged.load_state_dict(self.best)
        return self.judged.eval()

    def _train_once(self, rng: np.random.Generator) -> tuple[float, float]:
        """Mean loss and accuracy over the epoch's batches."""
        self.network.train()
        total = right = seen = 0.0
        recipe = self.recipe
        batches = shuffled_batches(self.data, recipe.batch_size, rng, recipe.unlabelled_share)
        for step, chosen in enumerate(batches, start=1):
            log_mels, targets = augmented_batch(self.data, chosen, recipe, rng)
            labelled = int((chosen < len(self.data.clips)).sum())  # the others come after them
            loss, correct = self._step(step, log_mels, targets, labelled)
            total += loss * labelled
            right += correct
            seen += labelled
        return total / seen, right / seen

    def _step(self, number: int, log_mels: Tensor, targets: Tensor, labelled: int) -> tuple[float, float]:
        """One optimizer step on a batch: its mean loss, and how many of its first ``labelled`` were right."""
        columns = self.data.columns
        log_mels = log_mels.to(self.device, memory_format=torch.channels_last)
        targets = targets.to(self.device)
        with _bfloat16(self.network):
            logits = self.network(log_mels).float()
        # A network of several parts gives the logits of each, [parts, batch, outputs].
        by_part = logits if logits.ndim == 3 else logits[None]
        repeated = targets.repeat(len(by_part), 1)
        loss = training_loss(by_part.flatten(0, 1), repeated, columns, self.recipe, self.label_weights)
        if not torch.isfinite(loss):
            raise self._diverged(
                f"the loss became {loss.item()} in epoch {len(self.history) + 1}, step {number}"
            )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        if self.recipe.ema:
            self.averaged.update_parameters(self.network)
        predicted, truth = (x[:labelled, : columns.labels].argmax(1) for x in (by_part.mean(dim=0), targets))
        return loss.item(), (predicted == truth).sum().item()

    def _diverged(self, what: str) -> DivergedError:
        epoch = len(self.history)
        kept = f"the best network up to epoch {epoch} is kept" if epoch else "nothing is kept"
        return DivergedError(f"{what}; {kept}; a lower learning rate may help")

    def _is_better(self, validation: tuple[float, float, float]) -> bool:
        """By macro-F1, and among equals by loss: with a few hundred clips macro-F1 is often equal."""
        loss, _, macro_f1 = validation
        return all((macro_f1, -loss) > (row.val_macro_f1, -row.val_loss) for row in self.history)


def _evaluate(network: nn.Module, data: TrainingData) -> tuple[float, float, float]:
    """Of the validation clips: see ``figures_of_clips``."""
    logits = logits_from_network(network, data.windows, data.validation, data.spec)
    return figures_of_clips([rows[:, : data.classes] for rows in logits], data.targets[data.validation])


def _bfloat16(network: nn.Module) -> torch.autocast:
    """Autocast to bfloat16 where that is faster.

    On a CPU it is so where the hardware computes in it, but not for depthwise convolutions: PyTorch 2.14 has
    no fast ones in bfloat16, and MobileNetV3-Small takes 2.5 times as long.
    """
    device = next(network.parameters()).device.type
    if device == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # torch.cpu has no public test (2.14), and mkldnn's own is true for any AVX-512.
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        depthwise = any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in network.modules())
        supported = not depthwise and any(getattr(torch.cpu, name, lambda: False)() for name in names)
    return torch.autocast(device, torch.bfloat16, enabled=supported)


def write_state(state: dict[str, Any], path: Path) -> None:
    """Whole or not at all.

    Raises:
        OSError: it could not be written.
    """
    with whole_file(path) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # Torch's own, "unexpected pos", comes after what ended the writing: a full disk, a signal.
            if error.__context__ is None:
                raise
            raise error.__context__ from None


def read_state(path: Path, mmap: bool = False) -> dict[str, Any]:
    """What ``train`` wrote; with ``mmap`` tensors are read when they are used.

    Raises:
        MerError: it is damaged, or no state of a training.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        if state["history"] and state["key"] is not None:
            return state
    except Exception:  # of any type: a damaged file's bytes say anything
        pass
    raise MerError(f"{path} is damaged or not a state of mer-train; remove it, or overwrite the training")
