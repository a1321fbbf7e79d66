"""An ``Evaluation`` as a page that needs no network, and its matrices as pictures."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

from ...engine.text.escape import for_terminal, policy_hash
from .evaluate import Evaluation, ModelResult
from .scores import Scores
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
    """One page, of the standard library alone: every install can write it.

    Nothing in names of files, labels and models can become markup: ``_text`` makes all text.
    """
    report = resources.files("merkit.benchmarks.results") / "report.css"
    style = report.read_text(encoding="utf-8") + _MORE_STYLE
    policy = f"default-src 'none'; style-src '{policy_hash(style)}'; base-uri 'none'; form-action 'none'"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>mer-eval: how right</title><style>{style}</style></head>",
        "<body><header><h1>mer-eval: how right</h1></header><main>",
        f'<p class="soft">{_text(facts_of(evaluation))}</p>',
        "<section><h2>Models</h2>",
        _table(overview(evaluation), 1),
        *(f"<p>{_text(line)}</p>" for line in differences(evaluation)),
        "</section>",
        *(_section(model) for model in evaluation.models),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


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


def _section(model: ModelResult) -> str:
    """A model's tables; its matrix has shades by the share of each row."""
    parts = [
        f"<section><h2>{_text(model.name)}</h2>",
        f'<p class="soft">{_text(model.runtime)}, SHA-256 {_text(model.sha256)}</p>',
        *(f'<p class="warning" role="note">{_text(line)}</p>' for line in remarks_of(model)),
    ]
    for title, rows in tables_of(model.scores).items():
        shown = _matrix(model.scores) if title == "Confusion" else _table(rows, 1)
        parts += [f"<h3>{_text(title)}</h3>", shown]
    if wrong := wrong_table(model.scores):
        parts += ["<h3>Most surely wrong</h3>", _table(wrong, len(wrong[0]))]
    return "\n".join([*parts, "</section>"])


def _table(rows: Sequence[Sequence[str]], text_columns: int) -> str:
    """A table whose first row is the header, and whose columns after the first ones are numbers."""
    kinds = ["" if place < text_columns else ' class="number"' for place in range(len(rows[0]))]
    head, *body = (list(zip(row, kinds, strict=True)) for row in rows)
    cells = "".join(f'<th scope="col"{kind}>{_text(cell)}</th>' for cell, kind in head)
    lines = [
        f'<tr><th scope="row">{_text(first)}</th>'
        + "".join(f"<td{kind}>{_text(cell)}</td>" for cell, kind in others)
        + "</tr>"
        for (first, _), *others in body
    ]
    return _scrolling("plain", cells, lines)


def _matrix(scores: Scores) -> str:
    cells = '<th scope="col">is \\ said</th>' + "".join(
        f'<th scope="col" title="{_text(label)}">{_text(label)}</th>' for label in scores.columns
    )
    lines = []
    for row, counts in zip(scores.by_label, scores.confusion, strict=True):
        line = f'<tr><th scope="row" title="{_text(row.label)}">{_text(row.label)}</th>'
        for column, count in zip(scores.columns, counts, strict=True):
            share, right = count / row.clips, " right" if column == row.label else ""
            line += f'<td class="h{round(10 * share)}{right}">{count}<small>{100 * share:.0f}%</small></td>'
        lines.append(f"{line}</tr>")
    return _scrolling("matrix", cells, lines)


def _scrolling(kind: str, head: str, lines: Iterable[str]) -> str:
    """A table that scrolls sideways on a narrow screen."""
    body = "\n".join(lines)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Table"><table class="{kind}">'
        f"<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def _text(text: str) -> str:
    """Text of a page, or of an attribute in double quotes."""
    return html.escape(for_terminal(text))
