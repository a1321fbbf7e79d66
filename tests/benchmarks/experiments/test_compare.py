import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from merkit.benchmarks.cli import main
from merkit.benchmarks.experiments.compare import compare_models, ratio_of_pairs, ratio_of_samples
from merkit.engine.errors import MerError, UsageError
from small_networks import write_network

times = st.floats(0.5, 2.0)


@given(st.lists(st.tuples(times, times), min_size=5, max_size=30))
def test_the_interval_holds_the_ratio_and_turns_round(pairs: list[tuple[float, float]]) -> None:
    found, back = ratio_of_pairs("", pairs), ratio_of_pairs("", [(b, a) for a, b in pairs])
    assert found.low <= found.ratio <= found.high
    if len(pairs) % 2:  # the median of an even number is a mean, which does not invert
        assert back.ratio == pytest.approx(1 / found.ratio)


@given(st.lists(times, min_size=3, max_size=20), st.floats(0.2, 5))
def test_a_constant_factor_is_found(samples: list[float], factor: float) -> None:
    found = ratio_of_samples("", samples, [factor * each for each in samples])
    assert found.ratio == pytest.approx(factor)
    assert found.low <= found.ratio * (1 + 1e-9)
    assert found.high >= found.ratio * (1 - 1e-9)


def results(path: Path, images_per_s: float, **row: Any) -> Path:
    known = {"model": "net", "runtime": "onnxruntime", "precision": "fp32", "status": "ok"}
    samples = [images_per_s * noise for noise in (0.98, 1.0, 1.01, 0.99, 1.02)]
    path.write_text(
        json.dumps(
            {
                "rows": [{**known, "throughput_samples": samples, **row}],
                "machine": {"cpu": "a"},
                "valid": True,
            }
        )
    )
    return path


def test_two_results_files_and_the_gate(tmp_path: Path) -> None:
    before = str(results(tmp_path / "before.json", 100.0))
    slower, same = results(tmp_path / "slower.json", 80.0), results(tmp_path / "same.json", 99.0)
    done = CliRunner().invoke(main, ["compare", before, str(slower), "--fail-under", "0.95"])
    assert done.exit_code == 3
    assert "0.800x" in done.output
    assert "is 0.800x, under 0.95" in done.output
    assert CliRunner().invoke(main, ["compare", before, str(slower)]).exit_code == 0
    done = CliRunner().invoke(main, ["compare", before, str(same), "--fail-under", "0.95"])
    assert done.exit_code == 0


def test_results_that_cannot_be_compared(tmp_path: Path, tiny_model: Path) -> None:
    before = str(results(tmp_path / "before.json", 100.0))
    other = str(results(tmp_path / "other.json", 100.0, model="another"))
    done = CliRunner().invoke(main, ["compare", before, other])
    assert (done.exit_code, "no measured row in common" in done.output) == (1, True)
    (tmp_path / "strange.json").write_text("[]")
    done = CliRunner().invoke(main, ["compare", before, str(tmp_path / "strange.json")])
    assert (done.exit_code, "no results file" in done.output) == (1, True)
    assert CliRunner().invoke(main, ["compare", before, str(tiny_model)]).exit_code == 2


def test_another_machine_is_said(tmp_path: Path) -> None:
    before, after = results(tmp_path / "a.json", 100.0), results(tmp_path / "b.json", 100.0)
    after.write_text(after.read_text().replace('"cpu": "a"', '"cpu": "b"'))
    assert "machines differ in cpu" in CliRunner().invoke(main, ["compare", str(before), str(after)]).output


def test_models_in_turns(tmp_path: Path) -> None:
    small = write_network(tmp_path / "small.onnx")
    found, pairs = compare_models(str(small), str(small), pairs=6, threads=1)
    assert len(pairs) == 6
    assert found.low <= found.ratio <= found.high
    with pytest.raises(UsageError, match="unknown runtime"):
        compare_models(f"{small}@nothing", str(small))
    with pytest.raises(UsageError, match="unknown model"):
        compare_models("nothing", str(small))


def test_a_side_that_cannot_run(tmp_path: Path) -> None:
    small = write_network(tmp_path / "small.onnx")
    with pytest.raises(MerError, match=r"small on torch: .*backbone"):
        compare_models(str(small), f"{small}@torch")
