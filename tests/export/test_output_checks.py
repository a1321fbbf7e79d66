"""Outputs that would replace what must stay, or cannot be written, are refused before any work."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click.testing
import pytest
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import MerError, UsageError
from merkit.export import output_files
from merkit.export.cli import main
from merkit.export.data_plan import DataPlan
from merkit.export.job import Plan
from merkit.export.output_checks import checked_outputs
from merkit.export.triton import write_repository
from small_networks import write_network


def test_every_input_is_in_the_plan(model: Path, tmp_path: Path) -> None:
    plan = checked_outputs([str(model)], ["fp16"], Plan(f"{tmp_path}/out/", "onnx"), DataPlan())
    assert plan.inputs == (model,)


@pytest.mark.parametrize("form", ["onnx", "engine"])
def test_a_part_of_another_export_in_a_repository(tmp_path: Path, form: output_files.Format) -> None:
    repository = tmp_path / "models"
    write_repository(repository, open_artifact(str(write_network(tmp_path / "a_fp16.onnx"))))
    network = str(write_network(tmp_path / "a_fp16_network.onnx"))
    suffix = ".engine" if form == "engine" else ".onnx"
    plan = Plan(f"{tmp_path}/out/a_fp16_network{suffix}", form, triton=repository)
    with pytest.raises(UsageError, match="a_fp16_network is there, and is a part of another export"):
        checked_outputs([network], ["fp16"], plan, DataPlan())
    again = dataclasses.replace(plan, out=f"{tmp_path}/out/a_fp16{suffix}")
    checked_outputs([network], ["fp16"], again, DataPlan())  # the same name again replaces all three


def test_a_repository_that_cannot_be_written(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    plan = Plan(f"{tmp_path}/out/", "onnx", triton=tmp_path / "file")
    with pytest.raises(MerError, match="cannot write into"):
        checked_outputs([str(model)], ["fp16"], plan, DataPlan())


def test_the_command_does_no_work_for_a_repository_that_it_must_not_change(
    model: Path, tmp_path: Path
) -> None:
    (tmp_path / "models" / "small_fp16_log_mel").mkdir(parents=True)
    (tmp_path / "models" / "small_fp16_log_mel" / "config.pbtxt").write_text("theirs")
    options = ["-m", str(model), "--fp16", "--format", "onnx", "-o", f"{tmp_path}/out/"]
    done = click.testing.CliRunner().invoke(main, [*options, "--triton", str(tmp_path / "models")])
    assert done.exit_code == 2
    assert "small_fp16_log_mel is there, and mer-export did not write it" in done.output
    assert done.output.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == []
