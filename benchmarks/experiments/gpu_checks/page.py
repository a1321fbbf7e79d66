"""The page of the first hour: Markdown, made of its JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ....engine.text.escape import for_markdown

TITLE = "# The first hour on a GPU"
"""The page's first line."""


def page_from_report(report: Mapping[str, Any]) -> str:
    """A table of the checks, then the figures of each."""
    machine = report["machine"]
    gpu = machine.get("gpu") or {}
    lines = [TITLE, ""]
    facts = {**gpu, "cpu": f"{machine['cpu']}, {machine['cores']} cores", "python": machine["python"]}
    lines += [f"- {_cell(name)}: {_cell(value)}" for name, value in {**facts, **machine["libraries"]}.items()]
    lines += ["", "| check | asks | result | seconds | |", "|---|---|---|---:|---|"]
    for check in report["checks"]:
        cells = (check["name"], check["asks"], check["status"], f"{check['seconds']:.0f}", check["summary"])
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    for check in report["checks"]:
        for name, value in check["figures"].items():
            lines += ["", f"## {_cell(check['name'])}: {_cell(name)}", "", *_figure(value)]
    return "\n".join(lines) + "\n"


def _figure(value: Any) -> Iterator[str]:
    """Rows of the same names become a table, names and values a list."""
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        heads = list(dict.fromkeys(name for row in value for name in row))
        yield f"| {' | '.join(map(_cell, heads))} |"
        yield "|" + "---|" * len(heads)
        for row in value:
            yield f"| {' | '.join(_cell(row.get(head)) for head in heads)} |"
    elif isinstance(value, Mapping):
        yield from (f"- {_cell(name)}: {_cell(each)}" for name, each in value.items())
    else:
        yield _cell(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return for_markdown(str(value))
