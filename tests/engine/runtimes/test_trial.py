"""Models that would hang, kill or mislead a run: refused in one line, before any song is labelled."""

from __future__ import annotations

import dataclasses
import os
import resource
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from audio_files import noise, write_audio
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import ArtifactError, MerError
from merkit.engine.runtimes import open_runtime, trial
from merkit.engine.spec import ModelSpec
from onnx import TensorProto, helper, numpy_helper
from onnx_files import tiny_onnx


def model_of(spec: ModelSpec, nodes: list[onnx.NodeProto], **weights: Any) -> onnx.ModelProto:
    """A graph whose logits are those of ``tiny_onnx`` plus ``extra``, a scalar that ``nodes`` compute."""
    model = tiny_onnx(spec)
    model.graph.node[-1].output[0] = "plain"
    model.graph.node.extend([*nodes, helper.make_node("Add", ["plain", "extra"], ["logits"])])
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()
    )
    return model


def summed(kind: str, *inputs: str, **attributes: Any) -> list[onnx.NodeProto]:
    """An operator, and the mean of what it gives."""
    return [
        helper.make_node(kind, inputs, ["large"], **attributes),
        helper.make_node("Cast", ["large"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["extra"], keepdims=0),
    ]


HUGE = 1 << 36
CASES: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "ConstantOfShape": (summed("ConstantOfShape", "n"), {"n": [HUGE]}),
    "Expand": (summed("Expand", "one", "n"), {"one": np.array([1], np.float32), "n": [HUGE]}),
    "Expand of the images": (summed("Expand", "images", "n"), {"n": [1 << 20, 1, 1, 1, 1]}),
    "Tile": (summed("Tile", "images", "n"), {"n": [1 << 10, 1 << 10, 1, 1]}),
    "Range": (summed("Range", "zero", "n", "one"), {"zero": 0, "n": HUGE, "one": 1}),
    "Resize": (summed("Resize", "images", "", "n"), {"n": np.array([1, 1, 1e4, 1e4], np.float32)}),
    "Pad": (summed("Pad", "images", "n"), {"n": [0, 0, 0, 0, 0, 0, 0, HUGE]}),
    "Gather": (summed("Gather", "one", "n"), {"one": np.array([1], np.float32), "n": [HUGE]}),
    "Gather of the images": (summed("Gather", "images", "n", axis=3), {"n": [10**9]}),
    "Reshape": (summed("Reshape", "images", "n"), {"n": [7, 11]}),
    "Conv": (summed("Conv", "images", "one"), {"one": np.zeros((1, 3, 3, 3), np.float32)}),
    "Log": (summed("Log", "n"), {"n": np.array([-1.0], np.float32)}),
    "Add": (summed("Add", "images", "n"), {"n": np.zeros((2, 3), np.float32)}),
}


def refusal(model: onnx.ModelProto, folder: Path, runtime: str = "onnxruntime") -> str:
    path = folder / "bomb.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError) as error:
        open_runtime(open_artifact(str(path)), runtime)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600 + len(str(path))
    return str(error.value)


@pytest.mark.parametrize("case", CASES)
def test_bombs(case: str, tmp_path: Path, spec: ModelSpec) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    nodes, weights = CASES[case]
    message = refusal(model_of(spec, nodes, **weights), tmp_path)
    if case == "Log":
        assert message.endswith("gives numbers that are not finite")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # kB


def test_another_number_of_logits(tmp_path: Path, spec: ModelSpec) -> None:
    """As of a Reshape that an exporter wrote for one window, with the batch that it saw in it."""
    nodes = [helper.make_node("Reshape", ["images", "n"], ["rows"]), *summed("Identity", "rows")]
    one_window = [1, spec.audio.n_mels * spec.audio.frames]
    message = refusal(model_of(spec, nodes, n=one_window), tmp_path)
    assert "cannot compute it" in message
    model = tiny_onnx(spec)
    model.graph.node[-1].output[0] = "plain"
    model.graph.node.append(helper.make_node("Concat", ["plain", "plain"], ["logits"], axis=1))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = ""
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4
    message = refusal(model, tmp_path)
    assert "refuses it" in message or "must give logits float32" in message


@pytest.mark.parametrize("kind", ["mean of the batch", "dropout", "first of the batch", "batch as time"])
def test_a_window_has_one_answer(kind: str, tmp_path: Path, spec: ModelSpec) -> None:
    """As of networks exported as they train: labels would depend on the other songs, or on chance.

    Of the batch's first window alone, those that take it for the whole, or a GRU's sequence, show nothing.
    """
    model = tiny_onnx(spec)
    model.graph.node[-1].output[0] = "plain"
    weights: dict[str, Any] = {"first": [0], "half": np.float32(0.5), "yes": True}
    if kind == "dropout":
        model.graph.node.append(helper.make_node("Dropout", ["plain", "half", "yes"], ["logits"], seed=1))
    elif kind == "first of the batch":
        model.graph.node.append(helper.make_node("Slice", ["plain", "first", "second"], ["others"]))
        model.graph.node.append(helper.make_node("Sub", ["plain", "others"], ["logits"]))
        weights["second"] = [1]
    elif kind == "batch as time":
        model.graph.node.append(helper.make_node("Unsqueeze", ["plain", "second"], ["steps"]))
        model.graph.node.append(helper.make_node("RNN", ["steps", "w", "r"], ["heard"], hidden_size=4))
        model.graph.node.append(helper.make_node("Reshape", ["heard", "rows"], ["logits"]))
        weights |= {"w": np.eye(4, dtype=np.float32)[None], "r": np.eye(4, dtype=np.float32)[None] / 2}
        weights |= {"second": [1], "rows": [-1, 4]}
    else:
        model.graph.node.append(helper.make_node("ReduceMean", ["plain", "first"], ["others"], keepdims=1))
        model.graph.node.append(helper.make_node("Sub", ["plain", "others"], ["logits"]))
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()
    )
    assert "gives one window other numbers in another batch" in refusal(model, tmp_path)


STANDARDISED: dict[str, list[tuple[str, str, str]]] = {
    "mean": [("ReduceMean", "images over", "level"), ("Sub", "images level", "even")],
    "largest": [("ReduceMax", "images over", "level"), ("Sub", "images level", "even")],
    "least": [("ReduceMin", "images over", "level"), ("Sub", "images level", "even")],
    "deviation": [
        ("ReduceMean", "images over", "level"),
        ("Sub", "images level", "around"),
        ("Mul", "around around", "squares"),
        ("ReduceMean", "squares over", "variance"),
        ("Sqrt", "variance", "deviation"),
        ("Div", "around deviation", "even"),
    ],
    "least and largest": [
        ("ReduceMin", "images over", "least"),
        ("ReduceMax", "images over", "largest"),
        ("Sub", "images least", "above"),
        ("Sub", "largest least", "range"),
        ("Div", "above range", "even"),
    ],
}


@pytest.mark.parametrize("over", [[1, 2, 3], [0, 1, 2, 3]])
@pytest.mark.parametrize("by", STANDARDISED)
def test_log_mels_are_standardised_by_their_own_window(
    by: str, over: list[int], tmp_path: Path, spec: ModelSpec
) -> None:
    """Not by the batch's: a window's labels would depend on the others."""
    model = tiny_onnx(spec)
    model.graph.node[0].input[0] = "even"
    nodes = [helper.make_node(kind, ins.split(), [out]) for kind, ins, out in STANDARDISED[by]]
    nodes += model.graph.node
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.array(over), "over"))
    if 0 in over:
        assert "gives one window other numbers in another batch" in refusal(model, tmp_path)
    else:
        path = tmp_path / "good.onnx"
        path.write_bytes(model.SerializeToString())
        open_runtime(open_artifact(str(path))).close()


def test_a_good_model_is_tried_once(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []

    class Popen(subprocess.Popen):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            started.append(arguments)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    monkeypatch.setattr(trial, "_passed", set())
    for _ in range(3):
        open_runtime(open_artifact(str(tiny_model))).close()
    assert len(started) == 1
    open_runtime(open_artifact("audiocnn")).close()
    open_runtime(open_artifact(str(tiny_model)), "null").close()
    assert len(started) == 1  # the package's own files are not tried, and no network needs none
    copy = tmp_path / "audiocnn.onnx"
    copy.write_bytes(open_artifact("audiocnn").content)
    artifact = open_artifact(str(copy))
    open_runtime(artifact).close()
    assert len(started) == 2
    other = dataclasses.replace(artifact, content=b"what an export made of it")
    with pytest.raises(ArtifactError, match="ONNX Runtime refuses it"):
        open_runtime(other)


@pytest.mark.parametrize(
    ("what_it_does", "why"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            r"crashes its runtime on a trial \(SIGSEGV",
        ),
        ("import os; os._exit(7)", r"ends its runtime on a trial \(exit code 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "needs more than 20 s of CPU time"),
        ("import time; time.sleep(60)", "needs more than 3 s for 32 windows"),
        ("raise MemoryError", "refuses it: MemoryError"),
    ],
)
def test_how_a_runtime_can_end(
    what_it_does: str, why: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child's ONNX Runtime is another one."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "onnxruntime.py").write_text(
        "class SessionOptions:\n def add_session_config_entry(*_): ...\n"
        f"def InferenceSession(*_, **__):\n {what_it_does}\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path / "fake"), *sys.path])
    monkeypatch.setattr(trial, "_passed", set())
    monkeypatch.setattr(trial, "_WALL_S", 3.0)
    artifact = open_artifact(str(tiny_model))
    began = time.monotonic()
    with pytest.raises(ArtifactError, match=why):
        open_runtime(artifact)
    assert time.monotonic() - began < 30


def test_without_proc_a_good_model_passes_and_a_bomb_does_not(
    tmp_path: Path, tiny_model: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a chroot, or on another system than Linux."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import pathlib\n"
        "read = pathlib.Path.read_text\n"
        "def read_text(path, *given, **named):\n"
        " return read(path if '/proc/' not in str(path) else path / 'none', *given, **named)\n"
        "pathlib.Path.read_text = read_text\n"
    )
    paths = [str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setattr(trial, "_passed", set())
    open_runtime(open_artifact(str(tiny_model))).close()
    nodes, weights = CASES["ConstantOfShape"]
    assert "ONNX Runtime" in refusal(model_of(spec, nodes, **weights), tmp_path)


def test_no_process_can_be_started(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_process(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", no_process)
    monkeypatch.setattr(trial, "_passed", set())
    with pytest.raises(MerError, match=r"no process can be started to try .*tiny\.onnx: Resource"):
        open_runtime(open_artifact(str(tiny_model)))


def test_the_working_folder_lends_no_code(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "onnxruntime", "numpy"):
        (tmp_path / f"{name}.py").write_text("import os; os._exit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trial, "_passed", set())
    open_runtime(open_artifact(str(tiny_model))).close()


def test_a_command_ends_with_one_line_and_no_row(tmp_path: Path, spec: ModelSpec) -> None:
    nodes, weights = CASES["Expand"]
    (tmp_path / "bomb.onnx").write_bytes(model_of(spec, nodes, **weights).SerializeToString())
    song = write_audio(tmp_path / "song.wav", noise(12, 16_000), 16_000)
    command = [sys.executable, "-m", "merkit.engine.cli", str(song), "-m", str(tmp_path / "bomb.onnx")]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "rows.csv")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if not line.startswith("device:")]
    assert len(errors) == 1
    assert errors[0].startswith("Error: ")
    assert not (tmp_path / "rows.csv").exists()


@pytest.mark.parametrize("change", [-1.0, 0.0, 1.0])
def test_another_answer_in_a_batch_is_larger_or_smaller(
    monkeypatch: pytest.MonkeyPatch, spec: ModelSpec, change: float
) -> None:
    def infer(log_mels: np.ndarray) -> np.ndarray:
        return np.full((len(log_mels), 4), 2 + change * (len(log_mels) > 1), np.float32)

    runtime = SimpleNamespace(infer=infer)
    module = SimpleNamespace(open_runtime=lambda *_: nullcontext(runtime))
    artifact: Any = SimpleNamespace(path="tiny.onnx", content=b"", spec=spec)
    monkeypatch.setattr(trial, "_limit", lambda *_: None)  # of the tests' own process
    problem = trial._tried(artifact, module)
    assert (problem is None) == (not change)
    assert not change or "other numbers in another batch" in str(problem)
