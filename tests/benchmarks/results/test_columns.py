from bench_results import read, results_values
from merkit.benchmarks.results.columns import COLUMNS, Cell
from merkit.benchmarks.row import Row


def cells(row: Row) -> dict[str, Cell]:
    return {column.title: column.cell(row) for column in COLUMNS}


def test_a_measured_row() -> None:
    row = cells(read(results_values()).rows[0])
    assert row["model"] == Cell("best", "best", "model")
    assert row["macro-F1"] == Cell("0.800", "0.8", "number", "0.700 to 0.900")
    assert row["size"] == Cell("6.0", "6000000.0", "number")
    assert row["roofline"] == Cell("40%", "0.4", "number", "compute")
    assert row["p99"] == Cell("-", "", "number")


def test_what_was_not_measured_is_a_dash_and_sorts_last() -> None:
    row = cells(Row("net", source="untrained"))
    assert row["model"].more == "random weights"
    assert {cell.text for title, cell in row.items() if title != "model"} == {"-"}
    assert {cell.key for cell in row.values() if cell.kind == "number"} == {""}


def test_the_first_click_puts_the_better_ones_first() -> None:
    first = {column.title: column.first for column in COLUMNS}
    assert (first["images/s"], first["p50"], first["model"]) == ("falling", "rising", "rising")
