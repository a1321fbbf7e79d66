"""What one ``mer-train`` command does: data, networks, splits, and what is said of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...engine.data.labelled_audio import LabelledAudio, labelled_audio
from ...engine.errors import UsageError
from ..data.examples import Examples, examples_from_audio
from ..data.spectrogram_cache import cache_home
from ..data.splits import can_be_grouped
from ..evaluate.figures import curves_png
from ..networks.backbones import PAPER_BACKBONES, network_name
from ..progress import View
from ..recipe import Protocol, protocol_for
from .crossvalidation import cross_validate, train_on_everything
from .export_and_score import delivered
from .run_folder import CHECKPOINT, Mode, Outcome
from .train_run import Job, splits_of, train_split


@dataclass(frozen=True)
class Session:
    """Every choice of a command; ``splits`` are "grouped", "random" or both, in the order of work.

    ``given`` names the recipe's fields that were asked for, so that no network gets others.
    """

    data: LabelledAudio
    name: str
    models: tuple[str, ...]
    protocol: Protocol
    out: Path
    splits: tuple[str, ...] = ()
    folds: int = 0
    final: bool = False
    mode: Mode = "fresh"
    cache: Path | None = None
    workers: int = 0
    export: bool = True
    licence: str | None = None
    given: frozenset[str] = frozenset()


def models_from_names(names: Sequence[str]) -> tuple[str, ...]:
    """Canonical names; ``all`` is the papers' nine.

    Raises:
        UsageError: an unknown name.
    """
    every: list[str] = []
    for name in names:
        every += PAPER_BACKBONES if name == "all" else [network_name(name)]
    return tuple(dict.fromkeys(every))


def splits_from_choice(choice: str | None, protocol: Protocol, data: LabelledAudio) -> tuple[str, ...]:
    """The kinds of split to make. Without a choice: the protocol's, and the papers' with its honest twin.

    Raises:
        UsageError: a grouped split of data that says nothing of groups.
    """
    # Sub-clips of a clip are a group even where nothing is known of the clips.
    possible = bool(protocol.sub_clips) or can_be_grouped(data.clips)
    if choice in ("grouped", "both") and not possible:
        raise UsageError(f"--split {choice}: nothing is known of groups here; give a CSV with a group column")
    if choice == "both" or (choice is None and possible and protocol.split == "random"):
        return ("random", "grouped")
    return (choice or (protocol.split if possible else "random"),)


def run_session(session: Session, view: View) -> tuple[list[Outcome], int]:
    """Trains, tests and exports every network on every split; also says how many clips were skipped."""
    view.say(f"{session.name}: {len(session.data.clips)} clips, {len(session.data.labels)} labels")
    protocol = session.protocol
    examples = examples_from_audio(
        session.data,
        protocol.audio,
        session.cache or cache_home(),
        protocol.sub_clips,
        session.workers,
        view.cached(len(session.data.clips)),
    )
    for path, reason in examples.skipped:
        view.say(f"skipped {path}: {reason}")
    if protocol.ours:
        view.say(f"{protocol.name}: ours, since the paper leaves it open: {protocol.ours}")
    if protocol.weights == "none" and protocol.recipe.layers == "head":
        view.say("only the head is trained, over random weights that stay so; --layers all trains everything")
    outcomes = [
        _one(session, examples, kind, model, view) for kind in session.splits for model in session.models
    ]
    if len(session.models) > 1 and not session.folds:
        for kind in session.splits:
            chosen = [o for o in outcomes if o.metrics["split"]["kind"] == kind]
            held_out = "validation" if protocol.validation_share else "test"
            histories = {o.metrics["model"]: o.history for o in chosen}
            curves_png(histories, session.out / f"curves-{kind}.png", held_out)
    if len(session.splits) == 2:
        _say_gaps(outcomes, view)
    return outcomes, len(examples.skipped)


def _one(session: Session, examples: Examples, kind: Any, model: str, view: View) -> Outcome:
    told = {"licence": session.licence} if session.licence else {}
    protocol = protocol_for(session.protocol, model, session.given)
    job = Job(model, protocol, session.name, **told)
    parts = [model] if len(session.models) > 1 else []
    parts += [kind] if len(session.splits) > 1 else []
    folder = session.out.joinpath(*parts)
    splits = splits_of(examples, session.protocol, kind, session.folds)
    sizes = splits[0]
    view.say(
        f"{model}, {session.protocol.name}: {kind} split"
        + (f" by {examples.grouped_by}" if kind == "grouped" else ", as the papers made it")
        + f": {len(sizes.training)} to train, {len(sizes.validation)} to validate, {len(sizes.test)} to test"
        + (f", {len(splits)} folds" if session.folds else f"; test part {sizes.hash[:12]}")
    )
    if session.folds:
        outcome = cross_validate(job, examples, splits, folder, session.mode, view)
        final = folder / "final"
        if session.final:
            plain = dataclasses.replace(protocol, validation_share=0.0)
            job = dataclasses.replace(job, protocol=plain)
            train_on_everything(job, examples, outcome, final, session.mode, view)
    else:
        outcome = train_split(job, examples, splits[0], folder, session.mode, view)
        final = folder
    view.say(summary(outcome))
    if session.export and (not session.folds or session.final):
        for line in delivered(final / CHECKPOINT, session.data, session.workers):
            view.say(line)
    return outcome


def summary(outcome: Outcome) -> str:
    """A line or two: how right, on how many songs, and where the results are."""
    m = outcome.metrics
    low, high = m["macro_f1_interval"]
    return (
        f"{m['model']} on {m['songs']} held-out songs ({m['split']['kind']} split): "
        f"macro-F1 {m['macro_f1']:.3f} ({low:.3f} to {high:.3f}), accuracy {m['accuracy']:.3f} "
        f"(by window {m['window']['accuracy']:.3f}; the most frequent label alone {m['majority']:.3f}), "
        f"calibration error {m['calibration_error']:.3f} at temperature {m['temperature']:g}\n"
        f"{outcome.folder}"
    )


def read_data(root: Path, layout: str, labels: str | None) -> LabelledAudio:
    """Labelled audio, its labels in the order given ("happy,tense,sad,calm") or in the layout's."""
    wanted = tuple(part.strip() for part in labels.split(",")) if labels else None
    return labelled_audio(root, layout, wanted)


def _say_gaps(outcomes: Sequence[Outcome], view: View) -> None:
    half = len(outcomes) // 2
    for random, grouped in zip(outcomes[:half], outcomes[half:], strict=True):
        # Windows, not songs: a random split of sub-clips has a few pieces of each song.
        r, g = random.metrics["window"], grouped.metrics["window"]
        view.say(
            f"gap, {random.metrics['model']}: by window, random split {r['accuracy']:.3f} accuracy and "
            f"{r['macro_f1']:.3f} macro-F1, grouped {g['accuracy']:.3f} and {g['macro_f1']:.3f}: "
            f"the random one reads {100 * (r['accuracy'] - g['accuracy']):+.1f} and "
            f"{100 * (r['macro_f1'] - g['macro_f1']):+.1f} points"
        )
