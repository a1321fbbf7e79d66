"""One network, one split, one recipe: a loop that can be killed at any epoch and goes on the same."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from ...engine.arrays import Float32
from ...engine.data.metrics import accuracy_and_macro_f1
from ...engine.errors import MerError
from ...engine.files import whole_file
from ...engine.spec import AudioSpec
from ..data.augment import log_mel_crop, mixup, random_crop, spec_augment, spread_crops
from ..recipe import Recipe
from .optimizer import optimizer_from_recipe, running_average, schedule_from_recipe

_WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; the validation figures are of the averaged (EMA) weights.

    ``loss`` and ``accuracy`` are of training as it is, with its augmentations; those of validation
    are by clip. ``better`` says that no epoch before was as good.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float
    seconds: float
    better: bool = True


def train(
    network: nn.Module,
    clips: Sequence[Float32],
    targets: np.ndarray,
    training: np.ndarray,
    validation: np.ndarray,
    spec: AudioSpec,
    recipe: Recipe,
    state_file: Path | None = None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_better: Callable[[nn.Module, Epoch], None] = lambda network, epoch: None,
    key: str = "",
    tags: Float32 | None = None,
) -> tuple[nn.Module, list[Epoch]]:
    """Trains on ``clips[training]`` and returns the chosen epoch's averaged network, and the history.

    On CUDA where there is one; in bfloat16 where the processor has it. Parameters that do not
    require a gradient stay as they are.

    Args:
        clips: dB spectrograms ``[mels, frames]``, as the cache gives them.
        targets: a label's position for each clip.
        state_file: written after every epoch; if it is there, training goes on from it with the
            same result as without the interruption.
        on_better: called with the network that would be returned, whenever that is a new one.
        key: what a state file must have been made with.
        tags: 0 or 1 for each clip and tag, ``[clips, tags]``: targets of the outputs behind the labels',
            in binary cross-entropy, ``recipe.tag_weight`` to the labels' 1 (multitask learning, Caruana,
            1997). The returned network still has them.

    Raises:
        MerError: the loss is not finite (the state file still holds the epoch before), or the state
            file is of another training.
    """
    classes = int(targets.max()) + 1
    truth = np.eye(classes, dtype=np.float32)[targets]
    truth = truth if tags is None else np.concatenate([truth, tags], axis=1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    averaged = AveragedModel(network, avg_fn=running_average(recipe.ema), use_buffers=True)
    judged = averaged.module if recipe.ema else network
    steps = -(-len(training) * recipe.crops // recipe.batch_size)
    optimizer = optimizer_from_recipe(network, recipe)
    schedule = schedule_from_recipe(optimizer, recipe, steps * recipe.epochs)
    parts = {"network": network, "averaged": averaged, "optimizer": optimizer, "schedule": schedule}
    weight = _balance(targets[training], classes).to(device) if recipe.balance else None
    history: list[Epoch] = []
    best: dict[str, Tensor] = {}
    if state_file and state_file.exists():
        state = _read_state(state_file, key)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        history, best = [Epoch(**row) for row in json.loads(state["history"])], state["best"]

    for epoch in range(len(history), recipe.epochs):
        if recipe.patience and history and _since_better(history) >= recipe.patience:
            break
        began = perf_counter()
        # Seeded by epoch, not carried over, so that a resumed run draws the same numbers.
        rng = np.random.default_rng([recipe.seed, epoch])
        torch.manual_seed(int(rng.integers(2**62)))
        network.train()
        total = right = seen = 0.0
        for step, chosen in enumerate(_batches(training, recipe, rng)):
            images, wanted = _batch(clips, truth, chosen, spec, recipe, rng)
            images = images.to(device, memory_format=torch.channels_last)
            wanted = wanted.to(device)
            with bfloat16(device):
                logits = network(images).float()
            # A network of several parts gives each part's logits, [parts, batch, classes].
            answers = logits if logits.ndim == 3 else logits[None]
            loss = _loss(answers.flatten(0, 1), wanted.repeat(len(answers), 1), classes, recipe, weight)
            if not torch.isfinite(loss):
                kept = f"the best network up to epoch {epoch} is kept" if epoch else "nothing is kept"
                raise MerError(
                    f"the loss became {loss.item()} in epoch {epoch + 1}, step {step + 1}; {kept}; "
                    "a lower learning rate may help: --set learning_rate=..."
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if recipe.ema:
                averaged.update_parameters(network)
            total += loss.item() * len(chosen)
            said, true = answers.mean(dim=0)[:, :classes], wanted[:, :classes]
            right += (said.argmax(1) == true.argmax(1)).sum().item()
            seen += len(chosen)
        figures = _evaluate(judged, clips, targets, validation, spec, recipe.eval_windows, device)
        better = recipe.keep == "last" or not len(validation) or _is_better(figures, history)
        if better:
            best = {name: tensor.detach().clone() for name, tensor in judged.state_dict().items()}
        seconds = perf_counter() - began
        history.append(Epoch(epoch + 1, total / seen, right / seen, *figures, seconds, better))
        if state_file:
            rows = json.dumps([dataclasses.asdict(row) for row in history])
            state = {name: part.state_dict() for name, part in parts.items()}
            with whole_file(state_file) as file:
                torch.save({**state, "best": best, "history": rows, "key": key}, file)
        if better:
            on_better(judged, history[-1])
        on_epoch(history[-1])
    if best:
        judged.load_state_dict(best)
    return judged.eval(), history


@torch.inference_mode()
def logits_of(
    network: nn.Module,
    clips: Sequence[Float32],
    chosen: np.ndarray,
    spec: AudioSpec,
    windows: int,
    device: torch.device | None = None,
) -> list[Tensor]:
    """For each chosen clip the logits ``[windows, classes]`` of its evenly spread windows, float32."""
    network.eval()
    device = device or next(network.parameters()).device
    waiting: list[Float32] = []
    counts, found = [], []

    def run() -> None:
        images = torch.from_numpy(np.stack(waiting))[:, None]
        found.append(network(images.to(device, memory_format=torch.channels_last)).float().cpu())
        waiting.clear()

    for i in chosen:
        crops = spread_crops(clips[i], spec, windows)
        counts.append(len(crops))
        waiting.extend(crops)
        if len(waiting) >= _WINDOWS_AT_ONCE:
            run()
    if waiting:
        run()
    return list(torch.cat(found).split(counts)) if found else []


def bfloat16(device: torch.device) -> torch.autocast:
    """Autocast to bfloat16 where the hardware computes in it; elsewhere it would only be slower."""
    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # The public torch.cpu has no word for it (2.14); mkldnn's own test is true for any AVX-512.
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        has = any(getattr(torch.cpu, name, lambda: False)() for name in names)
    return torch.autocast(device.type, torch.bfloat16, enabled=has)


def _batches(training: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Iterator[np.ndarray]:
    order = np.concatenate([rng.permutation(training) for _ in range(recipe.crops)])
    for start in range(0, len(order), recipe.batch_size):
        chosen = order[start : start + recipe.batch_size]
        if len(chosen) > 1 or len(order) == 1:  # BatchNorm needs two
            yield chosen


def _batch(
    clips: Sequence[Float32],
    truth: Float32,
    chosen: np.ndarray,
    spec: AudioSpec,
    recipe: Recipe,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    if recipe.random_crops:
        jitter = (recipe.gain_db, recipe.stretch, recipe.pitch_mels, recipe.filter_db)
        crops = [random_crop(clips[i], spec, rng, *jitter) for i in chosen]
    else:
        crops = [log_mel_crop(clips[i], spec, 0) for i in chosen]
    images = torch.from_numpy(np.stack(crops))[:, None]
    images, wanted = mixup(images, torch.from_numpy(truth[chosen]), recipe.mixup, rng)
    return spec_augment(images, recipe.mask_mels, recipe.mask_frames), wanted


def _loss(outputs: Tensor, targets: Tensor, classes: int, recipe: Recipe, weight: Tensor | None) -> Tensor:
    logits, tags = outputs[:, :classes], outputs[:, classes:]
    wanted, carried = targets[:, :classes], targets[:, classes:]
    if recipe.loss == "bce":
        each = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(1)
    else:
        smoothing = recipe.label_smoothing
        each = functional.cross_entropy(logits, wanted, label_smoothing=smoothing, reduction="none")
    # A clip's weight, not cross_entropy's weight of a label: that would also weigh the smoothing.
    loss = (each * (wanted @ weight)).mean() if weight is not None else each.mean()
    if tags.shape[1]:
        loss = loss + recipe.tag_weight * functional.binary_cross_entropy_with_logits(tags, carried)
    return loss


def _evaluate(
    network: nn.Module,
    clips: Sequence[Float32],
    targets: np.ndarray,
    chosen: np.ndarray,
    spec: AudioSpec,
    windows: int,
    device: torch.device,
) -> tuple[float, float, float]:
    if not len(chosen):
        return float("nan"), float("nan"), float("nan")
    logits = logits_of(network, clips, chosen, spec, windows, device)
    classes = int(targets.max()) + 1
    probabilities = torch.stack([rows[:, :classes].softmax(1).mean(0) for rows in logits])
    wanted = torch.from_numpy(targets[chosen])
    loss = functional.nll_loss(probabilities.clamp_min(1e-12).log(), wanted).item()
    accuracy, macro_f1 = accuracy_and_macro_f1(targets[chosen], probabilities.argmax(1).numpy())
    return loss, accuracy, macro_f1


def _is_better(figures: tuple[float, float, float], history: Sequence[Epoch]) -> bool:
    """By macro-F1; a few hundred clips give many ties, which the loss decides."""
    loss, _, macro_f1 = figures
    return all((macro_f1, -loss) > (row.val_macro_f1, -row.val_loss) for row in history)


def _since_better(history: Sequence[Epoch]) -> int:
    return len(history) - max(row.epoch for row in history if row.better)


def _balance(targets: np.ndarray, classes: int) -> Tensor:
    """Weights that make every label count the same; 1 each where they are equally many."""
    counts = np.bincount(targets, minlength=classes)
    return torch.tensor(len(targets) / (classes * np.maximum(1, counts)), dtype=torch.float32)


def _read_state(path: Path, key: str) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError, OSError, ValueError) as error:
        raise MerError(f"{path} is not a state of mer-train: {str(error).splitlines()[0]}") from None
    if not isinstance(state, dict) or state.get("key") != key:
        raise MerError(f"{path} is of another training (other data, split, recipe or network); remove it")
    return state
