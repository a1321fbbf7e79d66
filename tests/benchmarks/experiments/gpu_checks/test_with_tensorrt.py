"""What the checks that need TensorRT make of figures, commands and memory; nothing is run here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")
from merkit.benchmarks.experiments.gpu_checks import with_tensorrt
from merkit.benchmarks.experiments.gpu_checks.bench import Bench, CheckFailed, CheckSkipped
from merkit.benchmarks.measure import sample_songs
from merkit.engine.errors import MerError

FREE, GROWTH = 8 << 30, 256 << 20


@pytest.fixture
def bench(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    built: Any = SimpleNamespace(path=tmp_path / "tiny.engine", facts={})
    monkeypatch.setattr(with_tensorrt, "require_real_gpu", lambda: None)
    monkeypatch.setattr(with_tensorrt, "_engine", lambda *_: built)
    monkeypatch.setattr(sample_songs, "songs_from_folder", lambda folder, count: ("a.mp3", "b.mp3"))
    return Bench({"tiny": tiny_model}, 0.0, tmp_path, tmp_path)


def answering(monkeypatch: pytest.MonkeyPatch, code: int = 0, said: str = "", output: str = "") -> list[Any]:
    """Each command answers this; gives the commands."""
    commands: list[Any] = []

    def run(*command: str, **_: Any) -> CompletedProcess[str]:
        commands.append(command)
        return CompletedProcess(command, code, output, said)

    monkeypatch.setattr(with_tensorrt, "_run", run)
    return commands


def labelled(bench: Bench, monkeypatch: pytest.MonkeyPatch, *free: int) -> dict[str, Any]:
    """The check, with so many bytes free after each run."""
    left = list(free)

    @contextmanager
    def driver() -> Iterator[Any]:
        yield SimpleNamespace(free_bytes=lambda: left.pop(0))

    monkeypatch.setattr(with_tensorrt, "driver", driver)
    return with_tensorrt.check_labelling(bench)


@pytest.mark.parametrize("last", [FREE, FREE - GROWTH, FREE + 2 * GROWTH])
def test_labelling_again_and_again(bench: Bench, monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    commands = answering(monkeypatch)
    assert len(labelled(bench, monkeypatch, FREE, last)["runs"]) == 2
    assert [command[-1] for command in commands] == [f"{bench.folder}/{turn}.jsonl" for turn in (0, 1)]
    assert all(command[command.index("--device") + 1] == "cuda" for command in commands)


def test_memory_that_is_gone_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch)
    with pytest.raises(CheckFailed, match=f"{GROWTH + 1:,} bytes of the GPU's memory are gone after 2 runs"):
        labelled(bench, monkeypatch, FREE, FREE - GROWTH - 1)


def test_labelling_that_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, 1, "one\ntwo\nthree\nError: no GPU")
    with pytest.raises(CheckFailed, match=r"^two \| three \| Error: no GPU$"):
        labelled(bench, monkeypatch, FREE)


def test_tests_that_fail(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(with_tensorrt, "_ROOT", tmp_path)
    with pytest.raises(CheckSkipped, match="this is none"):
        with_tensorrt.check_tests(bench)
    (tmp_path / "tests" / "gpu").mkdir(parents=True)
    answering(monkeypatch, 0, output="....\n4 passed in 3 s\n")
    assert with_tensorrt.check_tests(bench) == {"summary": "4 passed in 3 s"}
    answering(monkeypatch, 1, output="F\nFAILED x\n")
    with pytest.raises(CheckFailed, match="FAILED x"):
        with_tensorrt.check_tests(bench)


def compared(bench: Bench, monkeypatch: pytest.MonkeyPatch, **errors: Any) -> dict[str, Any]:
    """The check of engines, whose errors are these."""
    figures = [{"error": errors.get(name, 0.0)} for name in ("fp32", "fp16", "int8")]
    monkeypatch.setattr(with_tensorrt.tensorrt, "open_runtime", lambda *_: nullcontext())
    monkeypatch.setattr(with_tensorrt, "figures_of_runtime", lambda *_: figures.pop(0))
    monkeypatch.setattr(with_tensorrt, "Reference", lambda *_: None)
    return with_tensorrt.check_engines(bench)


def test_engines_within_their_precisions_rounding(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = compared(bench, monkeypatch, fp32=2e-3, fp16=0.05, int8=None)["engines"]
    assert [row["precision"] for row in rows] == ["fp32", "fp16", "int8"]
    assert {row["layers"] for row in rows} == {"not told"}


@pytest.mark.parametrize(
    ("precision", "error"), [("fp32", 0.0021), ("fp16", 0.051), ("int8", 0.31), ("fp16", float("nan"))]
)
def test_an_engine_that_is_far_off(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, precision: str, error: float
) -> None:
    with pytest.raises(CheckFailed, match=f"^tiny {precision}: off by {error:.2g} of the largest logit$"):
        compared(bench, monkeypatch, **{precision: error})


def test_an_engine_that_cannot_be_built(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are built all the same."""

    def build(_: Bench, path: Path, precision: str) -> Any:
        if precision == "fp32":
            raise CheckFailed("no room")
        return SimpleNamespace(path=path, facts={})

    monkeypatch.setattr(with_tensorrt, "_engine", build)
    with pytest.raises(CheckFailed, match=r"^tiny fp32: no room; tiny int8: off by 1 of"):
        compared(bench, monkeypatch, fp32=0.0, fp16=1.0)


def test_types_of_layers_as_they_were_built() -> None:
    layers = [{"Outputs": [{"Format/Datatype": f"Row major {kind}"}]} for kind in ("FP16", "Int8", "FP16")]
    built = {"precision_built": json.dumps({"Layers": [*layers, {"Outputs": []}]})}
    artifact: Any = SimpleNamespace(facts=built)
    assert with_tensorrt._layers(artifact) == "2 FP16, 1 Int8"


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_how_an_engine_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    commands = answering(monkeypatch, 1, "one\ntwo\nthree\nError: it is refused")
    bench = Bench({}, 0.0, tmp_path, tmp_path / "songs")
    with pytest.raises(CheckFailed, match=r"two \| three \| Error: it is refused"):
        with_tensorrt._engine(bench, tmp_path / "tiny.onnx", precision)
    (command,) = commands
    assert f"--{precision}" in command
    assert ("--calib-data" in command) == (precision == "int8")
    folder = Path(command[command.index("-o") + 1])
    (folder / "tiny_x.engine").write_bytes(b"")
    with pytest.raises(MerError, match="no sidecar"):
        with_tensorrt._engine(bench, tmp_path / "tiny.onnx", precision)
    with pytest.raises(CheckFailed):  # and no engine of another network, whose name begins as this one's
        with_tensorrt._engine(bench, tmp_path / "tin.onnx", precision)


@pytest.mark.parametrize(("installed", "builder"), [(True, "tensorrt"), (False, "rtx")])
def test_full_tensorrt_builds_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool, builder: str
) -> None:
    """Engines of TensorRT for RTX do not run on the GPUs of servers."""
    commands = answering(monkeypatch, 1)
    monkeypatch.setattr(with_tensorrt, "find_spec", lambda name: (installed and name == "tensorrt") or None)
    with pytest.raises(CheckFailed):
        with_tensorrt._engine(Bench({}, 0.0, tmp_path), tmp_path / "tiny.onnx", "fp16")
    (command,) = commands
    assert command[command.index("--builder") + 1] == builder
