import numpy as np
from bench_results import read, results_values, row_values
from merkit.benchmarks.results.scatter import SHAPES, scatter


def test_names_cross_no_other_name() -> None:
    rng = np.random.default_rng(1)
    rows = [row_values(f"net{i}", "openvino", rng.uniform(90, 130), rng.uniform(0.6, 0.7)) for i in range(30)]
    chart = scatter(read({**results_values(), "rows": rows}).rows)
    assert chart
    left, top, right, bottom = chart["box"]
    boxes = []
    for point in chart["points"]:
        assert left <= point.x <= right
        assert top <= point.y <= bottom
        if point.label:
            x, y, anchor = point.label
            width = 6.7 * len(point.row.name)
            begin = x - {"start": 0, "middle": width / 2, "end": width}[anchor]
            boxes.append((begin, y - 12, begin + width, y + 4))
    assert len(boxes) > 3
    for i, a in enumerate(boxes):
        assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in boxes[i + 1 :])


def test_rows_of_unknown_accuracy_lie_on_the_strip() -> None:
    chart = scatter(read(results_values()).rows)
    assert chart
    assert [point.row.model for point in chart["strip"]] == ["peer"]
    assert {point.row.model for point in chart["points"]} == {"best", "quick", "middling"}
    assert {point.shape for point in chart["points"]} == {SHAPES["fp32"]}
    best = next(point for point in chart["points"] if point.row.model == "best")
    quick = next(point for point in chart["points"] if point.row.model == "quick")
    assert best.x < quick.x
    assert best.y < quick.y  # pixels count from the top
    assert best.vertical is not None
    assert best.vertical[1] < best.y < best.vertical[0]
    assert chart["front"].startswith(f"M{chart['box'][0]} {best.y}")


def test_no_scatter_without_accuracy() -> None:
    values = results_values()
    assert scatter(read({**values, "rows": values["rows"][3:]}).rows) is None
    assert scatter([]) is None
