"""Makes the bundled networks from their data: ``python -m merkit.training.bundled DATA OUT [NAME...]``.

DATA holds the folders that the table names. What is done is not done again.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.cli.command import SETTINGS, WORKERS
from ..engine.files import write_whole
from .command import limit_threads, training_command
from .options import FOLDER, check_outside
from .plans import Plan

if TYPE_CHECKING:
    from .runs.session import Session

EARS = ("ears/mn04_as.safetensors", "musicnn-msd")


@dataclass(frozen=True)
class Recipe:
    """How a bundled network is made: on every clip of ``data``, after five folds that say what to expect.

    Attributes:
        model: its backbone.
        data: the folder of labelled audio in DATA.
        sets: fields that differ from the backbone's own, as ``with_overrides`` reads them.
        teachers: files in DATA, or names.
        unlabelled: folders in DATA.
        preset: what it hears, if not what is usual for it.
        weights: a file in DATA to begin with.
        plan: what of these is trained.
        half: its weights lie in the file as FP16: see ``with_half_weights``.
    """

    model: str
    data: str
    sets: tuple[str, ...] = ()
    teachers: tuple[str, ...] = EARS
    unlabelled: tuple[str, ...] = ()
    preset: str | None = None
    weights: str | None = None
    plan: Plan = "all"
    half: bool = False


_HARD = ("distill=0.8", "unlabelled_share=2", "lowpass=0.5", "noise=0.4", "filter_db=6")

BUNDLED: dict[str, Recipe] = {
    "audioset": Recipe(
        "audioset",
        "emotion4q",
        ("highpass=0.5", "lowpass=0.8", "noise=0.8", "codec=0.5", "guard=8", "train_windows=6"),
        teachers=(),
        unlabelled=("mirex5", "hindi5"),
        preset="audioset-short",
        weights="ears/mn04_as.safetensors",
        plan="frozen",
        half=True,
    ),
    "audiocnn": Recipe("audiocnn", "emotion4q", _HARD, unlabelled=("mirex5", "hindi5")),
    "mobilenetv3": Recipe(
        "mobilenetv3",
        "emotion4q",
        (*_HARD, "epochs=15", "pretrain=10000"),
        unlabelled=("mirex5", "hindi5"),
        half=True,
    ),
    "squeezenet": Recipe("squeezenet", "emotion4q", (*_HARD, "epochs=20"), unlabelled=("mirex5", "hindi5")),
    "hindi5": Recipe(
        "audioset",
        "hindi5",
        ("highpass=0.5", "lowpass=0.8", "noise=0.8", "codec=0.5", "guard=6"),
        teachers=(),
        unlabelled=("hindi5/unlabelled", "mirex5", "emotion4q"),
        preset="audioset-relative",
        weights="ears/mn04_as.safetensors",
        plan="frozen",
        half=True,
    ),
    "accurate": Recipe(
        "audioset",
        "emotion4q",
        ("lowpass=0.5", "noise=0.8", "codec=0.4"),
        teachers=(),
        unlabelled=("mirex5", "hindi5"),
        preset="audioset-relative",
        weights="ears/mn04_as.safetensors",
        plan="frozen",
        half=True,
    ),
}
"""The bundled files by name."""


@click.command(context_settings=SETTINGS)
@click.argument("data", type=FOLDER)
@click.argument("out", type=FOLDER)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--cache", type=FOLDER, help="Folder of spectrograms.  [default: ~/.cache/mer/spectrograms]")
@click.option("--workers", "-j", type=WORKERS, default=0, help="Processes that decode.")
@click.option(
    "--non-music",
    multiple=True,
    type=FOLDER,
    metavar="DIR",
    help="Recordings that are no music: see mer-train.",
)
@training_command("the same command goes on where it was")
def main(**options: Any) -> int:
    """Make the bundled networks from the folders in DATA: OUT/NAME.onnx and its card OUT/NAME.md.

    Trainings are kept in OUT/runs. Without a NAME all are made.
    """
    from .progress import TerminalProgress

    limit_threads()
    for name in options["names"]:
        if name not in BUNDLED:
            raise click.UsageError(f"no bundled network is called {name!r}: {', '.join(BUNDLED)}")
    check_outside(options["data"], options["out"], options["cache"])
    with TerminalProgress() as progress:
        arguments = options["data"], options["out"], options["names"] or tuple(BUNDLED)
        more = options["cache"], options["workers"], options["non_music"]
        for line in make_bundled(*arguments, progress, *more):
            click.echo(line)
    return 0


def make_bundled(
    data: Path,
    out: Path,
    names: Collection[str],
    observer: Any,
    cache: Path | None = None,
    workers: int = 0,
    non_music: tuple[Path, ...] = (),
) -> Iterator[str]:
    """Trains these networks in five folds and on every clip, and yields a line for each file.

    Raises:
        UsageError, MerError: see ``run_session``.
    """
    import onnx

    from .networks.half_weights import with_half_weights
    from .runs.run_folder import CARD, results_folder
    from .runs.session import run_session

    for name in names:
        recipe, final = BUNDLED[name], out / "runs" / name / "final"
        session = _session(recipe, data, out / "runs" / name, cache, workers, non_music)
        with results_folder(session.out, session.mode):
            run_session(session, observer)
        for made, suffix in ((f"{recipe.model}.onnx", ".onnx"), (CARD, ".md")):
            target, content = out / f"{name}{suffix}", (final / made).read_bytes()
            if recipe.half and suffix == ".onnx":
                content = with_half_weights(onnx.load_from_string(content)).SerializeToString()
            write_whole(target, content)
            yield f"made {target}"


def _session(
    recipe: Recipe, data: Path, out: Path, cache: Path | None, workers: int, non_music: tuple[Path, ...]
) -> Session:
    """The trainings of a recipe."""
    from ..engine.spectrogram.presets import PRESETS
    from .recipe import PROTOCOLS, with_overrides
    from .runs.session import Session, read_data

    protocol = with_overrides(PROTOCOLS["best"], [*recipe.sets])
    protocol = dataclasses.replace(protocol, validation_share=0.0)
    if recipe.preset:
        protocol = dataclasses.replace(protocol, audio=PRESETS[recipe.preset])
    if recipe.weights:
        protocol = dataclasses.replace(protocol, weights=str(data / recipe.weights))
    return Session(
        read_data(data / recipe.data, "auto", None),
        recipe.data,
        (recipe.model,),
        protocol,
        out,
        ("grouped",),
        folds=5,
        final=True,
        mode="resume",
        cache=cache,
        workers=workers,
        chosen=frozenset(text.partition("=")[0] for text in recipe.sets),
        teachers=tuple(str(data / t) if "/" in t else t for t in recipe.teachers),
        unlabelled=tuple(data / folder for folder in recipe.unlabelled),
        plan=recipe.plan,
        non_music=non_music,
    )


if __name__ == "__main__":
    sys.exit(main())
