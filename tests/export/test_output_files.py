"""Names of an export's files, and outputs that are refused before any work."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import MerError, UsageError
from merkit.export.output_files import (
    Format,
    Precision,
    Targets,
    check_network,
    check_out,
    check_targets,
    check_timing_cache,
    is_folder,
    targets_of,
    without_dots,
)
from merkit.export.source import EXPORT_KEY
from onnx import helper
from small_networks import small_network, write_network


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
        tmp_path, "my_fp16.onnx", "my.engine", "my.json"
    )
    assert targets_of("my_int8.plan", "net", "int8", None) == Targets(
        Path(), "my_int8.onnx", "my_int8.plan", "my_int8.json"
    )
    assert targets_of("my.model.v2.trt", "net", "fp32", None) == Targets(
        Path(), "my.model.v2_fp32.onnx", "my.model.v2.trt", "my.model.v2.json"
    )
    assert targets_of("my.onnx", "net", "fp16", None).onnx == "my.onnx"


@given(
    st.text("ab._-é ", min_size=1).filter(lambda stem: stem.strip(". ")),
    st.sampled_from([".engine", ".plan", ".trt", ".ENGINE"]),
    st.sampled_from(["fp32", "fp16", "int8"]),
)
def test_the_graph_beside_an_engine_never_has_its_name(stem: str, suffix: str, precision: Precision) -> None:
    targets = targets_of(f"folder/{stem}{suffix}", "any", precision, None)
    assert targets.engine == f"{stem}{suffix}"
    assert targets.sidecar == f"{stem}.json"
    assert targets.onnx.endswith(f"_{precision}.onnx")
    assert targets.onnx.startswith(stem.removesuffix(f"_{precision}"))


@pytest.mark.parametrize(
    ("out", "exports", "form", "message"),
    [
        ("one.engine", 2, "engine", "names one file, but 2 exports"),
        ("one.onnx", 1, "engine", r"^'one\.onnx' must end in \.engine, \.plan, \.trt"),
        ("one", 1, "engine", "must end in"),
        ("my.model.v2", 1, "engine", "must end in"),
        (".engine", 1, "engine", "must end in"),
        ("", 1, "engine", "must end in"),
        ("one.engine", 1, "onnx", "must end in .onnx"),
        ("one.plan", 1, "onnx", "must end in .onnx"),
        ("https://host/one.onnx", 1, "onnx", "names no place on this machine"),
        ("s3://bucket/", 2, "engine", "names no place on this machine"),
    ],
)
def test_names_that_do_not_fit(out: str, exports: int, form: Format, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_out(out, exports, form)


def exported(path: Path) -> Path:
    model = small_network()
    helper.set_model_props(model, {EXPORT_KEY: "{}"})
    path.write_bytes(model.SerializeToString())
    return path


def sidecar(path: Path, engine: str) -> Path:
    path.write_text(json.dumps({"format": 1, "engine": {"file": engine}}))
    return path


def test_what_exports_wrote_is_replaced(tmp_path: Path) -> None:
    targets = targets_of(f"{tmp_path}/net.engine", "net", "fp16", None)
    check_targets(targets, "engine", [tmp_path / "net.onnx"])
    exported(tmp_path / "net_fp16.onnx")
    sidecar(tmp_path / "net.json", "net.engine")
    check_targets(targets, "engine", [tmp_path / "net.onnx"])
    (tmp_path / "net.engine").write_bytes(b"an engine")
    check_targets(targets, "engine", [tmp_path / "net.onnx"])
    sidecar(tmp_path / "net.json", "of_another_name.engine")  # both were renamed
    check_targets(targets, "engine", [tmp_path / "net.onnx"])


def test_a_name_that_is_not_utf8_is_the_one_in_its_sidecar(tmp_path: Path) -> None:
    """Which has it with an escape; that of another engine stays that one's."""
    name = os.fsdecode(b"n\xe9")
    (tmp_path / f"{name}.engine").write_bytes(b"an engine")
    for out in (f"{name}.engine", f"{name}.plan"):
        targets = targets_of(f"{tmp_path}/{out}", "net", "fp16", None)
        exported(tmp_path / targets.onnx)
        sidecar(tmp_path / targets.sidecar, "n\\xe9.engine")
        if out.endswith(".engine"):
            check_targets(targets, "engine", [])
        else:
            with pytest.raises(UsageError, match="no export of this name wrote it"):
                check_targets(targets, "engine", [])


@pytest.mark.parametrize("link", ["the name", "a symlink", "a hard link", "a link of the folder"])
@pytest.mark.parametrize("name", ["net_fp16.onnx", "net.engine", "net.json"])
def test_no_output_is_an_input(tmp_path: Path, name: str, link: str) -> None:
    """Even one that an export wrote."""
    folder = tmp_path / "models"
    folder.mkdir()
    source = folder / name
    exported(folder / "net_fp16.onnx")
    sidecar(folder / "net.json", "net.engine")
    (folder / "net.engine").write_bytes(b"an engine")
    if link == "a symlink":
        source = tmp_path / "other"
        source.symlink_to(folder / name)
    elif link == "a hard link":
        source = tmp_path / "other"
        source.hardlink_to(folder / name)
    elif link == "a link of the folder":
        (tmp_path / "linked").symlink_to(folder)
        source = tmp_path / "linked" / name
    targets = targets_of(f"{folder}/net.engine", "net", "fp16", None)
    with pytest.raises(UsageError, match=rf"{name} would replace .*, which is read"):
        check_targets(targets, "engine", [tmp_path / "else.onnx", source])


def test_an_input_that_is_not_there_yet_is_no_output(tmp_path: Path) -> None:
    targets = targets_of(f"{tmp_path}/net.engine", "net", "fp16", None)
    with pytest.raises(UsageError, match="would replace"):
        check_targets(targets, "engine", [tmp_path / "x" / ".." / "net.engine"])


def foreign_graph(folder: Path) -> None:
    write_network(folder / "net_fp16.onnx")


def text_for_a_graph(folder: Path) -> None:
    (folder / "net_fp16.onnx").write_text("notes")


def folder_for_a_graph(folder: Path) -> None:
    (folder / "net_fp16.onnx").mkdir()


def engine_alone(folder: Path) -> None:
    (folder / "net.engine").write_bytes(b"of trtexec")


def json_of_something_else(folder: Path) -> None:
    (folder / "net.json").write_text('{"engine": "none", "songs": 3}')


def deep_json(folder: Path) -> None:
    (folder / "net.json").write_text("[" * 100_000)


def sidecar_of_another_engine(folder: Path) -> None:
    (folder / "net.plan").write_bytes(b"an engine")
    sidecar(folder / "net.json", "net.plan")


def pipe_for_an_engine(folder: Path) -> None:
    sidecar(folder / "net.json", "net.engine")
    os.mkfifo(folder / "net.engine")


@pytest.mark.parametrize(
    "make",
    [
        foreign_graph, text_for_a_graph, folder_for_a_graph, engine_alone, json_of_something_else, deep_json,
        sidecar_of_another_engine, pipe_for_an_engine,
    ],
    ids=lambda make: make.__name__,
)  # fmt: skip
def test_what_no_export_wrote_stays(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path)
    with pytest.raises(UsageError, match="no export of this name wrote it"):
        check_targets(targets_of(f"{tmp_path}/net.engine", "net", "fp16", None), "engine", [])


def test_an_export_of_another_network_stays(tmp_path: Path) -> None:
    targets = targets_of(f"{tmp_path}/net.engine", "net", "fp16", None)
    path = write_network(tmp_path / "net_fp16.onnx")
    spec = open_artifact(str(path)).spec
    others = [
        dataclasses.replace(spec, labels=("a", "b", "c", "d")),
        dataclasses.replace(spec, backbone="other"),
    ]
    check_network(targets, "engine", dataclasses.replace(spec, temperature=2.0))  # trained anew
    for other in others:
        with pytest.raises(UsageError, match=r"net_fp16\.onnx is there, and is of another network \(small: "):
            check_network(targets, "engine", other)
    path.unlink()
    facts = {"engine": {"file": "net.engine"}, "model_spec": json.loads(spec.to_json())}
    (tmp_path / "net.json").write_text(json.dumps(facts))
    check_network(targets, "engine", spec)
    check_network(targets, "onnx", others[0])
    with pytest.raises(UsageError, match=r"net\.engine is there, and is of another network"):
        check_network(targets, "engine", others[0])


def test_only_the_graph_is_looked_at_where_only_it_is_written(tmp_path: Path) -> None:
    engine_alone(tmp_path)
    json_of_something_else(tmp_path)
    check_targets(targets_of(f"{tmp_path}/net.onnx", "net", "fp16", None), "onnx", [])


def test_a_name_that_is_too_long_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(MerError, match="File name too long"):
        check_targets(targets_of(f"{tmp_path}/", "n" * 260, "fp16", None), "onnx", [])


def test_a_timing_cache_replaces_nothing_else(tmp_path: Path) -> None:
    cache = tmp_path / "timings"
    check_timing_cache(cache, [tmp_path / "net.onnx"])
    cache.write_bytes(b"")
    check_timing_cache(cache, [tmp_path / "net.onnx"])
    with pytest.raises(UsageError, match="would replace"):
        check_timing_cache(cache, [cache])
    write_network(tmp_path / "other.onnx")
    with pytest.raises(UsageError, match="is no timing cache"):
        check_timing_cache(tmp_path / "other.onnx", [])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is no timing cache"):
        check_timing_cache(tmp_path / "pipe", [])
    with pytest.raises(MerError, match="no folder"):
        check_timing_cache(tmp_path / "nowhere" / "timings", [])


def test_a_folder_that_is_stepped_out_of_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/deep")
    assert without_dots("./sub/../net.onnx") == str(tmp_path / "net.onnx")
    assert without_dots("sub/../") == f"{tmp_path}/"
    assert without_dots("link/../net.onnx") == str(tmp_path / "real" / "net.onnx")
    for out in (".", "./net.onnx", "link/net.onnx", "new/", "https://host/net.onnx"):
        assert without_dots(out) == out


def test_a_folder_is_made_and_one_that_cannot_be_is_refused(tmp_path: Path) -> None:
    check_out(f"{tmp_path}/new/", 2, "onnx")
    check_out(f"{tmp_path}/new/my.engine", 1, "engine")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    for out in (f"{tmp_path}/file/x.engine", f"{tmp_path}/file/sub/"):
        with pytest.raises(MerError, match="cannot write into"):
            check_out(out, 1, "engine")
