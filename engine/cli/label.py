"""mer-label: a folder of songs in, emotions out."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from ..cpu import BLAS_THREADS
from ..errors import MerError
from ..text.escape import for_terminal
from ..text.streams import print_err
from .command import EXIT_SOME_FAILED, SETTINGS, options_given, report_errors, version_option
from .label_options import label_options
from .words import WordFirst

_OF_A_COPY = {"finished", "out", "as_json", "quiet", "verbose"}


@click.command(cls=WordFirst, context_settings=SETTINGS)
@label_options
@version_option
@report_errors
def main(
    paths: tuple[str, ...],
    models: tuple[str, ...],
    windows: Any,
    hop: float | None,
    min_confidence: float | None,
    runtime: str,
    device: Any,
    gpus: int,
    batch: int | None,
    decoder: Any,
    out: str | None,
    workers: int,
    ray: str | None,
    timeout: float,
    max_decoded: float,
    path_column: str,
    hidden: bool,
    allow_private: bool,
    dedupe: bool,
    retry_errors: bool,
    prune: bool,
    forget: tuple[str, ...],
    shard_rows: int,
    as_json: bool,
    plot: str | None,
    quiet: bool,
    verbose: bool,
    finished: str | None,
) -> int:
    """Say what emotion each song carries.

    PATH is an audio or video file, taken whatever its name; a folder, searched for files with an
    audio or video suffix; a pattern such as 'music/**/*.mp3'; a playlist (.m3u, .m3u8); a table with a
    column of paths (.csv, .tsv, .parquet), whose other columns are carried through; or a URL (https:// with
    merkit[remote], s3:// with merkit[s3], gs:// with merkit[gcs]). Every file gets one row: a label, or
    the reason why there is none.

    With a folder for --out, the same command again goes on where it was stopped or killed: what has
    its row is skipped, and a file that has changed since is labelled again. Rows of files that cannot be
    seen now stay, and what could not be read is tried again.

    \b
    Exit codes: 0 all labelled, 1 failure, or nothing that was named is
    there or can be read, 2 wrong usage, 4 done but some files failed, now
    or in an earlier run into the same folder, or are not there, 129/130/143
    stopped by SIGHUP/Ctrl-C/SIGTERM (what was done is written), 141 the
    reader of stdout has gone, and there are no rows elsewhere.
    """
    if as_json and out not in (None, "-"):
        raise click.UsageError("--json prints rows on stdout, and --out names another place")
    out = "-" if as_json else out
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose contradict each other")
    os.environ.setdefault(BLAS_THREADS, "1")
    if finished is not None:
        return _copy_of_rows(finished, paths, out, quiet)
    if hop is not None and windows != "all":
        raise click.UsageError("--hop goes with --windows all")
    if decoder == "dali" and windows != "all":
        raise click.UsageError("--decoder dali reads whole files: it goes with --windows all")
    if ray and options_given(("device", "gpus")):
        raise click.UsageError("--ray chooses the devices of its nodes: leave --device and --gpus out")
    if plot is not None and (len(paths) != 1 or not plot.lower().endswith(".png")):
        raise click.UsageError("--plot FILE.png draws one song: name one PATH, and a file that ends in .png")
    if not paths:
        raise click.UsageError("name a PATH to label")
    if "-" in paths and not os.path.lexists("-"):
        raise click.UsageError(
            "'-' is no file, and stdin is not read: name files, folders or a list (.m3u8, .csv)"
        )
    if not ray:
        from ..labelling.worker_pool import start_ahead

        # Not where another program runs this command: its children would have what it has.
        start_ahead(as_copy=vars(sys.modules["__main__"]).get("main") is main)
    from ..artifact import DEFAULT_MODEL
    from ..audio.decoder import Limits
    from ..catalogue.expand import Sources
    from ..catalogue.input_store import InputStore
    from ..catalogue.output import Kind, output_from_text
    from ..catalogue.run import CatalogueRun
    from ..catalogue.shards import strangers_in
    from ..catalogue.terminal import view_of
    from ..labelling.choose import open_backend
    from ..labelling.file_windows import WindowOptions
    from ..labelling.further import open_models
    from ..signals import stop_event
    from .begun import models_begun, runtime_begun
    from .picture import check_picture

    output = output_from_text(out)
    of_folders = {
        "--prune removes": prune,
        "--forget removes": forget,
        "--retry-errors replaces": retry_errors,
        "--shard-rows divides": bool(options_given(["shard_rows"])),
    }
    for does, is_asked in of_folders.items():
        if is_asked and output.kind is not Kind.FOLDER:
            raise click.UsageError(f"{does} rows of a folder: it goes with --out FOLDER")
    if not models and output.kind is Kind.FOLDER:
        models = models_begun(Path(output.path))
        if models not in ((), (DEFAULT_MODEL,)) and not quiet:
            print_err(f"{out} was begun with {' and '.join(models)}, and goes on so")
    artifact = open_models(models or (DEFAULT_MODEL,))
    sources = Sources(paths, path_column, hidden)
    if not sources.manifests and options_given(["path_column"]):
        raise click.UsageError("--path-column goes with a table of paths: .csv, .tsv or .parquet")
    limits = Limits(
        seconds=timeout,
        decoded_samples=round(max_decoded * 1e9 / 4),
        private_hosts=sources.private_hosts,
        allow_private=allow_private,
    )
    options = WindowOptions(
        artifact.spec.audio, windows, hop, limits, decoder, min_confidence, artifact.heard[1:]
    )
    output.refuse_arguments(sources.arguments)
    output.refuse_foreign()
    if plot is not None:
        check_picture(plot, sources.arguments, output)
    say = print_err if verbose else lambda line: None
    began = time.perf_counter()
    heard = None
    with ExitStack() as stack:
        stop = stack.enter_context(stop_event())
        sources.check, sources.limits = stop.check, limits
        if plot is not None:
            with InputStore(sources) as inputs:  # before a run, which takes rows away with --prune
                if len(inputs) > 1:  # of none the run says why
                    raise click.UsageError(f"--plot draws one song, and there are {len(inputs)}")
        if runtime == "auto" and output.kind is Kind.FOLDER and not artifact.facts:
            runtime = runtime_begun(Path(output.path)) or runtime
        backend = open_backend(artifact, runtime, device, workers, gpus, ray, say, batch or 0)
        stack.enter_context(backend)
        run = stack.enter_context(
            CatalogueRun(
                sources,
                artifact,
                backend,
                options,
                out,
                by_content=dedupe,
                retry_errors=retry_errors,
                prune=prune,
                forget=forget,
                rows_a_shard=shard_rows,
            )
        )
        left, labels = run.total - run.resumed, artifact.spec.labels
        shown = view_of(left, labels, output, quiet, verbose, windows == "all", plot is not None)
        view = stack.enter_context(shown)
        for heard in run.labels(stop.event):
            view.show(heard)
    view.summary(run, time.perf_counter() - began, run.out, stopped=stop.code is not None)
    if run.spares and run.out and not quiet:
        print_err(f"{out} stays as it was: it has the rows of an earlier run")
    if run.partial and not quiet:
        print_err(f"{run.partial} is there still: this run's rows are all in {out}")
    if forget and not run.pruned and not quiet:
        print_err(f"no row was to be forgotten at or below {' or '.join(map(for_terminal, forget))}")
    strangers = strangers_in(Path(output.path)) if output.kind is Kind.FOLDER and not quiet else []
    if strangers:
        names = ", ".join(strangers[:3]) + (", ..." if len(strangers) > 3 else "")
        print_err(f"no shard of {out}, but read by what reads *.parquet there: {names}; move it elsewhere")
    if stop.code is not None:
        if output.kind is Kind.FOLDER and not quiet and view.done < run.total - run.resumed:
            print_err("run the same command again to go on")
        return stop.code
    if plot is not None:
        from ..outputs.plot import plot_song

        if heard is None:
            raise MerError("--plot draws what was labelled now: the song has its row already")
        if heard.windows:
            plot_song(heard, artifact.spec, limits, Path(plot))
        elif heard.error is None:
            raise MerError(f"{heard.path} is {heard.verdict}: there is no picture of it")
    if isinstance(view.lost, MerError):
        raise MerError(f"the lines on stdout are not complete: {view.lost}")
    if view.lost and output.kind is Kind.NOTHING:
        raise view.lost
    if view.done == view.unseen > 0 and not run.resumed + run.absent:
        older = f"; {out} stays as it was" if run.spares else ""
        raise MerError(f"nothing was labelled: no input is there, or none can be read{older}")
    return EXIT_SOME_FAILED if view.failed + run.absent + run.errors else 0


def _copy_of_rows(labels: str, paths: tuple[str, ...], out: str | None, quiet: bool) -> int:
    """Copies all rows and, unless ``quiet``, says how many; returns the exit code.

    Raises:
        UsageError, MerError: see ``copied_rows.copy_rows``; or something is asked that is no copy.
    """
    if paths or out is None:
        raise click.UsageError("--from needs --out and no PATH")
    parameters = click.get_current_context().command.params
    # No arguments: Click before 8.3 takes those that are missing for given.
    every = (each.name or "" for each in parameters if isinstance(each, click.Option))
    if others := options_given(name for name in every if name not in _OF_A_COPY):
        raise click.UsageError(f"--from copies rows as they are: leave {others[0]} out")
    from ..catalogue.copied_rows import copy_rows

    count = copy_rows(labels, out, print_err)
    rows = "1 row" if count == 1 else f"{count} rows"
    if not quiet:
        print_err(f"{rows} written to {'stdout' if out == '-' else out}")
    return 0


if __name__ == "__main__":
    main()
