"""What ``mer-label`` may be told on the command line."""

from __future__ import annotations

import click

from ..runtimes import RUNTIMES
from .command import WORKERS, FiniteRange, WindowCountType, decorator_of
from .words import ANY_PATH, NAMED_PATH, complete_path

_MOST = 1_000_000  # seconds or GB: beyond what any file has, and far from where numbers end

label_options = decorator_of(
    click.argument("paths", nargs=-1, type=ANY_PATH, metavar="PATH...", shell_complete=complete_path),
    click.option(
        "--model",
        "-m",
        "models",
        multiple=True,
        metavar="NAME|FILE|RUN",
        help="A bundled model, an .onnx or .engine file, or a training's folder. Further ones label the same "
        "windows, in columns of their own: the bundled ones go together, but for audioset, whose windows are "
        "shorter.  [default: what a folder of labels was begun with, else audioset]",
    ),
    click.option(
        "--windows",
        "-w",
        type=WindowCountType(),
        metavar="N|all",
        default=3,
        help="Windows a song, evenly spread, or all. Silence and short songs have fewer.",
    ),
    click.option(
        "--hop",
        type=FiniteRange(0.1, _MOST),
        metavar="SECONDS",
        help="Step of --windows all.  [default: a window's length]",
    ),
    click.option(
        "--min-confidence",
        type=FiniteRange(min=0, max=1),
        metavar="SHARE",
        help="Rows below it are unsure (column verdict).  [default: the model's own]",
    ),
    click.option(
        "--runtime",
        type=click.Choice(["auto", *RUNTIMES]),
        default="auto",
        help="What runs the network. auto: the best one for this CPU, by a table of measurements; a folder "
        "goes on with its own; with --ray ONNX Runtime.",
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        help="cuda: DALI and TensorRT, for an .engine. auto takes it where all of that is there.",
    ),
    click.option(
        "--gpus",
        type=click.IntRange(min=1),
        default=1,
        metavar="N",
        help="With cuda: a process for each of N GPUs.",
    ),
    click.option(
        "--batch",
        type=click.IntRange(min=1),
        metavar="N",
        help="With cuda: windows at once.  [default: what the engine is tuned for]",
    ),
    click.option(
        "--decoder",
        type=click.Choice(["auto", "dali"]),
        default="auto",
        help="dali: NVIDIA's, for WAV, FLAC, Ogg and Opus at the model's rate, with --windows all.",
    ),
    click.option(
        "--out",
        "-o",
        metavar="FILE|FOLDER/|-",
        help="Write rows: one .parquet, .csv or .jsonl file; a folder of Parquet shards, which resumes; "
        "or - for JSON lines on stdout.",
    ),
    click.option(
        "--workers",
        "-j",
        type=WORKERS,
        default=0,
        help="Processes that decode; 0 is one a core. With --ray: those of each actor.",
    ),
    click.option(
        "--ray",
        metavar="local|ADDRESS",
        help="Label on a Ray cluster: HOST:PORT, auto, or a local one (needs merkit[ray]).",
    ),
    click.option(
        "--timeout",
        type=FiniteRange(1, _MOST),
        default=120.0,
        metavar="SECONDS",
        help="For decoding one file.",
    ),
    click.option(
        "--max-decoded",
        type=FiniteRange(0.001, _MOST),
        default=16.0,
        metavar="GB",
        help="Samples that one file may decode to, at 4 bytes each, of all channels.",
    ),
    click.option(
        "--path-column",
        default="path",
        metavar="NAME",
        help="The column of a .csv, .tsv or .parquet PATH that holds paths.",
    ),
    click.option(
        "--hidden", is_flag=True, help="Search hidden files and folders too, whose names begin with a dot."
    ),
    click.option(
        "--allow-private", is_flag=True, help="Let lists name URLs of this machine or network, as a PATH may."
    ),
    click.option(
        "--dedupe",
        is_flag=True,
        help="Of files that this run labels, label those of equal content once (each still gets its row).",
    ),
    click.option(
        "--retry-errors",
        is_flag=True,
        help="With a folder: label again what was read and found bad in an earlier run.",
    ),
    click.option(
        "--prune",
        is_flag=True,
        help="With a folder: remove rows of files that are gone while their folder is there.",
    ),
    click.option(
        "--forget",
        multiple=True,
        metavar="PATH|URL",
        help="With a folder: remove rows of PATH, and of files below it, that are not there, as after a "
        "folder was renamed or mistyped.",
    ),
    click.option(
        "--shard-rows",
        type=click.IntRange(min=1),
        default=500,
        help="With a folder: rows a shard. A kill costs no more, but for those behind a file that "
        "takes long, and for songs that are labelled again.",
    ),
    click.option("--json", "as_json", is_flag=True, help="As --out -: JSON lines on stdout."),
    click.option(
        "--plot",
        metavar="FILE.png",
        help="Draw one song's log-mel and timeline (needs merkit[plot]). Of silence there is no picture, and "
        "the exit code is 1.",
    ),
    click.option("--quiet", "-q", is_flag=True, help="No progress and no summary."),
    click.option("--verbose", "-v", is_flag=True, help="Say which device labels, and where the time goes."),
    click.option(
        "--from",
        "finished",
        type=NAMED_PATH,
        metavar="LABELS",
        help="Label nothing: copy the rows of a folder to a file (--out), of a file to a file or folder.",
    ),
)
"""The arguments and options of ``mer-label``."""
