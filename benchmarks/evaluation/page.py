"""An ``Evaluation`` as a page that needs no network, and its matrices as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ..results.page import page_from_template
from .evaluate import Evaluation, ModelResult
from .text import differences, facts_of, overview, remarks_of, tables_of, wrong_table

_MORE_STYLE = """
h3 { margin: 18px 0 6px; font-size: 15px; }
.plain { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
.plain th, .plain td { padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); }
.plain th, .plain td { text-align: left; font-weight: 400; }
.plain thead th { color: var(--soft); }
.plain .number { text-align: right; padding-left: 12px; white-space: nowrap; }
"""


def html_from_evaluation(evaluation: Evaluation) -> str:
    """One page. Nothing in names of files, labels and models can become markup.

    Raises:
        MerError: jinja2 is not installed.
    """
    template = resources.files(__package__ or "") / "evaluation.html.j2"
    style = resources.files("merkit.benchmarks.results") / "report.css"
    values = {
        "facts": facts_of(evaluation),
        "overview": overview(evaluation),
        "differences": differences(evaluation),
        "models": [_view(model) for model in evaluation.models],
    }
    texts = template.read_text(encoding="utf-8"), style.read_text(encoding="utf-8") + _MORE_STYLE
    return page_from_template(*texts, values)


def png_files(models: int, path: Path) -> list[Path]:
    """A file for each of so many models: ``path`` itself for one, else with -1, -2 and so on in its name."""
    if models == 1:
        return [path]
    return [path.with_stem(f"{path.stem}-{place}") for place in range(1, models + 1)]


def write_pngs(evaluation: Evaluation, files: Sequence[Path]) -> None:
    """The confusion matrix of each model as a picture, in the order of the models.

    Raises:
        ModuleNotFoundError: Matplotlib is not installed.
        OSError: a file cannot be written.
    """
    from ...training.evaluate.figures import confusion_png

    for model, file in zip(evaluation.models, files, strict=True):
        scores = model.scores
        title = f"{model.name}: macro-F1 {scores.macro_f1:.3f}, accuracy {scores.accuracy:.3f}"
        labels = [row.label for row in scores.by_label]
        confusion_png(scores.confusion, labels, file, title, scores.columns)


def _view(model: ModelResult) -> dict[str, Any]:
    scores = model.scores
    matrix = []
    for row, counts in zip(scores.by_label, scores.confusion, strict=True):
        shares = [count / row.clips for count in counts]
        cells = [
            (count, f"{100 * share:.0f}", round(10 * share), column == row.label)
            for count, share, column in zip(counts, shares, scores.columns, strict=True)
        ]
        matrix.append((row.label, cells))
    return {
        "name": model.name,
        "runtime": model.runtime,
        "sha256": model.sha256,
        "remarks": remarks_of(model),
        "tables": tables_of(scores),
        "columns": scores.columns,
        "matrix": matrix,
        "wrong": wrong_table(scores),
    }
