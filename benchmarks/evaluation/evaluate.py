"""Labels the clips of a data set as mer-label does, with one or more models, and scores the labels."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.artifact import Artifact, open_artifact
from ...engine.audio.windows import WindowCount
from ...engine.data.clip import HEARD_KEY, HELD_OUT_KEY, Clip, LabelledAudio, heard_clips, unheard_clips
from ...engine.data.labelled_audio import labelled_audio
from ...engine.errors import MerError, UsageError
from ...engine.labelling.choose import Device, open_backend
from ...engine.labelling.file_windows import WindowOptions
from ...engine.labelling.song_label import SongLabel
from ...engine.runtimes import RUNTIMES
from ...engine.text.escape import text_from_path
from .answers import Answers, answers_from_labels
from .common_labels import common_labels, pairs_from_texts
from .scores import Difference, Scores, difference_of, scores_from_answers

_SAID_TIMES, _SAID_AFTER = 10, 50  # a model's progress: how often, and after how many clips at the soonest


@dataclass(frozen=True)
class Options:
    """How clips are read and labelled; all but the last two as in mer-label.

    ``renamed`` holds texts ``LABEL=OTHER``: see ``pairs_from_texts``. ``unheard`` leaves out the clips that a
    model was trained on, and what shares a group with them.
    ``worst`` mistakes are named for each model.
    """

    layout: str = "auto"
    group_by: str | None = None
    renamed: Sequence[str] = ()
    windows: WindowCount = 3
    runtime: str | None = None
    device: Device = "auto"
    workers: int = 0
    unheard: bool = False
    worst: int = 10


@dataclass(frozen=True)
class ModelResult:
    """A model's scores; ``difference`` is to the first model, None for that one.

    ``heard`` counts the clips that it was trained on; None where it does not say. ``note`` says what that
    means for the figures, "" where they stand as they are.
    """

    name: str
    sha256: str
    runtime: str
    labels: tuple[str, ...]
    heard: int | None
    note: str
    scores: Scores
    difference: Difference | None = None

    def to_mapping(self) -> dict[str, Any]:
        """Scores and facts side by side, ready for JSON."""
        facts = dataclasses.asdict(self)
        return {**facts.pop("scores"), **facts}


@dataclass(frozen=True)
class Evaluation:
    """Models on the same clips.

    ``labels`` counts the clips of each label, ``left_out`` those that were not scored; ``notes`` say what of
    the data was read otherwise than it stands.
    """

    data: str
    clips: int
    groups: int
    grouped_by: str
    labels: dict[str, int]
    left_out: int
    windows: WindowCount
    notes: tuple[str, ...]
    models: tuple[ModelResult, ...]

    def to_mapping(self) -> dict[str, Any]:
        """Ready for JSON: the first model's figures beside the facts, the others' under ``others``."""
        facts = dataclasses.asdict(dataclasses.replace(self, models=()))
        del facts["models"]
        first, *others = (model.to_mapping() for model in self.models)
        facts["clips_by_label"] = facts.pop("labels")
        return {**first, **facts, "others": others}


def evaluate(
    models: Sequence[str], data: Path, options: Options, say: Callable[[str], None] = lambda line: None
) -> Evaluation:
    """Scores models on labelled audio.

    Args:
        models: names or files, with ``@RUNTIME`` behind them if wished.
        say: gets lines on what was read otherwise than it stands, on what was heard before, and on progress.

    Raises:
        UsageError: an unknown model, runtime, layout or column; a rename of no label.
        LabelsDifferError: see ``common_labels``.
        MerError: data that cannot be read, or of which nothing is left.
    """
    opened = [_open(model, options.runtime) for model in models]
    names = _names(models, [artifact for artifact, _ in opened])
    labelled = labelled_audio(data, options.layout, group_by=options.group_by)
    for line in labelled.notes:
        say(line)
    counts = Counter(clip.label for clip in labelled.clips)
    specs = {name: artifact.spec for name, (artifact, _) in zip(names, opened, strict=True)}
    said = {name: spec.labels for name, spec in specs.items()}
    known = [*counts, *(label for labels in said.values() for label in labels)]
    common = common_labels(said, counts, pairs_from_texts(options.renamed, known))
    new = range(len(labelled.clips))
    if options.unheard:
        new = _unheard(labelled.clips, {name: spec.provenance for name, spec in specs.items()})
    clips = [clip for clip in map(labelled.clips.__getitem__, new) if common.of_data(clip.label) is not None]
    if not clips:
        raise MerError("of the clips that are new to the models none has a label that is scored")
    truth = np.asarray([common.of_data(clip.label) for clip in clips], np.intp)
    groups, paths = [clip.group for clip in clips], [text_from_path(str(clip.path)) for clip in clips]
    results: list[ModelResult] = []
    first: Answers | None = None
    for name, (artifact, runtime) in zip(names, opened, strict=True):
        heard, note = _hearing(clips, artifact, labelled)
        if note:
            say(f"{name}: {note}")
        used, songs = _labels(name, artifact, runtime, clips, options, say)
        answers = answers_from_labels(songs, artifact.spec.labels, common)
        scores = scores_from_answers(answers, truth, common.names, groups, paths, options.worst)
        difference = None if first is None else difference_of(first, answers, truth, groups)
        first = first or answers
        results.append(
            ModelResult(name, artifact.sha256, used, artifact.spec.labels, heard, note, scores, difference)
        )
    by_label = Counter(common.names[place] for place in truth.tolist())
    return Evaluation(
        text_from_path(data.name or str(data)),
        len(clips),
        len(set(groups)),
        labelled.grouped_by,
        {name: by_label[name] for name in common.names if by_label[name]},
        len(labelled.clips) - len(clips),
        options.windows,
        labelled.notes,
        tuple(results),
    )


def _open(model: str, runtime: str | None) -> tuple[Artifact, str | None]:
    name, at, asked = model.rpartition("@")
    if not at or os.path.exists(model):
        return open_artifact(model), runtime
    if asked not in RUNTIMES:
        raise UsageError(f"{model}: unknown runtime {asked!r}; there are: {', '.join(RUNTIMES)}")
    return open_artifact(name), asked


def _names(models: Sequence[str], artifacts: Sequence[Artifact]) -> list[str]:
    """What models are called: as the files are, or as they were asked for where that is not clear.

    Raises:
        UsageError: one model twice.
    """
    if repeated := [model for model, count in Counter(models).items() if count > 1]:
        raise UsageError(f"{repeated[0]} is named twice")
    stems = Counter(artifact.name for artifact in artifacts)
    return [
        artifact.name if stems[artifact.name] == 1 else text_from_path(model)
        for model, artifact in zip(models, artifacts, strict=True)
    ]


def _labels(
    name: str,
    artifact: Artifact,
    runtime: str | None,
    clips: Sequence[Clip],
    options: Options,
    say: Callable[[str], None],
) -> tuple[str, list[SongLabel]]:
    """The runtime, and what mer-label says of each clip."""
    windows = WindowOptions(artifact.spec.audio, options.windows)
    songs: list[SongLabel] = []
    step = max(_SAID_AFTER, len(clips) // _SAID_TIMES)
    with open_backend(artifact, runtime, options.device, options.workers) as backend:
        for song in backend.label_files([str(clip.path) for clip in clips], artifact, windows):
            songs.append(song)
            if song.error:
                say(f"{name}: no label for {text_from_path(song.path)}: {song.error}")
            if len(songs) % step == 0 or len(songs) == len(clips):
                say(f"{name}: {len(songs)} of {len(clips)} clips")
        return backend.name, songs


def _hearing(clips: Sequence[Clip], artifact: Artifact, data: LabelledAudio) -> tuple[int | None, str]:
    """How many of the clips that are scored a model was trained on, and what that means for its figures."""
    provenance = artifact.spec.provenance
    positions = heard_clips(data.clips, provenance)
    if positions is None:
        held_out = len(unheard_clips(clips, provenance)) if HELD_OUT_KEY in provenance else 0
        if held_out == len(clips):
            return 0, ""
        if held_out:
            return None, (
                f"warning: it held out {held_out} of these {len(clips)} clips, and may have been trained on "
                "the others"
            )
        return None, f"it does not say which clips it was trained on ({HEARD_KEY}): perhaps on these"
    groups = {data.clips[i].group for i in positions}
    heard = len({data.clips[i].path for i in positions} & {clip.path for clip in clips})
    near = sum(clip.group in groups for clip in clips) - heard
    of_these = f"of these {len(clips)} clips"
    on = [f"{heard} {of_these}"] if heard else []
    if near:
        on.append(f"other clips of the same {data.grouped_by} as {near} {'more' if heard else of_these}")
    notes: list[str] = []
    if on:
        notes.append(
            f"warning: it was trained on {', and on '.join(on)}: how right it is on them says little of "
            "clips that are new to it"
        )
    if count := _without_labels(clips, provenance):
        notes.append(f"it heard {count} {of_these} without their labels, as music")
    return heard, "; ".join(notes)


def _without_labels(clips: Sequence[Clip], provenance: Mapping[str, Any]) -> int:
    """How many clips a model heard as music alone."""
    as_music = heard_clips(clips, {HEARD_KEY: provenance.get("unlabelled_clips")}) or set()
    return len(as_music - (heard_clips(clips, provenance) or set()))


def _unheard(clips: Sequence[Clip], provenances: Mapping[str, Mapping[str, Any]]) -> list[int]:
    """Positions of the clips that are new to all models.

    Raises:
        MerError: a model does not say what it heard, or has heard something of every group.
    """
    new = set(range(len(clips)))
    for name, provenance in provenances.items():
        unheard = unheard_clips(clips, provenance)
        if not unheard:
            why = (
                "was trained on clips of every group"
                if HEARD_KEY in provenance
                else "does not say what it heard"
            )
            raise MerError(f"{name} {why}: no clip is known to be new to it")
        new &= set(unheard)
    if not new:
        raise MerError("no clip is new to all models")
    return sorted(new)
