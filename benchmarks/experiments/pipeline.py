"""Songs a second from files to labels: ours, the Hindi paper's pipeline, any other command line, in turns."""

from __future__ import annotations

import ctypes
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...engine.artifact import DEFAULT_MODEL, Artifact, open_artifact
from ...engine.audio.open import open_decoder
from ...engine.audio.windows import spread_starts
from ...engine.catalogue.expand import Sources, inputs_from_paths
from ...engine.catalogue.run import CatalogueRun
from ...engine.cpu import usable_cores
from ...engine.errors import MerError
from ...engine.labelling.choose import open_backend
from ...engine.labelling.contract import StageSeconds
from ...engine.labelling.file_windows import WindowOptions
from ...engine.labelling.worker_pool import Failure, WorkerPool

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@dataclass
class Turns:
    """One contender: wall and CPU seconds a song of each of its turns."""

    name: str
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Wall seconds a song."""
        return statistics.median(self.seconds)

    @property
    def cpu_median(self) -> float:
        """CPU seconds a song, which other work on the machine changes less."""
        return statistics.median(self.cpu_seconds)

    def add(self, spent: tuple[float, float], songs: int) -> None:
        """A turn's (wall, CPU) seconds for so many songs."""
        self.seconds.append(spent[0] / songs)
        self.cpu_seconds.append(spent[1] / songs)


@dataclass
class Outcome:
    """What ``compare`` measured. ``bubbles`` is wall time x cores over the stages' CPU seconds."""

    files: int
    cores: int
    turns: list[Turns]
    stages: StageSeconds
    bubbles: float

    def ratio(self, name: str) -> float:
        """How many times as long as ours a contender takes for a song."""
        return next(turn.median for turn in self.turns if turn.name == name) / self.turns[0].median

    def to_mapping(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "files": self.files,
            "cores": self.cores,
            "seconds_a_song": {turn.name: turn.seconds for turn in self.turns},
            "cpu_seconds_a_song": {turn.name: turn.cpu_seconds for turn in self.turns},
            "ratios": {turn.name: self.ratio(turn.name) for turn in self.turns},
            "stages_cpu_s": vars(self.stages),
            "wall_x_cores_over_cpu": self.bubbles,
        }


def compare(
    folder: Path,
    model: str = DEFAULT_MODEL,
    songs: int = 100,
    rounds: int = 3,
    windows: Any = 3,
    paper: bool = True,
    peers: Sequence[str] = (),
    show: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Times every contender over the same audio, ``rounds`` times in turns.

    The files of ``folder`` are linked into a catalogue of ``songs`` songs, so that a few long files
    measure the pace and not the start; the paper's pipeline, which has no start-up in its time,
    takes each file once.

    Args:
        peers: command lines; ``{dir}`` becomes the catalogue.

    Raises:
        MerError: no audio, or a command that fails.
    """
    artifact = open_artifact(model)
    files = inputs_from_paths([folder]).paths
    if not files:
        raise MerError(f"no audio in {folder}")
    ours, floor = Turns("mer-label"), Turns("decode floor")
    others = [Turns("the paper's pipeline")] if paper else []
    others += [Turns(command) for command in peers]
    options = WindowOptions(artifact.spec.audio, windows)
    bubbles, stages = [], StageSeconds()
    with _catalogue(files, songs) as (catalogue, linked), tempfile.TemporaryDirectory() as scratch:
        for turn in range(rounds):
            show(f"turn {turn + 1} of {rounds}")
            out = str(Path(scratch) / f"labels{turn}")
            command = [
                sys.executable,
                "-m",
                "merkit.engine.cli",
                str(catalogue),
                "--model",
                str(artifact.path),
            ]
            ours.add(_timed([*command, "--windows", str(windows), "--out", out]), len(linked))
            floor.add(decode_floor(linked, options), len(linked))
            stages, bubble = _stages(catalogue, artifact, options, out + "-stages")
            bubbles.append(bubble)
            for other in others:
                if other.name in peers:
                    words = [word.replace("{dir}", str(catalogue)) for word in shlex.split(other.name)]
                    other.add(_timed(words), len(linked))
                else:
                    other.add(_paper_in_its_own_process(files), len(files))
    return Outcome(len(linked), usable_cores(), [ours, floor, *others], stages, statistics.median(bubbles))


def decode_floor(paths: Sequence[str], options: WindowOptions) -> tuple[float, float]:
    """(wall, CPU) seconds to decode the same windows and nothing else, in as many processes, once started."""
    with WorkerPool(samples_of_windows, options) as pool:
        list(pool.map([paths[0]] * usable_cores()))
        began, cpu = time.perf_counter(), 0.0
        for _, answer in pool.map(paths):
            if isinstance(answer, Failure):
                raise MerError(f"decoding failed: {answer.reason}")
            cpu += answer[1]
        return time.perf_counter() - began, cpu


def samples_of_windows(path: str, options: WindowOptions) -> tuple[int, float]:
    """Decodes a file's windows at its own rate; says how many samples they have, and the CPU seconds."""
    done, began = 0, time.process_time()
    with closing(open_decoder(path, options.limits)) as decoder:
        size = min(round(options.spec.window_s * decoder.sample_rate), decoder.length)
        count = options.windows if isinstance(options.windows, int) else -(-decoder.length // size)
        for start in spread_starts(decoder.length, size, count):
            done += len(decoder.read(start, size))
    return done, time.process_time() - began


def paper_pipeline(paths: Sequence[str]) -> tuple[float, float]:
    """The Hindi paper's notebook, plainly: one file after the other; (wall, CPU) seconds, start-up left out.

    The whole file at 22,050 Hz, the mel image of its first 224 frames (5 s), MobileNetV3-Small in
    eager torch at batch 1. Resizing and three channels are left out: they are not the point.
    """
    import librosa
    import numpy as np
    import torch
    from torchvision.models import mobilenet_v3_small

    network = mobilenet_v3_small().eval()

    def label(path: str) -> int:
        samples, rate = librosa.load(path)
        mel = librosa.feature.melspectrogram(
            y=samples[: 224 * 512], sr=rate, n_fft=2_048, hop_length=512, n_mels=224, fmax=8_000
        )
        image = torch.from_numpy(librosa.power_to_db(mel, ref=np.max)[:, :224].astype(np.float32))
        with torch.inference_mode():
            return int(network(image.expand(1, 3, -1, -1)).argmax())

    label(paths[0])  # what loads or compiles at the first call
    began, cpu = time.perf_counter(), _cpu_s()
    for path in paths:
        label(path)
    return time.perf_counter() - began, _cpu_s() - cpu


@contextmanager
def _catalogue(files: Sequence[str], songs: int) -> Iterator[tuple[Path, list[str]]]:
    with tempfile.TemporaryDirectory(prefix="mer-bench-") as folder:
        linked = []
        for i in range(max(songs, len(files)) if songs else len(files)):
            source = Path(files[i % len(files)]).absolute()
            link = Path(folder) / f"{i:06}{source.suffix}"
            link.symlink_to(source)
            linked.append(str(link))
        yield Path(folder), linked


def _stages(folder: Path, artifact: Artifact, options: WindowOptions, out: str) -> tuple[StageSeconds, float]:
    began = time.perf_counter()
    with (
        open_backend(artifact) as backend,
        CatalogueRun(Sources([folder]), artifact, backend, options, out) as run,
    ):
        for _ in run.labels():
            pass
    wall = time.perf_counter() - began
    return run.stages, wall * usable_cores() / run.stages.cpu_s


def _cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _timed(command: Sequence[str]) -> tuple[float, float]:
    began, cpu = time.perf_counter(), _cpu_s()
    try:
        with _orphans_counted():
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise MerError(f"{shlex.join(command)} cannot be run: {error.strerror}") from None
    if done.returncode:
        raise MerError(f"{shlex.join(command)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return time.perf_counter() - began, _cpu_s() - cpu


@contextmanager
def _orphans_counted() -> Iterator[None]:
    """Processes that outlive the command become ours and are waited for (5 s at most).

    So their CPU time, and that of the decoders that mer-label's fork server had, is in RUSAGE_CHILDREN.
    On Linux; elsewhere they are not counted.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    known = _children()
    yield
    orphans, deadline = _children() - known, time.monotonic() + 5
    while orphans and time.monotonic() < deadline:
        for pid in tuple(orphans):
            with suppress(ChildProcessError):
                if not os.waitpid(pid, os.WNOHANG)[0]:
                    continue
            orphans.discard(pid)
        time.sleep(0.002)


def _children() -> set[int]:
    found: set[int] = set()
    for file in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found.update(map(int, file.read_text().split()))
    return found


def _paper_in_its_own_process(files: Sequence[str]) -> tuple[float, float]:
    code = f"from {__name__} import paper_pipeline; import sys; print(*paper_pipeline(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True)
    if done.returncode:
        raise MerError(f"the paper's pipeline needs the extra bench: {done.stderr.strip()[-500:]}")
    wall, cpu = done.stdout.split()[-2:]
    return float(wall), float(cpu)
