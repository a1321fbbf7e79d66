"""What a network learns before it is told any label: to hear in each window what a teacher hears in it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ...engine.errors import MerError, UsageError, os_errors_say
from ...engine.files import write_whole
from ...engine.spec import AudioSpec
from ...engine.spectrogram.presets import PRESETS
from ..data.augment import random_crop
from ..data.examples import Examples
from ..data.on_demand import chosen_of
from ..data.spectrogram_cache import cache_home
from ..data.splits import hash_of_lines
from ..embeddings.ears import ears_of
from ..fit.optimizer import optimizer_from_recipe, running_average, schedule_from_recipe
from ..fit.trainer import DivergedError, read_state, write_state
from ..names import name_of
from ..networks.backbones import build_backbone
from ..networks.trained import trained_network
from ..recipe import Recipe
from ..teachers.teaching import Teaching
from .provenance import Job
from .taught_windows import TaughtWindows, taught_windows

_VERSION = "1"  # of how the weights are learnt
_BATCH = 32
_AVERAGE = 0.999  # decay a step of the averaged weights
_PART = 500  # steps; after each the state is written
_OF_KEY = (
    *("pretrain", "optimizer", "learning_rate", "weight_decay", "schedule", "warmup", "seed"),
    *("gain_db", "pitch_mels", "filter_db", "highpass", "lowpass", "noise", "codec"),
)


def pretrained_weights(
    model: str,
    recipe: Recipe,
    audio: AudioSpec,
    teaching: Teaching,
    examples: Examples,
    cache: Path,
    say: Callable[[str], None],
) -> Path:
    """A safetensors file in the cache with a network's weights, all but those of its head.

    It hears the clips without a label that have no artist, group or recording in common with any labelled
    one, so the same weights begin every fold. A window's target is the teacher's embedding of the same window
    (consistent teaching, Beyer et al., 2022), by its main directions, each weighted by its deviation. It is
    the first teacher's. An interrupted training goes on from its last state, with the same result.

    Args:
        audio: the network's.
        say: told what is computed, in a line.

    Raises:
        UsageError: the teacher was trained here, so what it knows differs between folds.
        MerError: no such clips; the loss is not finite; or the cache cannot be written.
    """
    trained = trained_network(teaching.sources[0], say)
    if trained.labels:
        raise UsageError(f"pretrain: {teaching.sources[0]} was taught labels: name a published network first")
    heard = teaching.music.strangers(examples)
    if len(heard) < 2:
        raise MerError(
            "pretrain: fewer than two clips without a label share no artist, group or recording with a "
            "labelled one"
        )
    # The level of a recording is nothing to learn.
    relative = PRESETS["audioset-relative"] if trained.backbone == "audioset" else None
    ears = ears_of(trained, relative, with_middle=True, with_hidden=True)
    clips = [teaching.music.clips[i] for i in heard]
    fields = {name: getattr(recipe, name) for name in _OF_KEY}
    key = hash_of_lines(
        [_VERSION, model, json.dumps(fields), audio.fingerprint, ears.key, *(clip.id for clip in clips)]
    )
    target = cache / "pretrained" / f"{key[:32]}.safetensors"
    if not _is_whole(target):
        with os_errors_say(f"the cache {target.parent} cannot be written"):
            target.parent.mkdir(parents=True, exist_ok=True)
            what = f"{recipe.pretrain} steps, {len(clips)} clips without a label"
            say(f"{model} learns from {ears.name}: {what}")
            decibels = chosen_of(teaching.music.decibels, heard)
            music = taught_windows(ears, audio, clips, decibels, cache, teaching)
            state = target.with_suffix(".pt")
            training = _Pretraining(model, recipe, music, state, key, say)
            write_whole(target, save({name: tensor.contiguous() for name, tensor in training.run().items()}))
            state.unlink(missing_ok=True)
    return target


def pretraining_of(job: Job, examples: Examples, say: Callable[[str], None]) -> Path | None:
    """The job's ``pretrained_weights``; None where its recipe has none."""
    recipe, teaching = job.protocol.recipe, job.teaching
    if not recipe.pretrain or not teaching:
        return None
    cache = job.cache.parent if job.cache else cache_home()  # embeddings lie in the folder of spectrograms
    return pretrained_weights(job.model, recipe, job.protocol.audio, teaching, examples, cache, say)


def pretraining_facts(job: Job, examples: Examples) -> dict[str, Any]:
    """How the job's network learns before all labels, for provenance; empty where it does not."""
    recipe, teaching = job.protocol.recipe, job.teaching
    if not recipe.pretrain or not teaching:
        return {}
    clips = [teaching.music.clips[i] for i in teaching.music.strangers(examples)]
    said = {"teacher": name_of(teaching.sources[0]), "steps": recipe.pretrain, "clips": len(clips)}
    return {"pretrained": said | {"sha256": hash_of_lines([clip.id for clip in clips])}}


def _is_whole(weights: Path) -> bool:
    """Whether the file is there and undamaged."""
    try:
        with safe_open(weights, "pt"):
            return True
    except (OSError, SafetensorError):
        return False


def load_pretrained(network: nn.Module, weights: Path, heads: Sequence[str]) -> None:
    """Gives the network the weights of ``pretrained_weights``; its ``heads`` keep their own."""
    state = load_file(weights)
    own = network.state_dict()
    begins = tuple(f"{head}." for head in heads)
    network.load_state_dict({name: own[name] if name.startswith(begins) else state[name] for name in own})


class _Pretraining:
    """The training, which can be killed at any time and goes on from its last state."""

    def __init__(
        self,
        model: str,
        recipe: Recipe,
        music: TaughtWindows,
        state: Path,
        key: str,
        say: Callable[[str], None],
    ) -> None:
        # The batch is twice the usual one, and so is the rate. Another tempo would be other music.
        self.recipe = dataclasses.replace(recipe, learning_rate=2 * recipe.learning_rate, stretch=0.0)
        self.music, self.state, self.key, self.say = music, state, key, say
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(recipe.seed)
        network = build_backbone(model, len(music.weights))
        self.network = network.to(device, memory_format=torch.channels_last).train()  # pyright: ignore
        self.averaged = AveragedModel(self.network, avg_fn=running_average(_AVERAGE), use_buffers=True)
        self.optimizer = optimizer_from_recipe(self.network, self.recipe)
        self.schedule = schedule_from_recipe(self.optimizer, self.recipe, recipe.pretrain)
        self.weights = torch.from_numpy(music.weights).to(device)

    def run(self) -> dict[str, Tensor]:
        """The averaged weights after all steps."""
        done = 0
        parts = {name: getattr(self, name) for name in ("network", "averaged", "optimizer", "schedule")}
        with suppress(MerError):  # there is none, or it is damaged: it begins anew
            known = read_state(self.state)
            for name, part in parts.items():
                part.load_state_dict(known[name])
            done = json.loads(known["history"])[-1]
        while done < self.recipe.pretrain:
            begin, steps = perf_counter(), min(_PART, self.recipe.pretrain - done)
            loss = self._steps(done, steps)
            done += steps
            states: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
            write_state({**states, "history": json.dumps([done]), "key": self.key}, self.state)
            seconds = perf_counter() - begin
            self.say(f"step {done}/{self.recipe.pretrain}  loss {loss:.3f}  {seconds:.1f} s")
        return {name: tensor.cpu() for name, tensor in self.averaged.module.state_dict().items()}

    def _steps(self, done: int, steps: int) -> float:
        """The mean loss over so many steps; their draws depend on nothing but the seed and ``done``."""
        rng = np.random.default_rng([self.recipe.seed, done])
        torch.manual_seed(int(rng.integers(2**62)))
        total = 0.0
        for log_mels, wanted in self._batches(rng, steps):
            outputs = self.network(log_mels)
            by_part = outputs if outputs.ndim == 3 else outputs[None]  # see ``train``
            loss = ((by_part - wanted).square() * self.weights).mean()
            if not torch.isfinite(loss):
                raise DivergedError(f"pretrain: the loss became {loss.item()}; lower the learning rate")
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            self.averaged.update_parameters(self.network)
            total += loss.item()
        for name, tensor in self.averaged.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise DivergedError(
                    f"pretrain: {name} has values that are not finite; lower the learning rate"
                )
        return total / steps

    def _batches(self, rng: np.random.Generator, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Windows of clips drawn alike, changed as the recipe says, and what the teacher hears in them."""
        music, device = self.music, self.weights.device
        for _ in range(count):
            chosen = rng.integers(len(music.decibels), size=_BATCH)
            windows = [int(rng.integers(len(music.starts[i]))) for i in chosen]
            pairs = list(zip(chosen, windows, strict=True))
            crops = [
                random_crop(music.decibels[i], music.audio, rng, self.recipe, int(music.starts[i][window]))
                for i, window in pairs
            ]
            log_mels = torch.from_numpy(np.stack(crops))[:, None]
            wanted = torch.from_numpy(np.stack([music.wanted[i][window] for i, window in pairs]))
            yield log_mels.to(device, memory_format=torch.channels_last), wanted.to(device)
