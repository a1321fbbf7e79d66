"""The command: what it writes, what it refuses and how it ends."""

from __future__ import annotations

import hashlib
import json
import pickle
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import onnx
import pytest
from merkit.engine.artifact import SPEC_KEY, open_artifact
from merkit.engine.spec import QUADRANTS, AudioSpec, ModelSpec
from merkit.export import builders, exporter
from merkit.export.builders import NoBuilderError
from merkit.export.cli import main
from merkit.export.source import EXPORT_KEY
from onnx import helper
from small_networks import AUDIO, small_network, write_network

pytest.importorskip("tensorrt_rtx")
pytestmark = pytest.mark.usefixtures("no_gpu")


def run(*arguments: object) -> click.testing.Result:
    result = click.testing.CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_users_exact_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("--model", "mobilenetv3", "--fp16")
    assert result.exit_code == 0, result.output
    files = ["mobilenetv3_fp16.engine", "mobilenetv3_fp16.json", "mobilenetv3_fp16.onnx"]
    assert left_in(tmp_path) == files
    engine, sidecar_path, graph = (tmp_path / name for name in files)
    sidecar = json.loads(sidecar_path.read_text())
    assert sidecar["engine"]["sha256"] == sha256(engine)
    assert sidecar["onnx"]["sha256"] == sha256(graph)
    assert sidecar["builder"] == "tensorrt_rtx"
    assert "portable" in sidecar["compute_capability"]["target"]
    assert sidecar["precision_parsed"]["convolution"] == {"fp16": 52}
    assert sidecar["parity"]["images"] == "synthetic"
    assert set(sidecar["parity"]["by_batch"]) == {"1", "2", "64"}
    assert sidecar["accuracy"] is None
    assert sidecar["engine_parity"]["checked"] is False
    source = open_artifact("mobilenetv3")
    assert sidecar["source"]["sha256"] == source.sha256
    assert ModelSpec.from_json(json.dumps(sidecar["model_spec"])) == source.spec
    assert open_artifact(str(graph)).spec == source.spec
    assert "rounding only" in result.output


def test_with_data_accuracy_is_scored_and_int8_calibrated(model: Path, music: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--data", music, "--calib-windows", 16, "-j", 1, "--max-drop", 100)
    result = run("--model", model, "--fp16", "--int8", "--gpu", "ada", "-o", f"{out}/", *options)
    assert result.exit_code == 0, result.output
    assert left_in(out) == [
        f"small_{name}"
        for name in (
            "ada_fp16.engine",
            "ada_fp16.json",
            "ada_int8.engine",
            "ada_int8.json",
            "fp16.onnx",
            "int8.onnx",
        )
    ]
    sidecar = json.loads((out / "small_ada_int8.json").read_text())
    assert sidecar["parity"]["images"] == "clips"
    assert sidecar["accuracy"]["songs"] == 8
    assert sidecar["accuracy"]["drop"] <= 1
    assert "80/20 by group" in sidecar["accuracy"]["of"]
    assert sidecar["accuracy"]["labels"] == list(QUADRANTS)
    assert sidecar["skipped"] == []
    assert sidecar["calibration"]["files"] == sidecar["calibration"]["windows"] == 16
    assert "INT8 is calibrated on too little: 16 different windows" in result.output
    assert sidecar["calibration"]["method"] == "percentile"
    assert sidecar["precision_parsed"]["convolution"] == {"int8": 6, "fp16": 3}
    assert sidecar["compute_capability"] == {"target": "ada", "capabilities": ["8.9"]}
    inside = {prop.key: prop.value for prop in onnx.load(str(out / "small_int8.onnx")).metadata_props}
    assert json.loads(inside[EXPORT_KEY])["precision"] == "int8"
    assert SPEC_KEY in inside
    again = run("--model", model, "--int8", "--format", "onnx", "-o", f"{out}/", *options)
    assert "calibrating" not in again.output  # kept by hash
    assert again.exit_code == 0


def test_a_network_that_heard_the_data_is_compared_and_not_scored(music: Path, tmp_path: Path) -> None:
    heard = " ".join(sorted(sha256(path)[:16] for path in music.parent.glob("*.wav")))
    network = write_network(tmp_path / "final.onnx", test_clips=[], heard_clips=heard)
    out = tmp_path / "out"
    options = ("--data", music, "-j", 1, "--gpu", "ada", "-o", f"{out}/")
    result = run("--model", network, "--fp32", "--fp16", "--max-drop", 100, *options)
    assert result.exit_code == 0, result.output
    assert "8 songs, on clips it was trained on: no accuracy is claimed; " in result.output
    assert "may have been trained" not in result.output
    sidecar = json.loads((out / "final_ada_fp16.json").read_text())
    assert sidecar["accuracy"] is None
    compared = sidecar["on_trained_clips"]
    assert (compared["songs"], compared["claimed"], compared["drop_interval"]) == (8, False, None)
    assert compared["flips"] == sidecar["parity"]["flips"]
    assert "macro_f1" not in compared
    assert compared["of"] == "clips that the model was trained on: no accuracy is claimed"
    assert sidecar["model_spec"]["provenance"]["heard_clips"] == heard
    refused = run("--model", network, "--fp16", "--max-drop", -101, *options)
    assert refused.exit_code == 3


def test_the_accuracy_gate_refuses_and_writes_nothing(model: Path, music: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--data", music, "--calib-windows", 8, "-j", 1, "-o", f"{out}/", "--format", "onnx")
    result = run("--model", model, "--int8", "--max-drop", -101, *options)
    assert result.exit_code == 3, result.output
    assert "macro-F1" in result.output
    assert "--keep" in result.output
    assert left_in(out) == []


def test_the_range_gate_refuses_and_names_the_layer(tmp_path: Path) -> None:
    loud = write_network(tmp_path / "loud.onnx", gain=3e3)
    out = tmp_path / "out"
    result = run("--model", loud, "--fp16", "-o", f"{out}/")
    assert result.exit_code == 3
    assert "overflows at" in result.output
    assert left_in(out) == []
    kept = [word for word in result.output.split() if word.endswith("=fp32")]
    assert "stem=fp32" in kept
    network = onnx.load(str(loud))
    for node in network.graph.node:
        node.name = f"net/{node.name};net/{node.name} $HOME"  # as TensorFlow names layers
    onnx.save(network, str(loud))
    hint = run("--model", loud, "--fp16", "-o", f"{out}/").output.partition(". Try ")[2]
    words = shlex.split(hint.partition(" (and ")[0])
    assert words[:2] == ["--keep", "net/stem;net/stem $HOME=fp32"]
    assert words[::2] == ["--keep"] * (len(words) // 2)


def test_sensitivity_ranks_and_keep_leaves_fp16(
    model: Path, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--calib-data", music.parent, "--calib-windows", 64, "-j", 1)
    result = run("--model", model, "--int8", "--sensitivity", *options)
    assert result.exit_code == 0, result.output
    ranked = [line.split()[1] for line in result.output.splitlines() if "%" in line]
    assert sorted(ranked) == ["expand", "head", "project", "res_1", "res_2", "res_down", "stem"]
    with monkeypatch.context() as patch:  # of what is held out, which is not scored here
        patch.setattr("merkit.export.eval_set.log_mels_from_songs", None)
        labelled = run("--model", model, "--int8", "--sensitivity", "--data", music, "-j", 1)
    assert labelled.exit_code == 0, labelled.output
    assert "calibrating (percentile) on 256 windows of 32 files" in labelled.output
    assert "scored" not in labelled.output
    result = run("--model", model, "--int8", "--sensitivity", "--keep", "nope", *options)
    assert result.exit_code == 2
    assert "no layer nope in the graph" in result.output
    out = tmp_path / "out"
    result = run(
        "--model", model, "--int8", "--keep", "res_1", "--keep", "res_2=fp32", "-o", f"{out}/", *options
    )
    assert result.exit_code == 0, result.output
    sidecar = json.loads((out / "small_int8.json").read_text())
    assert sidecar["precision_parsed"]["convolution"] == {"int8": 4, "fp16": 4, "fp32": 1}
    assert sidecar["accuracy"] is None


def test_fp32_is_made_when_no_precision_is_named(model: Path, tmp_path: Path) -> None:
    result = run("--model", model, "-o", tmp_path / "my.engine", "--max-batch", 8)
    assert result.exit_code == 0, result.output
    assert {"my.engine", "my.json", "my_fp32.onnx"} <= set(left_in(tmp_path))
    sidecar = json.loads((tmp_path / "my.json").read_text())
    assert sidecar["precision"] == "fp32"
    assert [sidecar["profiles"]["images"][size][0] for size in ("min", "opt", "max")] == [1, 8, 8]
    assert open_artifact(str(tmp_path / "my_fp32.onnx")).spec.backbone == "small"


def test_all_exports_what_is_known_and_goes_on_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "mer-home" / "models"
    home.mkdir(parents=True)
    write_network(home / "good.onnx")
    (home / "broken.onnx").write_bytes(b"nothing")
    exported = onnx.load_from_string(small_network().SerializeToString())
    helper.set_model_props(exported, {SPEC_KEY: "{}", EXPORT_KEY: "{}"})
    (home / "good_fp16.onnx").write_bytes(exported.SerializeToString())
    monkeypatch.setattr("merkit.engine.artifact._BUNDLED", tmp_path / "none")
    out = tmp_path / "out"
    result = run("--all", "--fp16", "-o", f"{out}/")
    assert result.exit_code == 4, result.output
    assert left_in(out) == ["good_fp16.engine", "good_fp16.json", "good_fp16.onnx"]
    assert "broken" in result.output
    assert "is not an ONNX file" in result.output
    assert "agreement" in result.output  # the table
    assert run("--all", "--fp16", "-o", tmp_path / "one.engine").exit_code == 2


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("plain.onnx", b"nothing to see", 1, "is not an ONNX file"),
        ("model.safetensors", pickle.dumps([1]), 1, "is a pickle"),
        ("mobilenetv9", None, 2, "mobilenetv3"),  # the known ones are named
    ],
)
def test_a_refused_source_ends_with_its_code_and_leaves_nothing(
    tmp_path: Path, name: str, content: bytes | None, code: int, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    out = tmp_path / "out"
    result = run("--model", tmp_path / name if content else name, "--fp16", "-o", f"{out}/")
    assert result.exit_code == code
    assert message in result.output
    assert left_in(out) == []


@pytest.mark.parametrize(
    "arguments",
    [("--int8",), ("--int8", "--data"), ("--fp32", "--fp16", "--data"), ("--int8", "--sensitivity")],
)
def test_a_layer_to_keep_that_is_not_there_is_refused_before_music_is_decoded(
    model: Path, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    def decoded(*_: object) -> None:
        raise AssertionError("music was decoded")

    for module in ("calibration_set", "eval_set"):
        monkeypatch.setattr(f"merkit.export.{module}.log_mels_from_songs", decoded)
    monkeypatch.chdir(tmp_path)
    data = (music,) if arguments[-1] == "--data" else ("--calib-data", music.parent)
    result = run("--model", model, "--keep", "nope", *arguments, *data)
    assert result.exit_code == 2
    assert "no layer nope in the graph" in result.output
    assert left_in(tmp_path) == ["small.onnx"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--int8",), "--data"),
        (("--fp16", "--min-batch", 9, "--opt-batch", 8), "min <= opt <= max"),
        (("--fp16", "--max-batch", 0), "1<=x"),
        (("--fp16", "--int8", "--calib-data", ".", "-o", "one.engine"), "one.engine names one file"),
        (("--fp16", "-o", "one.onnx"), ".engine"),
        (("--fp16", "--format", "onnx", "-o", "one.engine"), ".onnx"),
        (("--fp16", "--sensitivity"), "--sensitivity"),
        (
            ("--fp16", "--keep", "nowhere"),
            "no layer nowhere in the graph; --sensitivity lists the layers, with --int8 alone",
        ),
        (("--fp32", "--keep", "nowhere"), "--keep goes with --fp16 or --int8"),
        (("--keep", "head"), "--keep goes with --fp16 or --int8"),
        (("--fp16", "--all"), "one of them"),
        (("--fp16", "--gpu", "pascal"), "pascal"),
        (("--fp16", "--format", "onnx", "--gpu", "ada"), "--gpu goes with --format engine"),
        (("--fp16", "--format", "onnx", "--builder", "auto"), "--builder goes with --format engine"),
        (("--fp16", "--format", "onnx", "--min-batch", 64), "--min-batch goes with --format engine"),
        *(
            (("--int8", "--sensitivity", "--calib-data", ".", *idle), f"{idle[0]} goes with an export, and")
            for idle in (("--triton", "tr"), ("--builder", "rtx"), ("--max-batch", 8), ("--max-drop", 2))
        ),
        (("--fp16", "--calib-method", "minmax"), "--calib-method goes with --int8"),
        (("--fp16", "--max-drop", "3"), "--max-drop goes with --data"),
        *(
            (("--int8", name, ""), f"Invalid value for '{name}': the name is empty")
            for name in ("--triton", "--timing-cache", "--data", "--calib-data")
        ),
        (("--fp16", "--timing-cache", "cache"), "does not support --timing-cache"),
        (("--fp16", "--builder", "rtx", "--hardware-compatible"), "does not support --hardware-compatible"),
        (("--fp16", "--builder", "tensorrt", "--gpu", "ada"), "does not support --gpu"),
    ],
)
def test_wrong_usage(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[Any, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("--model", model, *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert left_in(tmp_path) == ["small.onnx"]


def test_calibration_data_of_another_spec_or_with_other_labels(
    model: Path, music: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "windows.npz"
    np.savez(archive, images=np.zeros((1, 1, 128, 313), np.float32), audio_spec=AudioSpec().to_json())
    out = tmp_path / "out"
    result = run("--model", model, "--int8", "--calib-data", archive, "-o", f"{out}/")
    assert result.exit_code == 1
    assert "another AudioSpec" in result.output
    other = music.with_name("other.csv")
    other.write_text(music.read_text().replace("happy,", "party,"))
    result = run("--model", model, "--int8", "--data", other, "-o", f"{out}/", "-j", 1)
    assert result.exit_code == 1
    assert "party not in" in result.output
    assert left_in(out) == []


def test_calibration_images_of_the_models_spec_serve(model: Path, tmp_path: Path) -> None:
    archive = tmp_path / "windows.npz"
    images = np.random.default_rng(0).normal(0, 10, (70, 1, AUDIO.n_mels, AUDIO.frames)).astype(np.float32)
    np.savez(archive, images=images, audio_spec=AUDIO.to_json())
    out = tmp_path / "out"
    command = ("--model", model, "--int8", "--calib-data", archive, "--format", "onnx", "-o", f"{out}/")
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert left_in(out) == ["small_int8.onnx"]
    assert "70 windows of the calibration data itself" in result.output
    np.savez(archive, images=images[:44], audio_spec=AUDIO.to_json())
    refused = run(*command)
    assert refused.exit_code == 1
    assert "44 different windows, and 64 or more are needed" in refused.output
    usage = run(*command, "--calib-windows", 44)
    assert usage.exit_code == 2
    assert "64 or more" in usage.output


def test_clips_without_audio_are_skipped_by_name_and_counted(
    model: Path, music: Path, tmp_path: Path
) -> None:
    rows = music.read_text()
    for path in music.parent.glob("*.wav"):
        (tmp_path / path.name).hardlink_to(path)
    for i in range(20):
        broken = tmp_path / f"broken{i}.wav"
        broken.write_bytes(b"RIFF" + bytes([i]))
        rows += f"\n{broken.name},happy,nobody{i}"
    (tmp_path / "clips.csv").write_text(rows + "\nsad-0-0.wav,sad,sad-0")
    command = ("--model", model, "--fp16", "--int8", "--data", tmp_path / "clips.csv", "--max-drop", 100)
    result = run(*command, "--format", "onnx", "-o", f"{tmp_path}/out/", "-j", 1)
    assert result.exit_code == 4, result.output
    skipped = [line for line in result.output.splitlines() if line.startswith("skipped ")]
    assert len(skipped) == len(set(skipped)) == 20
    reports = [
        json.loads({prop.key: prop.value for prop in onnx.load(str(path)).metadata_props}[EXPORT_KEY])
        for path in sorted((tmp_path / "out").iterdir())
    ]
    assert [report["precision"] for report in reports] == ["fp16", "int8"]
    held_out = [name for name, _ in reports[0]["skipped"]]
    assert reports[1]["skipped"] == reports[0]["skipped"]
    assert reports[0]["calibration"] is None
    calibrated = [name for name, _ in reports[1]["calibration"]["skipped"]]
    assert sorted(held_out + calibrated) == sorted(f"broken{i}.wav" for i in range(20))
    assert (
        reports[0]["accuracy"]["songs"] + len(held_out) + reports[1]["calibration"]["files"] + len(calibrated)
        == 60
    )
    assert "sad-0-0.wav" in result.output  # the row that stands twice is said


def test_a_folder_that_cannot_be_written(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for out in (tmp_path / "file" / "x.engine", f"{tmp_path}/file/sub/"):
        result = run("--model", model, "--fp16", "-o", out)
        assert result.exit_code == 1
        assert "cannot write into" in result.output


def test_without_a_builder_the_onnx_is_written_and_it_is_said(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise NoBuilderError('TensorRT for RTX is not installed: pip install "merkit[rtx]"')

    monkeypatch.setattr(builders, "open_builder", missing)
    out = tmp_path / "out"
    result = run("--model", model, "--fp16", "-o", f"{out}/")
    assert result.exit_code == 1
    assert 'pip install "merkit[rtx]"' in result.output
    assert "--format onnx" in result.output
    assert left_in(out) == ["small_fp16.onnx"]
    assert run("--model", model, "--fp16", "-o", f"{out}/", "--format", "onnx").exit_code == 0


def test_that_no_engine_was_made_is_said_beside_what_else_failed(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "mer-home" / "models"
    home.mkdir(parents=True)
    write_network(home / "good.onnx")
    (home / "broken.onnx").write_bytes(b"nothing")
    monkeypatch.setattr("merkit.engine.artifact._BUNDLED", tmp_path / "none")

    def missing(*_: object) -> None:
        raise NoBuilderError('TensorRT for RTX is not installed: pip install "merkit[rtx]"')

    monkeypatch.setattr(builders, "open_builder", missing)
    said = 'the ONNX is written, but no engine: TensorRT for RTX is not installed: pip install "merkit[rtx]"'
    result = run("--all", "--fp16", "-o", f"{tmp_path}/out/")
    assert result.exit_code == 1  # 4 would say that some engines are there
    assert "is not an ONNX file" in result.output
    assert said in result.output
    layers = [node.name for node in small_network().graph.node if node.op_type in ("Conv", "Gemm")]
    keep = [word for layer in layers for word in ("--keep", layer)]
    result = run("--model", model, "--fp32", "--fp16", *keep, "-o", f"{tmp_path}/out/")
    assert result.exit_code == 2
    assert said in result.output
    result = run("--model", model, "--fp16", "--keep", "nope", "-o", f"{tmp_path}/new/")
    assert result.exit_code == 2
    assert said not in result.output  # nothing is written


# ---- files that must stay


@pytest.mark.parametrize("name", ["small.engine", "small.plan", "small.trt", "small.v2.ENGINE"])
def test_an_engine_beside_its_source_has_a_graph_of_another_name(
    model: Path, tmp_path: Path, name: str
) -> None:
    before = model.read_bytes()
    result = run(model, "--fp16", "-o", tmp_path / name)
    assert result.exit_code == 0, result.output
    assert model.read_bytes() == before
    stem = name.rpartition(".")[0]
    assert left_in(tmp_path) == sorted(["small.onnx", name, f"{stem}.json", f"{stem}_fp16.onnx"])
    assert open_artifact(str(tmp_path / name)).facts["onnx"]["file"] == f"{stem}_fp16.onnx"
    assert run(model, "--fp16", "-o", tmp_path / name).exit_code == 0  # its own files it may replace


@pytest.mark.parametrize("arguments", [("",), ("--model", "")])
def test_an_empty_name_is_no_model(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """As of a shell's variable that is not set: it must not export every model."""
    result = run(*arguments, "--format", "onnx", "-o", tmp_path)
    assert (result.exit_code, "unknown model ''" in result.output) == (2, True), result.output
    assert left_in(tmp_path) == []


def test_outputs_that_are_inputs_are_refused_before_any_work(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    write_network(tmp_path / "folder" / "small_fp16.onnx")
    (tmp_path / "linked.onnx").symlink_to(model)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.onnx")}
    for arguments in (
        ("small.onnx", "--format", "onnx", "-o", "small.onnx"),
        ("linked.onnx", "--format", "onnx", "-o", "small.onnx"),
        ("small.onnx", "--format", "onnx", "-o", "linked.onnx"),
        ("small.onnx", "--format", "onnx", "-o", "./folder/../small.onnx"),
        ("small.onnx", "--fp16", "-o", "folder/"),
        ("folder/small_fp16.onnx", "--fp16", "-o", "folder/small.engine"),
        ("small.onnx", "--fp16", "--builder", "tensorrt", "--timing-cache", "small.onnx", "-o", "new/"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert "small" in result.output
        assert result.output.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.onnx")} == before


def test_all_replaces_no_model_by_another_ones_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "mer-home" / "models"
    home.mkdir(parents=True)
    models = [write_network(home / "net.onnx"), write_network(home / "net_fp32.onnx")]
    monkeypatch.setattr("merkit.engine.artifact._BUNDLED", tmp_path / "none")
    before = [path.read_bytes() for path in models]
    result = run("--all", "--format", "onnx", "-o", home)
    assert result.exit_code == 2
    assert "net_fp32.onnx would replace" in result.output
    assert [path.read_bytes() for path in models] == before


def test_a_limit_on_the_size_of_files_is_one_line(tmp_path: Path) -> None:
    write_network(tmp_path / "small.onnx")
    command = f"ulimit -f 4; {sys.executable} -m merkit.export.cli small.onnx --fp16 --format onnx -o out/"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("Error: ")
    assert "File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert left_in(tmp_path / "out") == []


# ---- interruptions


@pytest.mark.parametrize("where", ["engine_from_onnx", "sidecar_of", "publish"])
def test_an_interrupted_export_leaves_what_was_there(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    out = tmp_path / "out"
    assert run("--model", model, "--fp16", "-o", f"{out}/").exit_code == 0
    before = {path.name: sha256(path) for path in out.iterdir()}

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exporter, where, interrupted)
    assert run("--model", model, "--fp16", "-o", f"{out}/").exit_code == 130
    assert {path.name: sha256(path) for path in out.iterdir()} == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_the_command_cleanly(tmp_path: Path, number: signal.Signals, code: int) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "merkit.export.cli", "--model", "mobilenetv3", "--fp16", "-o", f"{out}/"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("builder: ")
    assert "FP16" in process.stdout.readline()  # it works on the graph from here on
    process.send_signal(number)
    _, output = process.communicate(timeout=120)
    assert process.returncode == code, output
    assert "Traceback" not in output
    assert left_in(out) == []


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, merkit.export.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'numpy', 'tensorrt_rtx', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--sensitivity" in done.stdout
    assert time.perf_counter() - began < 5  # 0.2 s on an idle machine; this one may be busy
