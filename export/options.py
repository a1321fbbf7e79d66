"""mer-export's options, and the plans that they become."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.cli.command import decorator_of, options_given
from ..engine.errors import UsageError

_WINDOWS = 64  # at once, for which an engine is tuned by default

if TYPE_CHECKING:
    from .data_plan import DataPlan
    from .foreign import Foreign
    from .job import Plan


class _Path(click.Path):
    """A path. Empty (a shell's variable that is not set), it would be the working folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the name is empty", param, ctx)
        return super().convert(value, param, ctx)


data_options = decorator_of(
    click.option(
        "--data",
        type=_Path(path_type=Path),
        help="Labelled audio: what the model held out is scored, the rest calibrates.",
    ),
    click.option(
        "--layout",
        default="auto",
        help="How --data is laid out: emotion4q, mer500, jumusemodb, folder, csv, auto.",
    ),
    click.option(
        "--max-drop",
        type=float,
        default=1.0,
        metavar="POINTS",
        help="Of macro-F1 that may be lost on --data; a larger drop that may be chance is only said.",
    ),
    click.option(
        "--calib-data",
        type=_Path(),
        metavar="FOLDER|FILE",
        help="Calibrate INT8 on this audio (or .npz of images) instead.",
    ),
    click.option(
        "--calib-windows", type=click.IntRange(1, 1 << 20), default=256, help="Windows to calibrate on."
    ),
    click.option(
        "--calib-method",
        type=click.Choice(["percentile", "entropy", "minmax"]),
        default="percentile",
        help="How ranges are chosen.",
    ),
)
"""The data to score and to calibrate on."""


foreign_options = decorator_of(
    click.option(
        "--spec",
        metavar="PRESET|FILE",
        help="What a foreign .onnx or state dict hears: a preset's name, or an AudioSpec as JSON.",
    ),
    click.option("--labels", metavar="A,B,...", help="With --spec: what its outputs mean, in order."),
    click.option("--backbone", metavar="NAME", help="With --spec: the network of a state dict."),
)
"""What is said of a network that was trained elsewhere."""


def foreign_from_options(options: dict[str, Any]) -> Foreign | None:
    """None where nothing is said of a foreign network.

    Raises:
        UsageError, SpecError: see ``foreign_from_texts``.
    """
    spec, labels, backbone = options["spec"], options["labels"], options["backbone"]
    if spec is None and labels is None and backbone is None:
        return None
    if spec is None or labels is None:
        raise click.UsageError("a foreign network needs both --spec and --labels")
    from .foreign import foreign_from_texts

    return foreign_from_texts(spec, labels, backbone)


_BATCH = click.IntRange(1, 65_536)  # as an engine's sidecar may say
builder_options = decorator_of(
    click.option(
        "--builder",
        type=click.Choice(["auto", "tensorrt", "rtx"]),
        default="auto",
        help="auto: TensorRT where it and a GPU are, else TensorRT for RTX.",
    ),
    click.option(
        "--gpu",
        type=click.Choice(["turing", "ampere", "ada", "blackwell"]),
        help="Compile ahead for one family (rtx).  [default: portable]",
    ),
    click.option("--min-batch", type=_BATCH, default=1, help="Least windows at once."),
    click.option(
        "--opt-batch",
        type=_BATCH,
        help="Windows at once that the engine is tuned for: what mer-label gives it.  "
        "[default: 64, or --max-batch if less]",
    ),
    click.option(
        "--max-batch", type=_BATCH, help="Most windows at once.  [default: 64, or --opt-batch if more]"
    ),
    click.option(
        "--workspace", type=click.IntRange(1, 1 << 20), metavar="MIB", help="Scratch memory for the builder."
    ),
    click.option("--optimization-level", type=click.IntRange(0, 5), help="How long the builder searches."),
    click.option(
        "--timing-cache",
        type=_Path(path_type=Path, dir_okay=False),
        help="Reuse and extend measured timings (tensorrt).",
    ),
    click.option(
        "--triton",
        type=_Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Add each export to a model repository of NVIDIA's Triton.",
    ),
    click.option("--hardware-compatible", is_flag=True, help="Run on Ampere and newer (tensorrt)."),
    click.option("--version-compatible", is_flag=True, help="Run on later TensorRT versions (tensorrt)."),
)
"""What to compile for, and with what."""


def check_effect(form: str, is_int8: bool, has_data: bool, is_export: bool) -> None:
    """Whether what the command line names has an effect.

    Raises:
        click.UsageError: an option is named that goes with another.
    """
    of_engines = ("builder", "gpu", "min_batch", "workspace", "optimization_level", "timing_cache")
    of_engines += ("hardware_compatible", "version_compatible")
    of_exports = ("out", "form", *of_engines, "opt_batch", "max_batch", "triton", "max_drop")
    for names, needed, has in (
        (of_exports, "an export, and --sensitivity makes none", is_export),
        (of_engines, "--format engine", form == "engine"),
        (("calib_data", "calib_windows", "calib_method"), "--int8", is_int8),
        (("layout", "max_drop"), "--data", has_data),
    ):
        if not has and (idle := options_given(names)):
            raise click.UsageError(f"{idle[0]} goes with {needed}")


def plan_from_options(out: str, form: Any, options: dict[str, Any]) -> Plan:
    """What to export to. ``--max-drop`` is in points, the plan's a share.

    Raises:
        UsageError: the batches do not rise, or the drop is no number.
    """
    if math.isnan(options["max_drop"]):
        raise UsageError("--max-drop must be a number")
    from .builders import EngineOptions
    from .job import Plan
    from .output_files import without_dots

    most = options["max_batch"] or max(options["opt_batch"] or 0, _WINDOWS)
    engine = EngineOptions(
        batches=(options["min_batch"], options["opt_batch"] or min(most, _WINDOWS), most),
        gpu=options["gpu"],
        workspace_mb=options["workspace"],
        optimization_level=options["optimization_level"],
        timing_cache=options["timing_cache"],
        hardware_compatible=options["hardware_compatible"],
        version_compatible=options["version_compatible"],
    )
    keep = tuple(name for name in options["keep"] if not name.endswith("=fp32"))
    keep_fp32 = tuple(name.removesuffix("=fp32") for name in options["keep"] if name.endswith("=fp32"))
    out = without_dots(out)
    return Plan(out, form, keep, keep_fp32, options["max_drop"] / 100, engine, triton=options["triton"])


def data_plan_from_options(options: dict[str, Any]) -> DataPlan:
    """Where the data comes from."""
    from .data_plan import DataPlan

    return DataPlan(
        options["data"],
        options["layout"],
        options["calib_data"],
        options["calib_windows"],
        options["calib_method"],
        options["workers"],
    )
