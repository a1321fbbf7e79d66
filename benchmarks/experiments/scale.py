"""What a catalogue's length costs: peak memory and rows a second over few tiny files and over many."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ...engine.artifact import SPEC_KEY
from ...engine.errors import MerError
from ...engine.spec import QUADRANTS, AudioSpec, ModelSpec

_WINDOW, _HOP = 4_096, 512  # samples
_IN_A_FOLDER = 1_000


@dataclass(frozen=True)
class Run:
    """One run of mer-label: its inputs, wall and CPU seconds, and peak resident bytes."""

    files: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def rows_a_second(self) -> float:
        """Of the whole command."""
        return self.files / self.seconds


def compare_lengths(few: int, many: int) -> tuple[Run, Run]:
    """mer-label with the null runtime over ``few`` links to one tiny file, then over ``many``.

    The model's windows are as short as the file, so that what is measured is what a row costs.

    Raises:
        MerError: the command failed.
    """
    return _run(few), _run(many)


def bytes_a_file(short: Run, long: Run) -> float:
    """Peak memory for each further file."""
    return (long.peak_bytes - short.peak_bytes) / (long.files - short.files)


def _run(files: int) -> Run:
    spec = AudioSpec(window_samples=_WINDOW, frames=1 + _WINDOW // _HOP, hop_length=_HOP)
    with tempfile.TemporaryDirectory(prefix="mer-bench-") as room:
        song, music, model = Path(room) / "song.wav", Path(room) / "music", Path(room) / "short.onnx"
        model.write_bytes(_model(spec))
        samples = np.random.default_rng(0).standard_normal(spec.window_samples) / 10
        soundfile.write(song, samples, spec.sample_rate)
        for i in range(files):
            folder = music / f"{i // _IN_A_FOLDER:04}"
            if i % _IN_A_FOLDER == 0:
                folder.mkdir(parents=True)
            (folder / f"{i:07}.wav").symlink_to(song)
        command = [sys.executable, "-m", "merkit.engine.cli", str(music), "--runtime", "null"]
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--model", str(model), "--out", str(Path(room) / "labels")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr
        said = process.stderr.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise MerError(f"mer-label ended with {process.returncode}: {said.strip()[-500:]}")
        peak = usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
        return Run(files, time.perf_counter() - began, usage.ru_utime + usage.ru_stime, peak)


def _model(spec: AudioSpec) -> bytes:
    """An artifact of this spec that is opened and never run."""
    from onnx import TensorProto, helper

    shape, labels = ["batch", 1, spec.n_mels, spec.frames], len(QUADRANTS)
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["images"], ["logits"])],
        "short",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", labels])],
    )
    model = helper.make_model(graph)
    text = ModelSpec("short", QUADRANTS, spec, provenance={"made": "by mer-bench scale"}).to_json()
    helper.set_model_props(model, {SPEC_KEY: text})
    return model.SerializeToString()
