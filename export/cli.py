"""mer-export: a checkpoint or an FP32 .onnx in, a verified engine out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ..engine.cli.command import (
    EXIT_GATE,
    EXIT_SOME_FAILED,
    SETTINGS,
    report_errors,
    version_option,
)
from ..engine.errors import MerError
from ..engine.signals import INTERRUPTED, sigterm_interrupts

if TYPE_CHECKING:
    from .exporter import Exported, Plan
    from .output_files import Precision

_BATCH = click.IntRange(min=1)


@click.command(context_settings=SETTINGS)
@click.argument("named", required=False, metavar="[MODEL]")
@click.option(
    "--model", "-m", metavar="NAME|FILE", help="A known model, an FP32 .onnx, or a .safetensors checkpoint."
)
@click.option("--all", "every", is_flag=True, help="Export every known model; a table at the end.")
@click.option("--fp32", is_flag=True, help="Make an FP32 engine.  [default: if no precision is named]")
@click.option("--fp16", is_flag=True, help="Make an FP16 engine.")
@click.option("--int8", is_flag=True, help="Make an INT8 engine, FP16 where INT8 does not pay; needs data.")
@click.option(
    "--out",
    "-o",
    default=".",
    metavar="FOLDER/|FILE",
    help="A folder if it exists or ends in /, else the engine's name.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["engine", "onnx"]),
    default="engine",
    help="Stop at the verified ONNX, or compile it.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Labelled audio: what the model held out is scored, the rest calibrates.",
)
@click.option(
    "--layout",
    default="auto",
    help="How --data is laid out: emotion4q, mer500, jumusemodb, folder, csv, auto.",
)
@click.option(
    "--max-drop", type=float, default=1.0, metavar="POINTS", help="Of macro-F1 that may be lost on --data."
)
@click.option(
    "--calib-data", metavar="FOLDER|FILE", help="Calibrate INT8 on this audio (or .npz of images) instead."
)
@click.option("--calib-windows", type=click.IntRange(min=1), default=256, help="Windows to calibrate on.")
@click.option(
    "--calib-method",
    type=click.Choice(["percentile", "entropy", "minmax"]),
    default="percentile",
    help="How ranges are chosen.",
)
@click.option(
    "--sensitivity", is_flag=True, help="With --int8: rank the layers by the error they cause, and stop."
)
@click.option(
    "--keep",
    multiple=True,
    metavar="LAYER[=fp32]",
    help="Leave a layer one precision up: FP16 in INT8, FP32 in FP16.",
)
@click.option(
    "--builder",
    type=click.Choice(["auto", "tensorrt", "rtx"]),
    default="auto",
    help="auto: TensorRT where it and a GPU are, else TensorRT for RTX.",
)
@click.option(
    "--gpu",
    type=click.Choice(["turing", "ampere", "ada", "blackwell"]),
    help="Compile ahead for one family (rtx).  [default: portable]",
)
@click.option("--min-batch", type=_BATCH, default=1, help="Least windows at once.")
@click.option("--opt-batch", type=_BATCH, default=8, help="Windows at once that the engine is tuned for.")
@click.option("--max-batch", type=_BATCH, default=32, help="Most windows at once.")
@click.option(
    "--workspace", type=click.IntRange(min=1), metavar="MIB", help="Scratch memory for the builder."
)
@click.option("--optimization-level", type=click.IntRange(0, 5), help="How long the builder searches.")
@click.option(
    "--timing-cache",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Reuse and extend measured timings (tensorrt).",
)
@click.option("--hardware-compatible", is_flag=True, help="Run on Ampere and newer (tensorrt).")
@click.option("--version-compatible", is_flag=True, help="Run on later TensorRT versions (tensorrt).")
@click.option(
    "--workers", "-j", type=click.IntRange(min=0), default=0, help="Processes that decode; 0 is one a core."
)
@version_option
@report_errors
def main(
    named: str | None,
    model: str | None,
    every: bool,
    form: Any,
    out: str,
    builder: Any,
    sensitivity: bool,
    **given: Any,
) -> int:
    """Turn a trained network into a verified TensorRT engine.

    MODEL is the same as --model. Every export is compared with its FP32 source, its FP16 range is
    read, and with --data its accuracy is scored, before anything is written.

    \b
    Exit codes: 0 done, 1 failure, 2 wrong usage, 3 a gate refused the export (overflow, parity,
    accuracy), 4 --all: some models failed, 130/143 stopped by Ctrl-C/SIGTERM (nothing half-written).
    """
    precisions = _precisions(given)
    if (named is not None) + (model is not None) + every != 1:
        raise click.UsageError("give MODEL (or --model) or --all, one of them")
    model = named or model
    if "int8" in precisions and not (given["data"] or given["calib_data"]):
        raise click.UsageError("--int8 needs real music to calibrate on: --data, or --calib-data")
    if sensitivity and precisions != ["int8"]:
        raise click.UsageError("--sensitivity goes with --int8 alone")
    with sigterm_interrupts() as stop:
        try:
            return _run(model, out, form, builder, precisions, sensitivity, given)
        except KeyboardInterrupt:
            click.echo("stopped; nothing half-written is left", err=True)
            return stop.code or INTERRUPTED


def _run(
    model: str | None,
    out: str,
    form: Any,
    builder: Any,
    precisions: list[Precision],
    sensitivity: bool,
    given: dict[str, Any],
) -> int:
    from .engine_builder import EngineOptions, NoBuilderError, open_builder
    from .eval_set import DataPlan
    from .exporter import Plan
    from .output_files import check_out
    from .source import fp32_models

    batches = (given["min_batch"], given["opt_batch"], given["max_batch"])
    names = ("gpu", "optimization_level", "timing_cache", "hardware_compatible", "version_compatible")
    options = EngineOptions(batches, workspace_mb=given["workspace"], **{name: given[name] for name in names})
    models = [model] if model is not None else fp32_models()
    if not sensitivity:
        check_out(out, len(models) * len(precisions), form)
    missing = None
    opened = None
    if form == "engine" and not sensitivity:
        try:
            opened = open_builder(builder, options)
        except NoBuilderError as error:
            missing = error
    keep = [name for name in given["keep"] if not name.endswith("=fp32")]
    fp32 = [name.removesuffix("=fp32") for name in given["keep"] if name.endswith("=fp32")]
    plan = Plan(out, form, tuple(keep), tuple(fp32), given["max_drop"], options, opened)
    data = DataPlan(
        given["data"],
        given["layout"],
        given["calib_data"],
        given["calib_windows"],
        given["calib_method"],
        given["workers"],
    )
    if sensitivity:
        return _rank(models, plan, data)
    done, errors = _export_all(models, precisions, plan, data)
    if len(models) > 1:
        _table(done, errors)
    if errors:
        gates = any(error.exit_code == EXIT_GATE for _, error in errors)
        alone = len(models) == 1 or not done
        return EXIT_GATE if gates else errors[0][1].exit_code if alone else EXIT_SOME_FAILED
    if missing is not None:
        raise MerError(f"the ONNX is written, but no engine: {missing}; --format onnx makes this a success")
    return 0


def _export_all(
    models: list[str], precisions: list[Precision], plan: Plan, data: Any
) -> tuple[list[Exported], list[tuple[str, MerError]]]:
    """Every precision of every model; an export that fails does not stop the others."""
    from .eval_set import Evidence, gather_evidence
    from .exporter import Job, export
    from .source import open_source

    done, errors = [], []
    gathered: dict[Any, Evidence] = {}
    for model in models:
        try:
            source = open_source(model)
            spec = source.artifact.spec
            key = (spec.audio, spec.labels, str(spec.provenance.get("test_clips")))
            if key not in gathered:
                gathered = {key: gather_evidence(spec, data, _say)}
            job = Job(source, gathered[key], plan, _say)
        except MerError as error:
            _fail(model, error, errors)
            continue
        for precision in precisions:
            try:
                done.append(export(job, precision))
            except MerError as error:
                _fail(f"{source.artifact.name} {precision}", error, errors)
    return done, errors


def _rank(models: list[str], plan: Plan, data: Any) -> int:
    from .eval_set import gather_evidence
    from .exporter import Job
    from .source import open_source

    for model in models:
        source = open_source(model)
        job = Job(source, gather_evidence(source.artifact.spec, data, _say), plan, _say)
        click.echo(
            f"{source.artifact.name}: change of the logits with one layer alone in INT8, the worst first"
        )
        for each in job.rank():
            click.echo(f"  {each.error:8.3%}  {each.layer}")
    return 0


def _precisions(given: dict[str, Any]) -> list[Precision]:
    from .output_files import Precision

    return [name for name in get_args(Precision) if given.pop(name)] or ["fp32"]


def _say(line: str) -> None:
    click.echo(line, err=line.startswith("warning"))


def _fail(what: str, error: MerError, errors: list[tuple[str, MerError]]) -> None:
    click.echo(f"Error: {what}: {error}", err=True)
    errors.append((what, error))


def _table(done: list[Exported], errors: list[tuple[str, MerError]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("model", "precision", "MB", "max error", "agreement", "macro-F1", "drop", "seconds"):
        table.add_column(name, justify="left" if name in ("model", "precision") else "right")
    for each in done:
        parity, scored = each.checks.parity, each.checks.accuracy
        size = each.files[1 if len(each.files) > 1 else 0].stat().st_size / 1e6
        table.add_row(
            escape(each.name),
            each.precision,
            f"{size:.1f}",
            f"{parity.max_error:.2g}" if parity else "",
            f"{parity.agreement:.1%}" if parity else "",
            f"{scored.macro_f1:.1f}" if scored else "",
            f"{scored.drop:.1f}" if scored else "",
            f"{each.seconds:.1f}",
        )
    for what, error in errors:
        table.add_row(f"[red]{escape(what)}[/red]", "failed", *[""] * 5, str(error.exit_code))
    Console().print(table)


if __name__ == "__main__":
    main()
