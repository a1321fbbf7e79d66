"""The work of one ``mer-train`` command: every network on every split, and a summary of each."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ...engine.backbone_names import backbone_from_name
from ...engine.data.cleaning import labels_from_list, quoted_label
from ...engine.data.clip import heard_clips
from ...engine.data.labelled_audio import Clip, LabelledAudio, labelled_audio
from ...engine.errors import MerError
from ...engine.spec import AudioSpec
from ..data.examples import Examples, examples_from_audio
from ..data.sides import copies_in_words, two_labels
from ..data.spectrogram_cache import cache_home, cached_sounds
from ..data.splits import Split, can_be_given, held_out_part, splits_from_protocol
from ..evaluate.figures import curves_png
from ..names import name_of
from ..networks.backbones import PAPER_BACKBONES
from ..recipe import SplitKind
from ..teachers.teaching import Teaching
from ..teachers.unlabelled import apart_from
from .announcements import (
    announcement,
    note_on_the_band,
    note_on_the_labels,
    note_on_the_temperature,
    say_gaps,
    summary,
)
from .crossvalidation import Training, cross_validate, train_on_everything
from .evidence_of_run import add_evidence, more_music
from .export_and_score import export_and_score
from .observer import NoObserver, Observer
from .plan_check import check_session, check_words
from .provenance import Job, only_new
from .run_folder import FinishedRun, prepare_folder_of_runs, refuse_held, remove_runs, run_from_folder
from .settings import Session
from .split_kinds import kinds_of_split, with_possible_splits
from .train_run import train_split


def models_from_names(names: Sequence[str]) -> tuple[str, ...]:
    """Canonical names of networks, each once; "all" is the papers' nine.

    Raises:
        UsageError: an unknown name.
    """
    models: list[str] = []
    for name in names:
        models += PAPER_BACKBONES if name == "all" else [backbone_from_name(name)]
    return tuple(dict.fromkeys(models))


def read_data(root: Path, layout: str, labels: str | None, group_by: str | None = None) -> LabelledAudio:
    """Labelled audio; ``labels`` (see ``labels_from_list``) gives their order, otherwise the layout does.

    Args:
        group_by: the column of the data's CSV file that says what must stay on one side of a split.

    Raises:
        UsageError, MerError: see ``labelled_audio``.
    """
    order = None if labels is None else labels_from_list(labels)
    return labelled_audio(root, layout, order, group_by)


def read_examples(session: Session, observer: Observer) -> dict[str, Examples]:
    """The session's clips as each of its networks hears them, through the cache; names those refused.

    Networks that hear the same share the examples.

    Raises:
        UsageError: see ``protocol_for``.
        MerError: see ``examples_from_audio``.
    """
    protocols = {model: session.protocol_of(model) for model in session.models}
    heard = {model: (protocol.audio, protocol.recipe.eval_windows) for model, protocol in protocols.items()}
    by_sound = {sound: _examples(session, *sound, observer) for sound in dict.fromkeys(heard.values())}
    return {model: by_sound[sound] for model, sound in heard.items()}


def _examples(session: Session, audio: AudioSpec, windows: int, observer: Observer) -> Examples:
    examples = examples_from_audio(
        session.data,
        audio,
        session.cache or cache_home(),
        windows,
        session.protocol.sub_clips,
        session.workers,
        observer.cached(len(session.data.clips)),
    )
    for path, reason in examples.skipped:
        observer.say(f"skipped {path}: {reason}")
    if examples.skipped:
        left, used = len(examples.skipped), examples.readable
        observer.say(
            f"{left} of {len(session.data.clips)} clips are left out, since labelling refuses them; "
            f"{len(used)} are used: {_counts(used, examples.labels)}"
        )
    if copies := copies_in_words(examples.readable, examples.copies):
        observer.say(f"{copies}: one recording")
    if note := note_on_the_band(audio, examples):
        observer.say(note)
    for clips in two_labels(examples)[:3]:
        observer.say(f"one recording under two labels: {', '.join(clips)}")
    return examples


def read_sounds(
    session: Session, observer: Observer
) -> tuple[dict[str, Examples], dict[str, Teaching | None]]:
    """What each network hears: its examples, and its teachers with the music without labels.

    Raises:
        UsageError, MerError: see ``read_examples``, ``unlabelled_clips`` and ``labelled_audio``.
    """
    examples = read_examples(session, observer)
    if not (session.teachers or session.unlabelled or session.second):
        return examples, dict.fromkeys(session.models)
    cache = session.cache or cache_home()
    embeddings = session.cache and session.cache / "embeddings"
    by_audio: dict[AudioSpec, Teaching] = {}
    (music, _), words = session.music, session.words
    for model in session.models:
        audio, progress = session.protocol_of(model).audio, observer.cached
        if audio in by_audio:
            continue
        ready = progress(len(music)) if music else lambda count: None
        sounds = cached_sounds(music, audio, 1, cache, session.workers, ready)
        unlabelled, note = apart_from(examples[model], session.data.clips, music, sounds, audio)
        name = ", ".join(name_of(source.resolve()) for source in session.sources)
        observer.say(f"teachers: {', '.join(session.teachers) or 'none'}{note}")
        by_audio[audio] = Teaching(
            session.teachers, unlabelled, name, embeddings, session.workers, words, observer.say, progress
        )
    return examples, {model: by_audio[session.protocol_of(model).audio] for model in session.models}


def begin(session: Session, observer: Observer) -> Session:
    """Refuses what can be refused before a clip is heard, and says what is known by then.

    After that, with the mode "overwrite", the runs are removed that lie where this session's go: a stop from
    then on leaves nothing but what --resume goes on with.

    Returns:
        The session; its mode is "fresh" where it was "overwrite".

    Raises:
        UsageError, MerError: see ``check_session``, ``Session.music``, ``check_words`` and ``refuse_held``.
    """
    overwrite = session.mode == "overwrite"
    begun = dataclasses.replace(session, mode="fresh") if overwrite else session
    check_session(begun, observer)
    _, notes = begun.music
    check_words(begun)
    _say_data(begun, observer)
    for note in notes:
        observer.say(note)
    for folder, model in {session.out: "", **session.folders}.items():
        if overwrite:
            remove_runs(folder, model)
        else:
            refuse_held(folder, session.mode)
    return begun


def _say_data(session: Session, observer: Observer) -> None:
    data = session.data
    for note in data.notes:
        observer.say(note)
    counts = _counts(data.clips, data.labels)
    observer.say(f"{session.name}: {len(data.clips)} clips, {len(data.labels)} labels: {counts}")
    if note := note_on_the_labels(data.labels):
        observer.say(note)
    if "given" not in kinds_of_split(session) and can_be_given(data.clips):
        observer.say("the split that the data comes with is not used")
    elif any(clip.part for clip in data.clips) and not can_be_given(data.clips):
        observer.say(
            "the split that the data comes with is not used: it does not say both what to train on and what "
            "to test"
        )


def run_session(session: Session, observer: Observer) -> tuple[list[FinishedRun], int]:
    """Trains, tests and exports every network on every split.

    Returns:
        The runs, and how many clips could not be read.

    Raises:
        UsageError, MerError: see ``begin`` and ``train_split``.
    """
    session, protocol = begin(session, observer), session.protocol
    examples, teaching = read_sounds(session, observer)
    session = with_possible_splits(session, examples, observer)
    if protocol.ours:
        observer.say(f"{protocol.name}: ours, since the paper leaves it open: {protocol.ours}")
    if protocol.weights == "none" and protocol.recipe.layers == "head":
        observer.say(
            "only the head is trained, over random weights that stay so; layers=all trains everything"
        )
    if len(session.models) > 1 or len(session.splits) > 1:
        prepare_folder_of_runs(session.out, session.mode)
    jobs = [session.job(model, session.protocol_of(model), teaching[model]) for model in session.models]
    by_kind = {
        kind: [_train_one(session, examples[job.model], job, kind, observer) for job in jobs]
        for kind in kinds_of_split(session)
    }
    if len(session.models) > 1 and not session.folds:
        for kind, runs in by_kind.items():
            histories = {run.metrics["model"]: run.history for run in runs}
            held_out = held_out_part(runs[0].metrics["split"]["validation"])
            curves_png(histories, session.out / f"curves-{kind}.png", held_out)
    if len(by_kind) == 2:
        say_gaps(by_kind["random"], by_kind["grouped"], observer)
    runs = [run for runs in by_kind.values() for run in runs]
    return runs, max(len(of_model.skipped) for of_model in examples.values())


def _train_one(
    session: Session, examples: Examples, job: Job, kind: SplitKind, observer: Observer
) -> FinishedRun:
    """One network on one kind of split, exported where the session says so."""
    model, protocol = job.model, job.protocol
    folder = session.folder(model, kind)
    splits = splits_from_protocol(examples.clips, protocol, kind, session.folds, examples.recordings)
    observer.say(announcement(examples, splits, protocol, model))
    _say_heard(session, examples, splits, observer)
    if session.folds:
        trainings = _trainings(session, examples, job, splits, kind)
        run = cross_validate(trainings, folder, session.mode, observer)
        folder = folder / "final"
        if session.final:
            without_validation = dataclasses.replace(protocol, validation_share=0.0)
            job = dataclasses.replace(job, protocol=without_validation)
            train_on_everything(job, examples, run, folder, session.mode, observer)
    else:
        run = train_split(job, examples, splits[0], folder, session.mode, observer)
    observer.say(summary(run))
    if note := note_on_the_temperature(run.metrics["temperature"]):
        observer.say(note)
    if not session.folds or session.final:
        others = session.non_music, session.cache, session.workers
        held_out = run.predictions and only_new(job, examples, splits, run.predictions)
        add_evidence(folder, examples, held_out, *others, observer.say, more_music(examples, job, splits))
        run = run if session.folds else run_from_folder(folder)  # whose metrics name the evidence
    if session.export and (not session.folds or session.final):
        for line in export_and_score(folder, session.data, session.workers):
            observer.say(line)
    return run


def _trainings(
    session: Session, examples: Examples, job: Job, splits: Sequence[Split], kind: SplitKind
) -> list[Training]:
    """The folds' trainings. Where each has a plan of its own, it hears the clips as that plan's network does.

    Raises:
        MerError: by the plans, other clips are tested.
    """
    heard = {session.plan: (examples, splits)}
    trainings = []
    for number, own in enumerate(session.of_folds or (session,) * len(splits)):
        if own.plan not in heard:
            others, protocol = read_examples(own, NoObserver())[job.model], own.protocol_of(job.model)
            rows = splits_from_protocol(others.clips, protocol, kind, session.folds, others.recordings)
            heard[own.plan] = others, rows
        clips, rows = heard[own.plan]
        own_job = own.job(job.model, own.protocol_of(job.model), job.teaching)
        trainings.append(Training(own_job, clips, rows[number]))
    tested = [training.examples.clips[i].id for training in trainings for i in training.split.test]
    if len(set(tested)) < len({clip.id for clip in examples.clips}):
        raise MerError("the folds' plans hear other clips as copies of each other: name one plan for all")
    return trainings


def _say_heard(session: Session, examples: Examples, splits: Sequence[Split], observer: Observer) -> None:
    """How many of the clips to test on the weights have heard before."""
    tested = {int(i) for split in splits for i in split.test}
    heard = heard_clips(examples.clips, session.begun.provenance) if session.begun else None
    if heard and tested & heard:
        weights = name_of(session.protocol.weights)
        observer.say(
            f"{weights} was trained on {len(tested & heard)} of the {len(tested)} clips that test it here: "
            "the figures say nothing of new music"
        )


def _counts(clips: Sequence[Clip], labels: Sequence[str]) -> str:
    counts = Counter(clip.label for clip in clips)
    return ", ".join(f"{quoted_label(label)} {counts[label]}" for label in labels)
