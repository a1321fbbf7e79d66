"""What a network learns before it is told any label: to hear in each window what a teacher hears in it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ...engine.arrays import Float32
from ...engine.data.clip import Clip
from ...engine.errors import MerError, UsageError
from ...engine.files import write_whole
from ...engine.spec import AudioSpec
from ...engine.spectrogram.log_mel import log_mel_from_decibels
from ...engine.spectrogram.presets import PRESETS
from ..data.augment import crop, floored, random_crop, spread_crops
from ..data.examples import Examples
from ..data.spectrogram_cache import ClipSound, cached_sounds
from ..data.splits import hash_of_lines
from ..embeddings.ears import Ears, ears_of
from ..embeddings.embeddings import embeddings_home, kept_array, read_array
from ..fit.optimizer import optimizer_from_recipe, running_average, schedule_from_recipe
from ..fit.trainer import DivergedError, read_state, write_state
from ..networks.backbones import build_backbone
from ..networks.trained import trained_network
from ..recipe import Recipe
from ..teachers.teaching import Teaching
from .provenance import Job

_VERSION = "1"
_EVERY_S = 1.0  # between the windows that the teacher hears
_MOST = 24  # of them in a clip
_DIRECTIONS = 128  # of what it hears that are learnt
_ROWS = 20_000  # windows that these directions are fitted to
_BATCH = 32
_AVERAGE = 0.999  # decay a step of the averaged weights
_PART = 500  # steps; after each the state is written
_OF_KEY = (
    *("pretrain", "optimizer", "learning_rate", "weight_decay", "schedule", "warmup", "seed"),
    *("gain_db", "pitch_mels", "filter_db", "highpass", "lowpass", "noise", "codec"),
)


@dataclass(frozen=True)
class _Music:
    """Clips ``[mels, frames]`` in dB, and of each the starts of windows and what is to be heard there."""

    decibels: Sequence[Float32]
    starts: Sequence[np.ndarray]
    wanted: Sequence[Float32]
    weights: Float32


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
    groups = {clip.group for clip in examples.clips}
    strangers = [i for i, touched in enumerate(teaching.music.touched) if touched.isdisjoint(groups)]
    if len(strangers) < 2:
        raise MerError("pretrain: too little music without labels that is by other artists than the labelled")
    # The level of a recording is nothing to learn.
    relative = PRESETS["audioset-relative"] if trained.backbone == "audioset" else None
    ears = ears_of(trained, relative, with_middle=True, with_hidden=True)
    clips = [teaching.music.clips[i] for i in strangers]
    fields = {name: getattr(recipe, name) for name in _OF_KEY}
    key = hash_of_lines(
        [_VERSION, model, json.dumps(fields), audio.fingerprint, ears.key, *(clip.id for clip in clips)]
    )
    target = cache / "pretrained" / f"{key[:32]}.safetensors"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        say(f"{model} learns from {ears.name}: {recipe.pretrain} steps, {len(clips)} clips without a label")
        music = _music(ears, audio, clips, [teaching.music.decibels[i] for i in strangers], cache, teaching)
        standard = _standardised(audio, music)
        state = target.with_suffix(".pt")
        network = _Pretraining(model, recipe, standard, music, state, key, say).run()
        write_whole(target, save({name: tensor.contiguous() for name, tensor in network.items()}))
        state.unlink(missing_ok=True)
    return target


def with_pretrained(job: Job, examples: Examples, cache: Path, say: Callable[[str], None]) -> Job:
    """Its network begins with ``pretrained_weights``, where the recipe says so."""
    recipe, teaching = job.protocol.recipe, job.teaching
    if not recipe.pretrain or not teaching:
        return job
    weights = pretrained_weights(job.model, recipe, job.protocol.audio, teaching, examples, cache, say)
    return dataclasses.replace(job, pretrained=weights)


def load_pretrained(network: nn.Module, weights: Path, heads: Sequence[str]) -> None:
    """Gives the network the weights of ``pretrained_weights``; its ``heads`` keep their own."""
    state = load_file(weights)
    own = network.state_dict()
    begins = tuple(f"{head}." for head in heads)
    network.load_state_dict({name: own[name] if name.startswith(begins) else state[name] for name in own})


def _starts(frames: int, audio: AudioSpec) -> np.ndarray:
    """Where windows of a clip begin, in its frames."""
    last = max(0, frames - audio.frames)
    step = _EVERY_S * audio.sample_rate / audio.hop_length
    return np.linspace(0, last, min(_MOST, 1 + int(last / step))).round().astype(np.intp)


def _music(
    ears: Ears,
    audio: AudioSpec,
    clips: Sequence[Clip],
    decibels: Sequence[Float32],
    cache: Path,
    teaching: Teaching,
) -> _Music:
    ready = teaching.progress(len(clips))
    sounds = cached_sounds(clips, ears.audio, 1, cache, teaching.workers, ready)
    starts = [_starts(spectrogram.shape[1], audio) for spectrogram in decibels]
    folder = (teaching.cache or embeddings_home()) / f"{ears.key[:16]}-{audio.fingerprint[:16]}"
    heard = teaching.progress(len(clips))
    features: list[Float32] = []
    for clip, sound, places in zip(clips, sounds, starts, strict=True):
        if isinstance(sound, MerError):
            raise MerError(f"the teacher {ears.name} cannot hear {clip.path}: {sound}")
        target = folder / f"{clip.id}.npy"
        known = read_array(target)
        if known is None or len(known) != len(places):
            known = kept_array(_heard(ears, sound, audio, places), target)
        features.append(known)
        heard(len(features))
    wanted, weights = _directions(features)
    return _Music(decibels, starts, wanted, weights)


def _heard(ears: Ears, sound: ClipSound, audio: AudioSpec, starts: np.ndarray) -> Float32:
    """The teacher's embeddings of the windows that the network hears, ``[windows, features]``."""
    spec, decibels = ears.audio, sound.decibels()
    second = spec.sample_rate / spec.hop_length
    frames = round(audio.window_s * second)
    count = max(1, round(audio.window_s / spec.window_s))
    places = np.minimum(
        (starts * (audio.hop_length / audio.sample_rate * second)).round(),
        max(0, decibels.shape[1] - frames),
    ).astype(int)
    windows = [spread_crops(crop(decibels, spec, int(place), frames), spec, count) for place in places]
    log_mels = [log_mel_from_decibels(window, spec) for group in windows for window in group]
    embedded = ears.embed(np.stack(log_mels)[:, None])
    ends = np.cumsum([len(group) for group in windows])
    return np.stack([part.mean(axis=0) for part in np.split(embedded, ends[:-1])])


def _directions(features: Sequence[Float32]) -> tuple[list[Float32], Float32]:
    """The main directions of embeddings, each with a deviation of 1, and how much each counts."""
    rows = np.concatenate(features) if sum(map(len, features)) <= _ROWS else _sample(features)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    scaled = (rows - mean) / deviation
    powers, directions = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    best = np.argsort(-powers)[: min(_DIRECTIONS, len(rows) - 1, len(powers))]
    lengths = np.sqrt(np.maximum(powers[best], 1e-6))
    to_wanted = directions[:, best] / lengths
    wanted = [((part - mean) / deviation @ to_wanted).astype(np.float32) for part in features]
    return wanted, (lengths / lengths.mean()).astype(np.float32)


def _sample(features: Sequence[Float32]) -> Float32:
    rng = np.random.default_rng(0)
    each = max(1, _ROWS // len(features))
    return np.concatenate([part[rng.permutation(len(part))[:each]] for part in features])


def _standardised(audio: AudioSpec, music: _Music) -> AudioSpec:
    """The spec with the mean and deviation of the music, unless it has its own: see ``standardised``."""
    neutral = dataclasses.replace(audio, mean=(0.0,), std=(1.0,))
    if audio != neutral:
        return audio
    first = (floored(crop(decibels, audio, 0), audio) for decibels in music.decibels)
    values = [log_mel_from_decibels(window, audio) for window in first]
    means = [float(np.mean(value, dtype=np.float64)) for value in values]
    squares = [float(np.mean(np.square(value, dtype=np.float64))) for value in values]
    mean = float(np.mean(means))
    deviation = max(float(np.mean(squares)) - mean**2, 1e-6) ** 0.5
    return dataclasses.replace(audio, mean=(mean,), std=(deviation,))


class _Pretraining:
    """The training, which can be killed at any time and goes on from its last state."""

    def __init__(
        self,
        model: str,
        recipe: Recipe,
        audio: AudioSpec,
        music: _Music,
        state: Path,
        key: str,
        say: Callable[[str], None],
    ) -> None:
        # The batch is twice the usual one, and so is the rate. Another tempo would be other music.
        self.recipe = dataclasses.replace(recipe, learning_rate=2 * recipe.learning_rate, stretch=0.0)
        self.audio, self.music, self.state, self.key, self.say = audio, music, state, key, say
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
        if self.state.exists():
            known = read_state(self.state)
            for name, part in parts.items():
                part.load_state_dict(known[name])
            done = json.loads(known["history"])[-1]
        while done < self.recipe.pretrain:
            begin, steps = perf_counter(), min(_PART, self.recipe.pretrain - done)
            error = self._steps(done, steps)
            done += steps
            states: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
            write_state({**states, "history": json.dumps([done]), "key": self.key}, self.state)
            seconds = perf_counter() - begin
            self.say(f"step {done}/{self.recipe.pretrain}  error {error:.3f}  {seconds:.1f} s")
        return {name: tensor.cpu() for name, tensor in self.averaged.module.state_dict().items()}

    def _steps(self, done: int, steps: int) -> float:
        """The mean error over so many steps; their draws depend on nothing but the seed and ``done``."""
        rng = np.random.default_rng([self.recipe.seed, done])
        torch.manual_seed(int(rng.integers(2**62)))
        total = 0.0
        for log_mels, wanted in self._batches(rng, steps):
            outputs = self.network(log_mels)
            by_part = outputs if outputs.ndim == 3 else outputs[None]  # see ``train``
            loss = ((by_part - wanted).square() * self.weights).mean()
            if not torch.isfinite(loss):
                raise DivergedError(f"pretrain: the error became {loss.item()}; lower the learning rate")
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            self.averaged.update_parameters(self.network)
            total += loss.item()
        return total / steps

    def _batches(self, rng: np.random.Generator, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Windows of clips drawn alike, changed as the recipe says, and what the teacher hears in them."""
        music, device = self.music, self.weights.device
        for _ in range(count):
            chosen = rng.integers(len(music.decibels), size=_BATCH)
            windows = [int(rng.integers(len(music.starts[i]))) for i in chosen]
            pairs = list(zip(chosen, windows, strict=True))
            crops = [
                random_crop(music.decibels[i], self.audio, rng, self.recipe, int(music.starts[i][window]))
                for i, window in pairs
            ]
            log_mels = torch.from_numpy(np.stack(crops))[:, None]
            wanted = torch.from_numpy(np.stack([music.wanted[i][window] for i, window in pairs]))
            yield log_mels.to(device, memory_format=torch.channels_last), wanted.to(device)
