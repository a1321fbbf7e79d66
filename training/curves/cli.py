"""mer-train curve: how many labelled clips are enough, by the ears of trained networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...engine.cli.command import EXIT_SOME_FAILED, version_option
from ...engine.errors import UsageError
from ...engine.files import check_can_be_written
from ...engine.outputs.marks import is_picture, refuse_foreign
from ...engine.text.escape import for_terminal
from ..command import limit_threads, training_command
from ..options import FOLDER, check_outside, data_options, root_from_options
from .methods import METHODS

if TYPE_CHECKING:
    from ...engine.data.labelled_audio import LabelledAudio
    from ..data.touched import Touched
    from ..runs.settings import Session
    from .few_clips import Point, Table

_OF_WEIGHTS = {"frozen", "fine-tune"}


@click.command()
@data_options
@click.option(
    "--weights", "sources", multiple=True, metavar="SOURCE",
    help="A trained network to begin with; may be repeated: a curve for each, and a frozen one for all.",
)  # fmt: skip
@click.option(
    "--method", "methods", multiple=True, default=("frozen",), show_default=True,
    type=click.Choice(["frozen", *METHODS]),
    help="A head on the frozen network; all layers, from a fitted head on; from random weights; as the Hindi "
    "paper, with ImageNet's weights or random ones. May be repeated. All but frozen take long.",
)  # fmt: skip
@click.option("--model", "-m", default="audiocnn", show_default=True, help="The backbone without --weights.")
@click.option("--runs", type=FOLDER, metavar="DIR", help="Keeps the trainings, and goes on with them.")
@click.option(
    "--beside", multiple=True, type=FOLDER, metavar="DATA",
    help="Other labelled data: what a head on it says of a clip is known of it too; may be repeated.",
)  # fmt: skip
@click.option("--clips", "sizes", default="5,10,20,50,100", metavar="N,N,...", help="Clips of each label.")
@click.option(
    "--choice", is_flag=True, help="Clips chosen as by mer-train queue beside clips at random; N are in all."
)
@click.option("--draws", type=click.IntRange(min=2), default=10, help="Of which a figure is the mean.")
@click.option("--out", "-o", type=click.Path(path_type=Path), metavar="FILE.png", help="Draws the curves.")
@version_option
@training_command("embeddings are kept, and trainings in the folder of --runs")
def curve(**options: Any) -> int:
    """Macro-F1 on other artists' clips, by how many clips got a label.

    Each draw holds a third of the groups back and gives the training clips of the others; the draws are the
    same for all methods. Without --method, a head (logistic regression) is fitted on a frozen network's
    embeddings. The table is printed as Markdown. Networks that were trained on these clips are refused.
    """
    sizes = _sizes(options["sizes"])
    _check(options)
    root = root_from_options(options)
    for place in (root, *options["beside"]):
        check_outside(place, options["runs"], options["cache"])
    from ..runs.session import read_data
    from .report import curves_png, markdown_from_curves

    limit_threads()
    audio = read_data(root, options["layout"], options["labels"], options["group_by"])
    for note in audio.notes:
        click.echo(for_terminal(note), err=True)
    name, out = root.resolve().name, options["out"]
    sessions = _sessions(audio, name, options)  # first: what cannot be trained is told at once
    _check_unheard(audio, options)
    others = [_beside(place, options["group_by"]) for place in options["beside"]]
    for note in (note for each in others for note in each.notes):
        click.echo(for_terminal(note), err=True)
    audio, touched = _apart(audio, others, options)
    sessions = {title: replace(session, data=audio) for title, session in sessions.items()}
    beside = list(zip(others, touched, strict=True))
    curves, skipped = _frozen(audio, beside, sizes, options) if "frozen" in options["methods"] else ({}, [])
    trained, lost = _trained(sessions, sizes, options["draws"])
    curves |= trained
    what = "clips in all" if options["choice"] else "clips a label"
    click.echo(markdown_from_curves(curves, what))
    left_out = [size for size in sizes if all(size != p.clips for points in curves.values() for p in points)]
    if left_out:
        these = ", ".join(map(str, left_out))
        click.echo(f"left out: {these} {what}, for no label has so many to give in every draw", err=True)
    if out:
        title = f"{name}, groups by {audio.grouped_by} apart, {options['draws']} draws"
        curves_png(curves, out, title, what)
    for line in skipped:
        click.echo(for_terminal(line), err=True)
    return EXIT_SOME_FAILED if skipped or lost else 0


def _check(options: dict[str, Any]) -> None:
    methods, out = set(options["methods"]), options["out"]
    if out and (out.suffix.lower() != ".png" or out.is_dir() or not out.absolute().parent.is_dir()):
        raise click.UsageError(f"--out {out}: give a .png file in a folder that exists")
    if out:
        check_can_be_written(out)
        refuse_foreign(out, is_picture)
    if options["choice"] and options["beside"]:
        raise click.UsageError("--choice and --beside exclude each other")
    if methods != {"frozen"} and (options["choice"] or options["beside"]):
        raise click.UsageError("--choice and --beside go with --method frozen alone")
    if methods & _OF_WEIGHTS and not options["sources"]:
        raise click.UsageError("give --weights SOURCE: a trained network to begin with")
    if options["sources"] and not methods & _OF_WEIGHTS:
        raise click.UsageError("--weights goes with --method frozen and fine-tune; --model names a backbone")


def _beside(place: Path, group_by: str | None) -> LabelledAudio:
    """Other data, grouped by the column that groups the curve's; a note says where it has none."""
    from ..runs.session import read_data

    try:
        return read_data(place, "auto", None, group_by)
    except UsageError as error:  # it has no such column, or nothing in it
        audio = read_data(place, "auto", None)
        return replace(audio, notes=(f"{error}: its groups are by {audio.grouped_by}", *audio.notes))


def _check_unheard(audio: LabelledAudio, options: dict[str, Any]) -> None:
    """Refuses networks that have heard the clips; says what others do not say."""
    from .trainings import check_unheard

    for source in dict.fromkeys(options["sources"]):
        if note := check_unheard(source, audio.clips):
            click.echo(for_terminal(note), err=True)


def _apart(
    audio: LabelledAudio, others: Sequence[LabelledAudio], options: dict[str, Any]
) -> tuple[LabelledAudio, list[Touched]]:
    """See ``apart_by_recording``; says how many near copies there are."""
    from ..data.spectrogram_cache import cache_home
    from ..progress import TerminalProgress
    from .recordings import apart_by_recording

    with TerminalProgress() as progress:
        on_done = progress.cached(sum(len(each.clips) for each in (audio, *others)))
        cache = options["cache"] or cache_home()
        joined, touched, note = apart_by_recording(audio, others, cache, options["workers"], on_done)
    if note:
        click.echo(for_terminal(note), err=True)
    return joined, touched


def _frozen(
    audio: LabelledAudio,
    others: Sequence[tuple[LabelledAudio, Touched]],
    sizes: list[int],
    options: dict[str, Any],
) -> tuple[dict[str, list[Point]], list[str]]:
    """The curves of a head on embeddings, and a line for each clip that has none."""
    from .few_clips import curve_by_label, curves_by_choice

    tables, skipped = _tables(audio, options)
    beside = [_tables(each, options, touched) for each, touched in others]
    curves: dict[str, list[Point]] = {}
    for name, table in tables.items():
        if options["choice"]:
            both = curves_by_choice(table, sizes, options["draws"])
            curves |= {f"{name}, {how}": points for how, points in both.items()}
        else:
            words = [by_name[name] for by_name, _ in beside]
            curves[name] = curve_by_label(table, sizes, options["draws"], words)
    return curves, skipped + [line for _, lines in beside for line in lines]


def _titles(sources: Sequence[str]) -> dict[str, str]:
    """What networks are called: as the files are, or as they were asked for where that is not clear."""
    names = {source: Path(source).name for source in sources}
    repeated = Counter(names.values())
    return {source: name if repeated[name] == 1 else source for source, name in names.items()}


def _sessions(audio: LabelledAudio, name: str, options: dict[str, Any]) -> dict[str, Session]:
    """The trainings of each curve that is of whole trainings."""
    starts = [
        (method, start)
        for method in dict.fromkeys(options["methods"])
        if method != "frozen"
        for start in (dict.fromkeys(options["sources"]) if method in _OF_WEIGHTS else [options["model"]])
    ]
    if not starts:
        return {}
    from ...engine.temporary import process_folder
    from .trainings import session_from_method

    runs = options["runs"] or process_folder() / "curve"
    titles, folders, sessions = _titles(options["sources"]), Counter[str](), {}
    for method, start in starts:
        folders[folder := f"{method}-{Path(start).name}"] += 1
        out = runs / (folder if folders[folder] == 1 else f"{folder}-{folders[folder]}")
        session = session_from_method(method, start, audio, name, out)
        title = f"{titles.get(start, start)}, {method}"
        sessions[title] = replace(session, cache=options["cache"], workers=options["workers"])
    return sessions


def _trained(
    sessions: dict[str, Session], sizes: list[int], draws: int
) -> tuple[dict[str, list[Point]], int]:
    """The curves of whole trainings, and how many clips could not be read."""
    if not sessions:
        return {}, 0
    from ..progress import TerminalProgress
    from .trainings import curve_by_training

    with TerminalProgress() as progress:
        found = {
            title: curve_by_training(session, sizes, draws, progress) for title, session in sessions.items()
        }
    curves = {title: points for title, (points, _) in found.items()}
    return curves, max(lost for _, lost in found.values())


def _sizes(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and part.isascii() and 0 < int(part) < 10**6 for part in parts):
        raise click.UsageError(
            f"--clips {text!r}: give whole numbers above 0 with a comma between, as in 5,20"
        )
    return sorted({int(part) for part in parts})


def _tables(
    audio: LabelledAudio, options: dict[str, Any], touched: Touched = ()
) -> tuple[dict[str, Table], list[str]]:
    """The clips' embeddings by each source, and by all of them; and a line for each clip that has none."""
    import numpy as np

    from ...engine.errors import MerError
    from ..embeddings.embeddings import clip_embeddings
    from ..progress import TerminalProgress
    from .few_clips import Table

    sources = dict.fromkeys(options["sources"])
    vectors, cache = {}, options["cache"] and options["cache"] / "embeddings"  # where a training's are
    with TerminalProgress() as progress:
        for source in sources:
            on_done = progress.cached(len(audio.clips))
            vectors[source] = clip_embeddings(source, audio.clips, cache, options["workers"], on_done)
    skipped = [
        f"skipped {clip.path}: {vector}"
        for clip, vector in zip(audio.clips, vectors[options["sources"][0]], strict=True)
        if isinstance(vector, MerError)
    ]
    heard = [
        i for i in range(len(audio.clips)) if not any(isinstance(v[i], MerError) for v in vectors.values())
    ]
    if not heard:
        raise MerError(f"none of the {len(audio.clips)} clips can be heard; {skipped[0]}")
    labels = tuple(audio.clips[i].label for i in heard)
    groups = tuple(audio.clips[i].group for i in heard)
    touched = tuple(touched[i] for i in heard) if touched else ()
    blocks = {source: np.stack([vectors[source][i] for i in heard]) for source in sources}
    titles = _titles(options["sources"])
    tables = {titles[name]: Table(block, labels, groups, touched) for name, block in blocks.items()}
    if len(blocks) > 1:
        tables["together"] = Table(np.hstack(list(blocks.values())), labels, groups, touched)
    return tables, skipped
