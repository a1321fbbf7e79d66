"""A table says which runtime labels; what it asks for must be there, and what it holds must be a table."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NoReturn

import pytest
from merkit.engine.artifact import Artifact, open_artifact
from merkit.engine.errors import MerError
from merkit.engine.runtimes import RUNTIMES, choice, name_of_runtime
from merkit.engine.runtimes.choice import PACKAGES, SHIPPED, chosen_runtime, own_table, row_for, rows_of


@pytest.fixture
def model(tiny_model: Path) -> Artifact:
    return open_artifact(str(tiny_model))


@pytest.fixture(autouse=True)
def _cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with two features, and OpenVINO installed."""
    monkeypatch.setattr(choice, "cpu_features", lambda: ("avx2", "amx_bf16"))
    monkeypatch.setattr(choice, "find_spec", lambda name: ModuleSpec(name, None))


def write_row(model: Artifact, **changes: Any) -> dict[str, Any]:
    row = {
        "network": model.name,
        "sha256": model.sha256,
        "cpu": ["amx_bf16"],
        "faster": ["openvino-bf16", "openvino"],
        "tried": {"openvino": "2 % less CPU", "openvino-bf16": "9 % less CPU"},
        **changes,
    }
    own_table().parent.mkdir(exist_ok=True)
    own_table().write_text(json.dumps([row]))
    return row


def test_the_best_that_was_measured(model: Artifact) -> None:
    assert chosen_runtime(model)[0] == "onnxruntime"  # nobody has measured it
    write_row(model)
    assert chosen_runtime(model) == ("openvino-bf16", "measured here: 9 % less CPU")
    assert name_of_runtime(model) == name_of_runtime(model, "auto") == "openvino-bf16"
    assert name_of_runtime(model, "onnxruntime") == "onnxruntime"


@pytest.mark.parametrize(
    "changes", [{"cpu": ["avx512f"]}, {"sha256": "0" * 64}, {"faster": []}, {"faster": [], "tried": {}}]
)
def test_another_cpu_or_network_or_nothing_faster(model: Artifact, changes: dict[str, Any]) -> None:
    write_row(model, **changes)
    assert chosen_runtime(model)[0] == "onnxruntime"


def test_of_several_models_what_is_chosen_for_all(model: Artifact) -> None:
    """A row is one network's: another may lose labels by that runtime."""
    write_row(model)
    other = replace(model, name="other", sha256="0" * 64)
    for both in (replace(model, further=(other,)), replace(other, further=(model,))):
        runtime, why = chosen_runtime(both)
        assert runtime == name_of_runtime(both) == "onnxruntime"
        assert f"openvino-bf16 for {model.name}" in why
        assert "onnxruntime for other" in why
    assert chosen_runtime(replace(model, further=(model,))) == chosen_runtime(model)
    assert chosen_runtime(replace(other, further=(other,))) == chosen_runtime(other)


def test_what_is_not_installed_is_not_chosen(model: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    write_row(model)
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    runtime, why = chosen_runtime(model)
    assert runtime == "onnxruntime"
    assert why.endswith("openvino is not installed")


def test_the_row_that_asks_for_most_features_counts(model: Artifact) -> None:
    plain = {"sha256": "a", "cpu": ["avx2"]}
    new = {"sha256": "a", "cpu": ["avx2", "amx_bf16"]}
    other = {"sha256": "a", "cpu": ["avx2", "amx_bf16", "sve"]}
    assert row_for([plain, new, other], "a", {"avx2", "amx_bf16"}) is new
    assert row_for([plain, new, other], "a", {"avx2"}) is plain
    assert row_for([plain], "b", {"avx2"}) is None


@pytest.mark.parametrize(
    "text",
    ["{}", "[1]", "no JSON", '[{"network": "a"}]', '[{"a": NaN}]', "\xff"],
)
def test_a_table_that_is_none_is_said(model: Artifact, text: str) -> None:
    write_row(model)
    own_table().write_bytes(text.encode("latin-1"))
    with pytest.raises(MerError, match=r"choices\.json (cannot be read|is no table).*measure anew"):
        rows_of(own_table())


@pytest.mark.parametrize(
    "changes",
    [
        {"faster": ["tensorrt"], "tried": {"tensorrt": ""}},
        {"faster": ["openvino"], "tried": {}},
        {"cpu": "avx"},
    ],
)
def test_a_row_that_is_none_is_said(model: Artifact, changes: dict[str, Any]) -> None:
    write_row(model, **changes)
    with pytest.raises(MerError, match="is no table of runtimes"):
        chosen_runtime(model)


def test_without_a_home_there_is_the_shipped_table(model: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise MerError("no home")

    monkeypatch.setattr(choice, "models_home", homeless)
    assert chosen_runtime(model)[0] == "onnxruntime"


def test_in_the_home_of_another_user_there_is_the_shipped_table(
    model: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HOME is root's in many containers, whoever runs in them."""
    table = own_table()
    table.parent.mkdir(exist_ok=True)
    table.write_text("[]")

    def refused(path: Path, mode: str = "r") -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(MerError, match=r"cannot be read \(Permission denied\)"):
        rows_of(table)
    monkeypatch.setattr(os, "access", lambda path, mode: path != table.parent)
    assert rows_of(table) == []


def test_the_shipped_table_is_of_the_bundled_networks() -> None:
    assert set(PACKAGES) < set(RUNTIMES)
    for row in rows_of(SHIPPED):
        of_the_package = open_artifact(row["network"]).sha256
        assert row["sha256"] == of_the_package, "measure this network anew, or leave its row out"
        assert set(row["tried"]) <= set(PACKAGES)


def test_ones_own_table_goes_before_the_shipped_one(
    model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which says what the own one does not."""
    row = write_row(model, faster=["openvino"])
    shipped = tmp_path / "shipped.json"
    shipped.write_text(json.dumps([{**row, "faster": ["openvino-bf16"]}]))
    monkeypatch.setattr(choice, "SHIPPED", shipped)
    assert chosen_runtime(model) == ("openvino", "measured here: 2 % less CPU")
    write_row(model, sha256="0" * 64)
    assert chosen_runtime(model) == ("openvino-bf16", "the shipped table: 9 % less CPU")


def test_the_next_one_is_chosen_where_the_best_is_not_installed(
    model: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = {"openvino": "9 % less CPU", "onnxruntime": "as it is"}
    write_row(model, faster=["openvino", "onnxruntime"], tried=tried)
    installed = {"onnxruntime": ModuleSpec("onnxruntime", None)}
    monkeypatch.setattr(choice, "find_spec", installed.get)
    assert chosen_runtime(model) == ("onnxruntime", "measured here: as it is")
    write_row(model)  # openvino-bf16 is a runtime of the package openvino
    monkeypatch.setattr(choice, "find_spec", {"openvino": ModuleSpec("openvino", None)}.get)
    assert chosen_runtime(model)[0] == "openvino-bf16"
