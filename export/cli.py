"""mer-export: a checkpoint or an FP32 .onnx in, a verified engine out."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import click

from ..engine.cli.command import (
    EXIT_FAILURE,
    EXIT_GATE,
    EXIT_SOME_FAILED,
    SETTINGS,
    WORKERS,
    QuietCommand,
    report_errors,
    version_option,
)
from ..engine.errors import MerError, UsageError
from ..engine.signals import INTERRUPTED, sigterm_interrupts
from .options import (
    builder_options,
    check_effect,
    data_options,
    data_plan_from_options,
    foreign_from_options,
    foreign_options,
    plan_from_options,
)
from .terminal import Failed, Terminal

if TYPE_CHECKING:
    from .builders import Builder
    from .calibration_set import CalibrationSet
    from .checks import GateError
    from .data_plan import DataPlan
    from .eval_set import EvalSet
    from .exporter import Exported
    from .foreign import Foreign
    from .job import Plan
    from .output_files import Precision
    from .source import Source

_LAYERS_NAMED = 5  # in a hint


@click.command(cls=QuietCommand, context_settings=SETTINGS)
@click.argument("argument", required=False, metavar="[MODEL]")
@click.option(
    "--model",
    "-m",
    metavar="NAME|FILE|RUN",
    help="A known model, an FP32 .onnx, a .safetensors checkpoint, or a training's folder.",
)
@foreign_options
@click.option("--all", "all_models", is_flag=True, help="Export every known FP32 model; a table at the end.")
@click.option("--fp32", is_flag=True, help="Make an FP32 engine.  [default: if no precision is named]")
@click.option("--fp16", is_flag=True, help="Make an FP16 engine.")
@click.option("--int8", is_flag=True, help="Make an INT8 engine, FP16 where INT8 does not pay; needs data.")
@click.option(
    "--out",
    "-o",
    default=".",
    metavar="FOLDER/|FILE",
    help="A folder if it exists or ends in /, else the name of an engine (.engine, .plan, .trt) or, with "
    "--format onnx, of an .onnx.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["engine", "onnx"]),
    default="engine",
    help="Stop at the verified ONNX, or compile it.",
)
@data_options
@click.option(
    "--sensitivity", is_flag=True, help="With --int8: rank the layers by the error they cause, and stop."
)
@click.option(
    "--keep",
    multiple=True,
    metavar="LAYER[=fp32]",
    help="Leave a layer one precision up: FP16 in INT8, FP32 in FP16.",
)
@builder_options
@click.option("--workers", "-j", type=WORKERS, default=0, help="Processes that decode; 0 is one a core.")
@version_option
@report_errors
def main(
    argument: str | None,
    model: str | None,
    all_models: bool,
    form: Any,
    out: str,
    builder: Any,
    sensitivity: bool,
    **options: Any,
) -> int:
    """Turn a trained network into a verified TensorRT engine.

    MODEL is the same as --model. Every export is compared with its FP32 source, its FP16 range is
    read, and with --data its accuracy is scored, before anything is written.

    \b
    Exit codes: 0 done, 1 failure, 2 wrong usage, 3 a gate refused the export
    (overflow, parity, accuracy), 4 done, but clips were skipped or (--all) a
    model failed, 129/130/143 stopped by SIGHUP/Ctrl-C/SIGTERM (nothing
    half-written).
    """
    precisions = _precisions(options)
    if (argument is not None) + (model is not None) + all_models != 1:
        raise click.UsageError("give MODEL (or --model) or --all, one of them")
    model = model if argument is None else argument
    if "int8" in precisions and not (options["data"] or options["calib_data"]):
        raise click.UsageError("--int8 needs real music to calibrate on: --data, or --calib-data")
    if options["keep"] and precisions == ["fp32"]:
        raise click.UsageError("--keep goes with --fp16 or --int8: in FP32 every layer is left as it is")
    if sensitivity and precisions != ["int8"]:
        raise click.UsageError("--sensitivity goes with --int8 alone")
    check_effect(form, "int8" in precisions, options["data"] is not None, not sensitivity)
    _check_calibration(precisions, options)
    with sigterm_interrupts() as stop:
        try:
            plan, data = plan_from_options(out, form, options), data_plan_from_options(options)
            foreign = foreign_from_options(options)
            if foreign and all_models:
                raise click.UsageError("--spec and --labels go with one MODEL")
            terminal = Terminal()
            if sensitivity:
                _rank(_models(model), plan, data, terminal.say, foreign)
                return terminal.exit_code
            return _export(_models(model), precisions, builder, plan, data, terminal, foreign)
        except KeyboardInterrupt:
            click.echo("stopped; nothing half-written is left", err=True)
            return stop.code or INTERRUPTED


def _models(model: str | None) -> list[str]:
    from .source import fp32_models

    return fp32_models() if model is None else [model]


def _export(
    models: list[str],
    precisions: list[Precision],
    builder: Any,
    plan: Plan,
    data: DataPlan,
    terminal: Terminal,
    foreign: Foreign | None,
) -> int:
    from .builders import NoBuilderError
    from .output_checks import checked_outputs

    plan = checked_outputs(models, precisions, plan, data)
    no_builder = None
    if plan.form == "engine":
        try:
            plan = replace(plan, builder=_open_builder(builder, plan))
        except NoBuilderError as error:
            no_builder = error
    if plan.builder is not None and plan.builder.choice:
        terminal.say(f"builder: {plan.builder.choice}")
    _say_notes(data, terminal.say)
    done, errors = _export_all(models, precisions, plan, data, terminal, foreign)
    if len(models) > 1:
        terminal.table(done, errors)
    code = terminal.exit_code
    if done and no_builder is not None:
        terminal.error(f"the ONNX is written, but no engine: {no_builder}; --format onnx asks for none")
        code = EXIT_FAILURE
    if not errors:
        return code
    if any(error.exit_code == EXIT_GATE for _, error in errors):
        return EXIT_GATE
    return errors[0][1].exit_code if len(models) == 1 or not done else code or EXIT_SOME_FAILED


def _open_builder(name: Any, plan: Plan) -> Builder:
    """``open_builder``, with options named as flags where the builder does not support them."""
    from .builders import UnsupportedOptionError, open_builder
    from .triton import check_for_triton

    try:
        builder = open_builder(name, plan.engine)
        if plan.triton:
            check_for_triton(builder.module, plan.engine.batches[0])
        return builder
    except UnsupportedOptionError as error:
        flags = ", ".join(f"--{option.replace('_', '-')}" for option in error.options)
        raise UsageError(f"{error.title} does not support {flags}") from None


def _export_all(
    models: list[str],
    precisions: list[Precision],
    plan: Plan,
    data: DataPlan,
    terminal: Terminal,
    foreign: Foreign | None,
) -> tuple[list[Exported], list[Failed]]:
    """Every precision of every model; an export that fails does not stop the others."""
    from .checks import GateError
    from .data_plan import sets_from_plan
    from .engine_builder import check_parsed
    from .eval_set import split_key
    from .exporter import export
    from .job import Job
    from .precision import UnknownLayerError

    done, errors = [], []
    sets: dict[object, tuple[EvalSet, CalibrationSet | None]] = {}  # those of the latest kind of model
    for model in models:
        try:
            source = _open_source(model, plan, terminal.say, foreign)
            if plan.builder is not None:
                check_parsed(source.artifact.content, plan.builder)
            spec = source.artifact.spec
            key = split_key(spec)
            if key not in sets:
                sets = {key: sets_from_plan(spec, data, terminal.say)}
            eval_set, calibration_set = sets[key]
            job = Job(source, eval_set, calibration_set, plan, terminal.say)
        except UnknownLayerError as error:
            hint = "; --sensitivity lists the layers, with --int8 alone"
            errors.append(terminal.failed(model, error, hint))
            continue
        except MerError as error:
            errors.append(terminal.failed(model, error))
            continue
        for precision in precisions:
            name = f"{source.artifact.name} {precision}"
            try:
                done.append(export(job, precision))
            except GateError as error:
                errors.append(terminal.failed(name, error, _keep_hint(error)))
            except MerError as error:
                errors.append(terminal.failed(name, error))
    return done, errors


def _open_source(model: str, plan: Plan, say: Callable[[str], None], foreign: Foreign | None) -> Source:
    """``open_source``; a layer to keep that is not there is refused here, before any music is decoded."""
    from .precision import check_layers
    from .source import open_source

    source = open_source(model, foreign, say)
    check_layers(source.model(), (*plan.keep, *plan.keep_fp32))
    return source


def _rank(
    models: list[str], plan: Plan, data: DataPlan, say: Callable[[str], None], foreign: Foreign | None
) -> None:
    from .data_plan import calibration_set_from_plan
    from .job import calibration_of, rank

    _say_notes(data, say)
    for model in models:
        source = _open_source(model, plan, say, foreign)
        music = calibration_set_from_plan(source.artifact.spec, data)
        say(f"{source.artifact.name}: change of the logits with one layer alone in INT8, the worst first")
        for result in rank(source, music, calibration_of(source, music, say), plan):
            say(f"  {result.error:8.3%}  {result.layer}")


def _say_notes(data: DataPlan, say: Callable[[str], None]) -> None:
    """What was read otherwise than it stands, once for all models."""
    for note in data.labelled.notes if data.labelled else ():
        say(note)


def _precisions(options: dict[str, Any]) -> list[Precision]:
    from .output_files import Precision

    return [name for name in get_args(Precision) if options.pop(name)] or ["fp32"]


def _check_calibration(precisions: list[Precision], options: dict[str, Any]) -> None:
    from .calibration_windows import FEWEST_WINDOWS

    few = options["calib_windows"] < FEWEST_WINDOWS
    if "int8" in precisions and few and not options["data"]:
        raise click.UsageError(
            f"--calib-windows must be {FEWEST_WINDOWS} or more, unless --data shows what fewer cost"
        )


def _keep_hint(error: GateError) -> str:
    """The flags, for a shell, that leave the layers that a gate names in a higher precision."""
    if not error.layers:
        return ""
    suffix = "=fp32" if error.precision == "fp32" else ""
    flags = " ".join(f"--keep {shlex.quote(name + suffix)}" for name in error.layers[:_LAYERS_NAMED])
    others = len(error.layers) - _LAYERS_NAMED
    return f". Try {flags}" + (f" (and {others} more)" if others > 0 else "")


if __name__ == "__main__":
    main()
