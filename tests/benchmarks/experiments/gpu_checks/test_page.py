"""The page: every check in a table, tables of figures, and nothing of a message that Markdown would read."""

from __future__ import annotations

from merkit.benchmarks.experiments.gpu_checks.page import page_from_report

MACHINE = {
    "gpu": {"name": "H9 | x"},
    "cpu": "a CPU",
    "cores": 16,
    "python": "3.12.3",
    "libraries": {"torch": "2"},
}


def test_the_page() -> None:
    rows = [{"network": "a", "batch_1": 12_345.6}, {"network": "b", "error": 0.00123456}]
    checks = [
        {
            "name": "networks",
            "asks": "Do they agree?",
            "status": "passed",
            "seconds": 12.3,
            "summary": "all | of <them>",
            "figures": {"networks": rows, "batches": {"host": 5}},
        },
        {"name": "mel", "asks": "?", "status": "hung", "seconds": 1.0, "summary": "\x1b[31m", "figures": {}},
    ]
    page = page_from_report({"machine": MACHINE, "checks": checks})
    assert "| networks | Do they agree? | passed | 12 | all" in page
    assert "<them>" not in page
    assert "\x1b" not in page
    lines = page.splitlines()
    at = lines.index("## networks: networks")
    assert lines[at + 2 : at + 6] == [
        "| network | batch\\_1 | error |",
        "|---|---|---|",
        "| a | 12,346 |  |",
        "| b |  | 0.001235 |",
    ]
    assert "- host: 5" in lines
    widths = {line.count("|") - line.count("\\|") for line in lines[at + 2 : at + 6]}
    assert widths == {4}
