"""Gives a finished run its second output: is a song music, and is it like the training music?"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.data.cleaning import comparison_key
from ...engine.data.clip import Clip, held_out_clips
from ...engine.data.folders import audio_below
from ...engine.data.notes import Notes
from ...engine.errors import MerError, UsageError
from ...engine.files import write_whole
from ...engine.spec import ModelSpec
from ...engine.text.escape import text_from_path
from ..data.augment import spread_crops
from ..data.examples import Examples
from ..data.on_demand import OnDemand, chosen_of, joined
from ..data.spectrogram_cache import ClipSound, cache_home, cached_sounds
from ..data.splits import Split
from ..evaluate.metrics_report import card_from_spec, write_json
from ..evaluate.predictions import Predictions
from ..fit.evidence import (
    NO_SOUNDS,
    SURE_OF_CHANCE,
    FittedEvidence,
    Sounds,
    fit_evidence,
    least_confidence,
    sounds_that_are_generated,
)
from ..networks.checkpoint import (
    evidence_from_checkpoint,
    network_from_checkpoint,
    save_checkpoint,
    spec_from_checkpoint,
)
from .provenance import Job
from .run_folder import CARD, METRICS, checkpoint_of

_ENOUGH = 100  # held-out clips whose confidences say where the least sure begin


def add_evidence(
    folder: Path,
    examples: Examples,
    held_out: Predictions | None,
    non_music: Sequence[Path] = (),
    cache: Path | None = None,
    workers: int = 0,
    say: Callable[[str], None] = lambda line: None,
    unlabelled: Sounds = NO_SOUNDS,
) -> None:
    """Fits the evidence of a run's checkpoint, and writes it with its card and metrics again.

    A checkpoint that has some keeps it; that is said where there are recordings.

    Args:
        examples: of the run's data; clips that the network's own list says were held out are left out.
        held_out: of clips that the network, or those of its cross-validation, did not hear: of their
            confidences comes the one below which a label is unsure.
        non_music: folders of recordings that are no music, beside the sounds that are generated; files of
            one folder are a kind.
        cache: the folder of spectrograms; None is ``cache_home()``.
        workers: child processes that decode; 0 is one a core.
        say: is called with a line about how well it tells them apart.
        unlabelled: more music that the network learnt from: what is like it is music too.

    Raises:
        MerError: the checkpoint or a folder cannot be read, or no recording in the folders can be used.
    """
    path = checkpoint_of(folder)
    if evidence_from_checkpoint(path) is not None:
        _write_facts(folder, spec_from_checkpoint(path))  # a stop may have come after the checkpoint alone
        if non_music:
            say(
                f"evidence: {folder} is finished and keeps its own; recordings that are no music "
                "(--non-music) are heard where a training begins anew (--overwrite)"
            )
        return
    network, spec = network_from_checkpoint(path)
    test = {*held_out_clips(examples.readable, spec.provenance)}
    heard = [i for i, song in enumerate(examples.songs.tolist()) if song not in test]
    music = Sounds(
        joined(chosen_of(examples.windows, heard), unlabelled.windows),
        [*(examples.clips[i].group for i in heard), *unlabelled.groups],
    )
    others = sounds_that_are_generated(spec.audio, len(music.windows))
    if non_music:
        recordings = _recordings(non_music, spec, cache or cache_home(), workers)
        others = Sounds(joined(others.windows, recordings.windows), [*others.groups, *recordings.groups])
    confidence = round(SURE_OF_CHANCE / len(spec.labels), 4)
    if held_out and len(held_out.truth) >= _ENOUGH:
        confidence = least_confidence(held_out.by_song(spec.temperature).max(axis=1))
    fitted = fit_evidence(music, others, spec.audio, confidence)
    facts = _facts(fitted, len(music.windows), len(others.windows))
    provenance = {**spec.provenance, "evidence": facts}
    spec = dataclasses.replace(spec, evidence=fitted.spec, provenance=provenance)
    save_checkpoint(network, spec, path, fitted.network)
    _write_facts(folder, spec)
    least = min(fitted.caught, key=lambda kind: fitted.caught[kind])
    say(
        f"evidence: {facts['caught']:.1%} of {facts['sounds']} sounds that are no music, on average over "
        f"{len(fitted.caught)} kinds, are told from music, by networks that did not hear their kind (the "
        f"least: {least}, {fitted.caught[least]:.0%}); "
        f"{fitted.kept:.1%} of the music is kept"
    )


def _write_facts(folder: Path, spec: ModelSpec) -> None:
    """The card and the metrics with what the checkpoint says of its evidence, where the metrics lack it."""
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    facts = spec.provenance.get("evidence")
    if facts and metrics.get("evidence") != facts:
        write_whole(folder / CARD, card_from_spec(spec))
        write_json({**metrics, "evidence": facts}, folder / METRICS)


def more_music(examples: Examples, job: Job, splits: Sequence[Split]) -> Sounds:
    """A window of each clip without a label that the network learnt from."""
    if not job.teaching:
        return NO_SOUNDS
    music = job.teaching.music
    usable = range(len(music.clips)) if len(splits) > 1 else music.usable(examples, splits[0])
    decibels, audio = music.decibels, job.protocol.audio
    windows = OnDemand(lambda i=i: spread_crops(decibels[i], audio, 1) for i in usable)
    spelt = {comparison_key(clip.group): clip.group for clip in examples.clips}
    groups = (music.clips[i].group for i in usable)
    return Sounds(windows, [spelt.get(comparison_key(group), group) for group in groups])


def check_recordings(folders: Sequence[Path]) -> None:
    """Whether these are folders with audio below them: known before anything is trained.

    Raises:
        UsageError: one is none.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder of recordings")
        if not audio_below(folder, folder, Notes()):
            raise UsageError(f"no audio in {folder} can be used, for there is none")


def _recordings(folders: Sequence[Path], spec: ModelSpec, cache: Path, workers: int) -> Sounds:
    """The windows of all files below folders that labelling accepts; those of one folder are a group."""
    check_recordings(folders)
    files = [path for folder in folders for path in audio_below(folder, folder, Notes())]
    clips = [Clip(path, "", text_from_path(path.parent.name)) for path in files]
    windows = int(spec.provenance.get("recipe", {}).get("eval_windows", 3))
    sounds = cached_sounds(clips, spec.audio, windows, cache, workers)
    good = [(sound, clip) for sound, clip in zip(sounds, clips, strict=True) if isinstance(sound, ClipSound)]
    if not good:
        raise MerError(f"no audio in {', '.join(map(str, folders))} can be used")
    return Sounds(OnDemand(sound.windows for sound, _ in good), [clip.group for _, clip in good])


def _facts(fitted: FittedEvidence, clips: int, sounds: int) -> dict[str, Any]:
    return {
        "clips": clips,
        "sounds": sounds,
        "caught": round(float(np.mean(list(fitted.caught.values()))), 4),
        "caught_by_kind": fitted.caught,
        "kept": fitted.kept,
        "kept_degraded": fitted.kept_degraded,
    }
