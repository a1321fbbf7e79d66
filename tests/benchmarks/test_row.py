from dataclasses import fields

from merkit.benchmarks.row import BASELINES, BENCH_RUNTIMES, Results, Row
from merkit.engine.runtimes import RUNTIMES


def test_runtimes_are_the_engines_and_the_baselines() -> None:
    assert set(BENCH_RUNTIMES) == {*RUNTIMES, *BASELINES} - {"null", "openvino-bf16"}
    # The colours of report.css and the order of --runtime's names.
    assert BENCH_RUNTIMES == (
        "onnxruntime", "openvino", "tensorrt", "onnxruntime_rtx", "torch", "torch.compile",
    )  # fmt: skip


def test_a_new_row_claims_nothing() -> None:
    row = Row("net", runtime="openvino", precision="int8")
    assert row.name == "net int8, openvino"
    assert (row.status, row.pareto, row.reason) == ("ok", False, None)
    assert not any(getattr(row, field.name) for field in fields(row) if "float" in str(field.type))
    assert not Results().valid
