"""Names of an export's files, and outputs that are refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
from merkit.engine.errors import MerError, UsageError
from merkit.export.output_files import Format, Targets, check_out, is_folder, targets_of


def test_a_folder_exists_or_ends_in_a_slash(tmp_path: Path) -> None:
    assert is_folder(str(tmp_path))
    assert is_folder(f"{tmp_path}/new/")
    assert not is_folder(f"{tmp_path}/new")


def test_files_are_named_after_model_precision_and_family(tmp_path: Path) -> None:
    out = f"{tmp_path}/"
    assert targets_of(out, "net", "fp16", None) == Targets(
        tmp_path, "net_fp16.onnx", "net_fp16.engine", "net_fp16.json"
    )
    assert targets_of(out, "net", "int8", "ada") == Targets(
        tmp_path, "net_int8.onnx", "net_ada_int8.engine", "net_ada_int8.json"
    )
    assert targets_of(f"{tmp_path}/my.engine", "net", "fp16", "ada") == Targets(
        tmp_path, "my.onnx", "my.engine", "my.json"
    )
    assert targets_of("my.onnx", "net", "fp16", None).onnx == "my.onnx"


@pytest.mark.parametrize(
    ("out", "exports", "form", "message"),
    [
        ("one.engine", 2, "engine", "names one file, but 2 exports"),
        ("one.onnx", 1, "engine", "must name an .engine file"),
        ("one", 1, "engine", "must name an .engine file"),
        ("one.engine", 1, "onnx", "must end in .onnx"),
    ],
)
def test_names_that_do_not_fit(out: str, exports: int, form: Format, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_out(out, exports, form)


def test_a_folder_is_made_and_one_that_cannot_be_is_refused(tmp_path: Path) -> None:
    check_out(f"{tmp_path}/new/", 2, "onnx")
    check_out(f"{tmp_path}/new/my.engine", 1, "engine")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    for out in (f"{tmp_path}/file/x.engine", f"{tmp_path}/file/sub/"):
        with pytest.raises(MerError, match="cannot write into"):
            check_out(out, 1, "engine")
