"""What a run will write, checked as a whole before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from .data_plan import DataPlan
from .job import Plan
from .output_files import Precision, check_out, check_targets, check_timing_cache, check_writable, targets_of
from .source import name_of_source, path_of_source
from .triton import check_names


def checked_outputs(
    models: Sequence[str], precisions: Sequence[Precision], plan: Plan, data: DataPlan
) -> Plan:
    """The plan with every input in it, once no file that will be written can replace one.

    Raises:
        UsageError: an unknown model, an output that does not fit, or one that would replace what must stay.
        MerError: a folder cannot be written into.
    """
    check_out(plan.out, len(models) * len(precisions), plan.form)
    sources = [path_of_source(model) for model in models]
    inputs = (*sources, *data.inputs)
    if plan.engine.timing_cache is not None:
        check_timing_cache(plan.engine.timing_cache, inputs)
        inputs += (plan.engine.timing_cache,)
    for source, precision in product(sources, precisions):
        targets = targets_of(plan.out, name_of_source(source), precision, plan.engine.gpu)
        check_targets(targets, plan.form, inputs)
        if plan.triton is not None:
            check_names(plan.triton, Path(targets.onnx if plan.form == "onnx" else targets.engine).stem)
    if plan.triton is not None:
        check_writable(plan.triton)
    return replace(plan, inputs=inputs)
