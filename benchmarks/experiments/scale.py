"""What a catalogue's length costs: peak memory and rows/s over few tiny files and over many."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ...engine.artifact import SPEC_KEY
from ...engine.spec import QUADRANTS, AudioSpec, ModelSpec
from ...engine.temporary import temporary_writes
from ..measure.whole_commands import timed

_WINDOW, _HOP = 4_096, 512  # samples
_IN_A_FOLDER = 1_000
_FEWEST_MORE = 1_000


@dataclass(frozen=True)
class Run:
    """One run of mer-label: how many files, wall and CPU seconds, peak resident bytes.

    The CPU is of all its processes, the peak of the one that holds the catalogue.
    """

    files: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def rows_a_second(self) -> float:
        """Rows/s of the whole command, its start included."""
        return self.files / self.seconds


def compare_lengths(few: int, many: int) -> tuple[Run, Run]:
    """Runs mer-label with the null runtime over ``few`` links to tiny files, then over ``many``.

    The model's windows are as short as the file, so that decoding and the network cost next to nothing.

    Raises:
        MerError: the command failed.
    """
    return _run(few), _run(many)


def memory_line(few: Run, many: Run) -> str:
    """What each further file costs, for people: two runs of the same files differ by some megabytes."""
    if many.files - few.files < _FEWEST_MORE:
        return f"too few files to tell what each further one takes: {_FEWEST_MORE:,} more are needed"
    return f"{max(0.0, bytes_a_file(few, many)):.0f} bytes of peak memory for each further file"


def bytes_a_file(few: Run, many: Run) -> float:
    """Peak memory for each further file; below 0 by chance."""
    return (many.peak_bytes - few.peak_bytes) / (many.files - few.files)


def _run(files: int) -> Run:
    spec = AudioSpec(window_samples=_WINDOW, frames=1 + _WINDOW // _HOP, hop_length=_HOP)
    with tempfile.TemporaryDirectory(prefix="mer-bench-") as name:
        folder = Path(name)
        model = folder / "short.onnx"
        with temporary_writes(soundfile.LibsndfileError):
            model.write_bytes(_model(spec))
            music = _links(folder, spec, files)
        command = [sys.executable, "-m", "merkit.engine.cli", str(music), "--runtime", "null"]
        return Run(files, *timed([*command, "--model", str(model), "--out", str(folder / "labels")]))


def _links(folder: Path, spec: AudioSpec, files: int) -> Path:
    """Folders of hard links, each to a file of its own that is as long as a window.

    Symbolic links to one file would be one row, and a file has not more than 65,000 names.
    """
    music = folder / "music"
    samples = np.random.default_rng(0).standard_normal(spec.window_samples) / 10
    for i in range(files):
        part = music / f"{i // _IN_A_FOLDER:04}"
        song = part / f"{i - i % _IN_A_FOLDER:07}.wav"
        if i % _IN_A_FOLDER == 0:
            part.mkdir(parents=True)
            soundfile.write(song, samples, spec.sample_rate)
        else:
            os.link(song, part / f"{i:07}.wav")
    return music


def _model(spec: AudioSpec) -> bytes:
    """An artifact of this spec; it is opened, but the null runtime does not run it."""
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
