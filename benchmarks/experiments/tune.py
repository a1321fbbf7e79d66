"""Which runtime labels a catalogue with the least CPU on this machine, and changes no labels: for a table."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.artifact import Artifact, open_artifact
from ...engine.catalogue.expand import inputs_from_paths
from ...engine.cpu import cpu_features
from ...engine.errors import MerError, os_errors_say
from ...engine.files import write_whole
from ...engine.labelling.file_windows import FileFacts
from ...engine.labelling.song_label import label_from_logits
from ...engine.runtimes import open_runtime
from ...engine.runtimes.choice import DEFAULT, PACKAGES, rows_of
from ...export.song_log_mels import SongLogMels, log_mels_from_songs
from ..measure.machine import why_no_bf16
from ..measure.whole_commands import linked, timed
from .compare import Ratio, ratio_of_pairs

_WINDOWS = 3  # of a song, as mer-label takes by default
_FEWEST = 100  # songs by which one label in a hundred can be told
_MOST_CHANGED = 0.01  # of labels, against FP32
_LEAST_GAIN = 1 / 0.95  # times as much CPU: what is less is not worth other labels and a slower start


@dataclass(frozen=True)
class Tried:
    """A runtime against ONNX Runtime in FP32: how many songs changed label, and the CPU of whole runs.

    ``songs`` of them have a label by ONNX Runtime; that others, such as what is no music, get one counts too.
    ``ratio`` is how many times as much CPU the default needs; ``cpu_ms`` is this runtime's for a song.
    """

    runtime: str
    changed: int
    songs: int
    cpu_ms: float
    ratio: Ratio

    @property
    def is_better(self) -> bool:
        """It changes few labels, and gains, not by chance."""
        few = self.changed <= _MOST_CHANGED * self.songs
        return few and self.ratio.ratio >= _LEAST_GAIN and self.ratio.low > 1

    def line(self) -> str:
        """Its figures for people, and for the table."""
        return (
            f"{self.runtime}: {self.cpu_ms:.1f} ms CPU a song, {1 / self.ratio.ratio:.3f} times {DEFAULT}'s "
            f"[{1 / self.ratio.high:.3f}, {1 / self.ratio.low:.3f}]; {self.changed} of {self.songs} labels "
            "change"
        )


def tune(
    model: str, data: Path, songs: int = 200, rounds: int = 7, say: Callable[[str], None] = lambda line: None
) -> tuple[dict[str, Any], list[Tried]]:
    """Measures all runtimes of this machine's CPU; gives the row for a table, and what it is of.

    Args:
        data: songs: their labels are compared, and whole commands label them.
        songs: how many a command labels: the files, again and again.
        rounds: turns of each runtime.

    Raises:
        UsageError: an unknown model.
        MerError: too few songs that can be read and get a label, or a command that fails.
    """
    artifact = open_artifact(model)
    if artifact.facts:
        raise MerError(f"{artifact.path.name} is an engine, which TensorRT alone runs: name an .onnx file")
    files = [file for file in inputs_from_paths([data]).paths if Path(file).is_file()]
    if len(files) < _FEWEST:
        raise MerError(f"{data} has {len(files)} songs; to tell one label in a hundred takes {_FEWEST}")
    names = runtimes_here()
    say(f"labels of {len(files)} songs by {', '.join(names)}")
    log_mels = log_mels_from_songs([Path(file) for file in files], artifact.spec.audio, _WINDOWS)
    labels = {name: labels_by(artifact, name, log_mels) for name in names}
    read = [str(path) for path in log_mels.paths]
    if len(read) < _FEWEST:
        raise MerError(f"only {len(read)} of {len(files)} songs give sound; it takes {_FEWEST}")
    if (known := sum(label is not None for label in labels[DEFAULT])) < _FEWEST:
        raise MerError(f"only {known} of {len(files)} songs get a label; it takes {_FEWEST}")
    times = _cpu_seconds(artifact, names, read, songs, rounds, say)
    tried = [
        Tried(
            name,
            sum(a != b for a, b in zip(labels[DEFAULT], labels[name], strict=True)),
            known,
            1e3 * statistics.median(times[name]),
            ratio_of_pairs(name, list(zip(times[DEFAULT], times[name], strict=True))),
        )
        for name in names
        if name != DEFAULT
    ]
    return row_from_tried(artifact, tried), tried


def runtimes_here() -> list[str]:
    """The runtimes that this machine's CPU can run with what is installed, the default first."""
    names = [name for name in PACKAGES if find_spec(PACKAGES[name]) is not None]
    return [name for name in names if name != "openvino-bf16" or not why_no_bf16()]


def labels_by(artifact: Artifact, runtime: str, songs: SongLogMels) -> list[str | None]:
    """The emotion of each song as a runtime computes it, None where it is none."""
    with open_runtime(artifact, runtime, 1) as network:
        emotions = []
        for windows in songs.songs:
            logits = network.infer(np.ascontiguousarray(songs.log_mels[windows]))
            facts = FileFacts(tuple(map(float, windows)), 0.0, "", {})
            emotions.append(label_from_logits("", facts, logits, artifact.spec).emotion)
    return emotions


def row_from_tried(artifact: Artifact, tried: Sequence[Tried]) -> dict[str, Any]:
    """The row of a network on this CPU, as ``choice.rows_of`` reads it."""
    better = sorted((one for one in tried if one.is_better), key=lambda one: -one.ratio.ratio)
    return {
        "network": artifact.name,
        "sha256": artifact.sha256,
        "cpu": list(cpu_features()),
        "faster": [one.runtime for one in better],
        "tried": {one.runtime: one.line() for one in tried},
    }


def write_row(row: dict[str, Any], table: Path) -> None:
    """Puts a row into a table, in place of what that says of the same network on the same kind of CPU.

    Raises:
        MerError: the table cannot be read or written.
    """

    def key(one: Any) -> tuple[str, list[str]]:
        return one["sha256"], sorted(one["cpu"])

    rows = [*(dict(other) for other in rows_of(table) if key(other) != key(row)), row]
    with os_errors_say(f"{table.parent} cannot be made"):
        table.parent.mkdir(parents=True, exist_ok=True)
    write_whole(table, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


def _cpu_seconds(
    artifact: Artifact,
    names: Sequence[str],
    files: Sequence[str],
    songs: int,
    rounds: int,
    say: Callable[[str], None],
) -> dict[str, list[float]]:
    """CPU seconds a song of whole commands, by runtime, in turns."""
    times: dict[str, list[float]] = {name: [] for name in names}
    command = [sys.executable, "-m", "merkit.engine.cli", "--quiet", "--model", str(artifact.path)]
    with linked(files[:songs], songs) as (catalogue, links), tempfile.TemporaryDirectory() as scratch:
        for turn in range(rounds):
            say(f"turn {turn + 1} of {rounds}, {len(links)} songs each")
            for name in names if turn % 2 == 0 else names[::-1]:  # none always comes first
                out = str(Path(scratch) / f"{name}{turn}.csv")
                _, cpu, _ = timed([*command, str(catalogue), "--runtime", name, "--out", out])
                times[name].append(cpu / len(links))
    return times
