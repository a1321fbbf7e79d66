"""Songs/s from files to labels: mer-label, the Hindi paper's pipeline and any other command, in turns."""

from __future__ import annotations

import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...engine.artifact import DEFAULT_MODEL, Artifact, open_artifact
from ...engine.audio.open import open_decoder
from ...engine.audio.spread import spread_starts
from ...engine.audio.windows import WindowCount
from ...engine.catalogue.expand import Sources, inputs_from_paths
from ...engine.catalogue.run import CatalogueRun
from ...engine.cpu import usable_cores
from ...engine.errors import MerError, UsageError
from ...engine.labelling.choose import open_backend
from ...engine.labelling.contract import StageSeconds
from ...engine.labelling.file_windows import WindowOptions, log_mels_from_file
from ...engine.labelling.worker_pool import Failure, WorkerPool
from ..measure.whole_commands import cpu_seconds, linked, timed

_OURS, _FLOOR, _PAPER = "mer-label", "decode floor", "the paper's pipeline"  # contenders beside the peers


@dataclass
class Contender:
    """What is timed, and its wall and CPU seconds a song of each turn.

    ``run`` takes a path for its output, handles ``songs`` songs and gives its (wall, CPU) seconds.
    """

    name: str
    songs: int
    run: Callable[[str], tuple[float, float]]
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

    def take_turn(self, output: str) -> None:
        """Runs once more."""
        wall, cpu = self.run(output)
        self.seconds.append(wall / self.songs)
        self.cpu_seconds.append(cpu / self.songs)


@dataclass
class Comparison:
    """What ``compare_pipelines`` measured; mer-label is the first of ``contenders``.

    ``stages`` are the CPU seconds of one run. ``wall_x_cores_over_cpu`` is its wall time, times the cores,
    over these: 1 where no core was ever idle. ``failed`` are files that were left out, and why.
    """

    files: int
    cores: int
    contenders: list[Contender]
    stages: StageSeconds
    wall_x_cores_over_cpu: float
    failed: list[str]

    def ratio(self, contender: Contender) -> float:
        """How many times as long as mer-label a contender takes for a song."""
        return contender.median / self.contenders[0].median

    def to_mapping(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "files": self.files,
            "cores": self.cores,
            "seconds_a_song": {one.name: one.seconds for one in self.contenders},
            "cpu_seconds_a_song": {one.name: one.cpu_seconds for one in self.contenders},
            "ratios": {one.name: self.ratio(one) for one in self.contenders},
            "stages_cpu_s": vars(self.stages),
            "wall_x_cores_over_cpu": self.wall_x_cores_over_cpu,
            "failed": self.failed,
        }

    def lines(self) -> Iterator[str]:
        """A few lines of it, for people."""
        ours = self.contenders[0]
        yield f"{self.files} songs a turn, {len(ours.seconds)} turns, {self.cores} cores"
        for one in self.contenders:
            spread = f"{min(one.seconds) * 1e3:.1f} to {max(one.seconds) * 1e3:.1f}"
            yield (
                f"{one.median * 1e3:10.1f} ms a song ({spread})  {1 / one.median:8.1f} songs/s  "
                f"{self.ratio(one):6.2f}x  {one.name}  "
                f"[CPU: {one.cpu_median * 1e3:.1f} ms, {one.cpu_median / ours.cpu_median:.2f}x]"
            )
        stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in vars(self.stages).items())
        yield f"stages, CPU seconds (waited and idle: wall): {stages}"
        yield f"wall x cores / CPU: {self.wall_x_cores_over_cpu:.2f}"


def compare_pipelines(
    folder: Path,
    model: str = DEFAULT_MODEL,
    songs: int = 100,
    rounds: int = 3,
    windows: WindowCount = 3,
    paper: bool = True,
    peers: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Times every contender over the same audio, ``rounds`` times in turns.

    The first files of ``folder`` are linked into a catalogue of ``songs`` songs, so that a few long files
    measure the pace and not the start; those without usable audio are said and left out. The paper's
    pipeline, which has no start-up in its time, takes each file once.

    Args:
        songs: 0 is as many as there are files.
        paper: the Hindi paper's pipeline too, which needs torch and librosa.
        peers: command lines; ``{dir}`` becomes the catalogue's folder.

    Raises:
        UsageError: a peer that is no command line, names no program or is timed already.
        MerError: no usable audio, or a command that fails.
    """
    if paper and find_spec("librosa") is None:
        raise MerError("the paper's pipeline needs librosa: pip install 'merkit[bench]', or --no-paper")
    words = _words_of_peers(peers)
    artifact = open_artifact(model)
    files = [file for file in inputs_from_paths([folder]).paths if Path(file).is_file()]
    if not files:
        raise MerError(f"no audio in {folder}")
    options = WindowOptions(artifact.spec.audio, windows)
    files, failed = _usable(files[: songs or len(files)], options, say)
    stages, ratios = StageSeconds(), []
    with linked(files, songs) as (catalogue, links), tempfile.TemporaryDirectory() as scratch:
        ours = [sys.executable, "-m", "merkit.engine.cli", str(catalogue), "--model", str(artifact.path)]
        ours += ["--windows", str(windows), "--out"]
        contenders = [
            Contender(_OURS, len(links), lambda output: timed([*ours, output])[:2]),
            Contender(_FLOOR, len(links), lambda _: decode_floor(links, options)),
        ]
        if paper:
            contenders.append(Contender(_PAPER, len(files), lambda _: _paper_in_child(files)))
        contenders += [_peer(command, words[command], catalogue, len(links)) for command in peers]
        for turn in range(rounds):
            say(f"turn {turn + 1} of {rounds}")
            for position, contender in enumerate(contenders):
                contender.take_turn(str(Path(scratch) / f"labels{turn}-{position}"))
            stages, ratio = _stages(catalogue, artifact, options, str(Path(scratch) / f"stages{turn}"))
            ratios.append(ratio)
    return Comparison(len(links), usable_cores(), contenders, stages, statistics.median(ratios), failed)


def _usable(
    files: Sequence[str], options: WindowOptions, say: Callable[[str], None]
) -> tuple[list[str], list[str]]:
    """The files that mer-label can label, and a line about each of the others.

    Raises:
        MerError: there are none.
    """
    failed: dict[str, str] = {}
    with WorkerPool(log_mels_from_file, options) as pool:
        for place, result in pool.map(files):
            if isinstance(result, Failure):
                failed[files[place]] = f"{files[place]}: {result.reason}"
                say(f"left out {failed[files[place]]}")
    good = [file for file in files if file not in failed]
    if not good:
        raise MerError(f"none of {len(files)} files gives audio; {failed[files[0]]}")
    return good, sorted(failed.values())


def decode_floor(paths: Sequence[str], options: WindowOptions) -> tuple[float, float]:
    """(wall, CPU) seconds to decode the same windows as mer-label, in as many processes, and nothing else.

    The start of the processes does not count.

    Raises:
        MerError: a file cannot be decoded.
    """
    with WorkerPool(decoded_samples, options) as pool:
        list(pool.map([paths[0]] * usable_cores()))
        began, cpu_s = time.perf_counter(), 0.0
        for _, result in pool.map(paths):
            if isinstance(result, Failure):
                raise MerError(f"decoding failed: {result.reason}")
            cpu_s += result[1]
        return time.perf_counter() - began, cpu_s


def decoded_samples(path: str, options: WindowOptions) -> tuple[int, float]:
    """Decodes a file's windows at its own rate: how many samples they have, and the CPU seconds."""
    samples, began = 0, time.process_time()
    with closing(open_decoder(path, options.limits)) as decoder:
        size = min(round(options.spec.window_s * decoder.sample_rate), decoder.length)
        count = -(-decoder.length // size) if options.windows == "all" else options.windows
        for start in spread_starts(decoder.length, size, count):
            samples += len(decoder.read(start, size))
    return samples, time.process_time() - began


def paper_pipeline(paths: Sequence[str]) -> tuple[float, float]:
    """The Hindi paper's notebook as a loop over files: (wall, CPU) seconds without start-up.

    It decodes the whole file at 22,050 Hz, takes the log-mel of the first 224 frames (5 s), and runs
    MobileNetV3-Small in eager torch at batch 1. Only the cost matters here: the log-mel is not resized, and
    its one channel is used three times.
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
        log_mel = torch.from_numpy(librosa.power_to_db(mel, ref=np.max)[:, :224].astype(np.float32))
        with torch.inference_mode():
            return int(network(log_mel.expand(1, 3, -1, -1)).argmax())

    label(paths[0])  # the first call loads and compiles parts of librosa
    began, cpu = time.perf_counter(), cpu_seconds()
    for path in paths:
        label(path)
    return time.perf_counter() - began, cpu_seconds() - cpu


def _words_of_peers(commands: Sequence[str]) -> dict[str, list[str]]:
    """The words of each command line, by which contenders are told apart."""
    found: dict[str, list[str]] = {}
    for command in commands:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"{command!r} is no command line: {error}") from None
        if not words:
            raise UsageError("a command line is empty")
        if command in found or command in (_OURS, _FLOOR, _PAPER):
            raise UsageError(f"--peer {command} is timed already: name another command line")
        if shutil.which(words[0]) is None:
            raise UsageError(f"--peer {command}: there is no program {words[0]}")
        found[command] = words
    return found


def _peer(command: str, words: Sequence[str], catalogue: Path, songs: int) -> Contender:
    filled = [word.replace("{dir}", str(catalogue)) for word in words]
    return Contender(command, songs, lambda _: timed(filled)[:2])


def _stages(folder: Path, artifact: Artifact, options: WindowOptions, out: str) -> tuple[StageSeconds, float]:
    """One run's seconds by stage, and its wall time x cores over the CPU seconds."""
    began = time.perf_counter()
    with (
        open_backend(artifact) as backend,
        CatalogueRun(Sources([folder]), artifact, backend, options, out) as run,
    ):
        for _ in run.labels():
            pass
    wall = time.perf_counter() - began
    return run.stages, wall * usable_cores() / run.stages.cpu_s


def _paper_in_child(files: Sequence[str]) -> tuple[float, float]:
    code = f"from {__name__} import paper_pipeline; import sys; print(*paper_pipeline(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
        if "NoBackendError" in last:
            raise MerError(
                "librosa reads these files only with FFmpeg on the PATH: install it, or --no-paper"
            )
        needs = "needs the extra bench" if "ModuleNotFoundError" in last else "failed"
        raise MerError(f"the paper's pipeline {needs}: {last}")
    wall, cpu = done.stdout.split()[-2:]
    return float(wall), float(cpu)
