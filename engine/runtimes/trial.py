"""A model computes a few windows in a child process before it computes anything here.

A file from a stranger can ask for any memory and any time, crash its runtime, or fail for every sound.
``check_graph`` lets only graphs pass whose cost follows from their shapes, so that one trial tells; what a
trial of our own process would cost, the child process pays.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact
from ..errors import ArtifactError, MerError
from ..spec import ModelSpec
from .stopping import EndedBySignal

_BATCH = 32  # the most windows that labelling gives a network at once
_MEMORY = 4 << 30  # bytes for a batch: VGG16 takes 1.7 GB on the largest images, MusiCNN twice that
_FRAGMENTS = 256 << 20  # bytes that a first batch leaves in pieces too small for a second
_COPIES = 6  # of the weights, while a runtime loads and rearranges them
_UNTOUCHED = 1 << 30  # bytes that a process has and never used, such as its threads' stacks
_BATCH_S = 1.0  # a slower network tries a smaller batch, with as much less memory
_CPU_S = 20  # VGG16 needs five
_WALL_S = 300.0  # on a busy machine
# What another batch may change of a window's logits. Bundled networks differ by less than 1e-6; INT8 rounds.
_ROUNDING, _LEAST = 0.05, 1e-3

_passed: set[tuple[str, str]] = set()

# The child finds packages where its parent does, and -P keeps it from finding them in the working folder.
_COMMAND = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from merkit.engine.runtimes.trial import answer; answer()"
)


def check_by_trial(artifact: Artifact, runtime: str) -> None:
    """Runs an artifact on made-up log-mels in a child process; once for a content, in one process.

    The bundled models are as trusted as the code, and are not tried.

    Raises:
        ArtifactError: the runtime refuses it, fails, crashes, takes too much memory or time, or gives numbers
            that are not finite, of another shape, or not the same in every batch.
        MerError: no child process can be started; ComputationStoppedError, if a signal ended the trial.
    """
    if artifact.is_bundled:
        return
    tried = hashlib.sha256(artifact.content).hexdigest(), runtime  # an export changes what a file holds
    if tried in _passed:
        return
    problem = _problem(artifact, runtime)
    if problem:
        raise ArtifactError(problem)
    _passed.add(tried)


def _problem(artifact: Artifact, runtime: str) -> str | None:
    header = {
        "path": str(artifact.path),
        "spec": artifact.spec.to_json(),
        "runtime": runtime.replace("-", "_"),
    }
    command = [sys.executable, "-P", "-c", _COMMAND, json.dumps(sys.path)]
    try:
        # A session of its own: Ctrl-C is this process's to handle.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise MerError(f"no process can be started to try {artifact.path}: {error.strerror}") from None
    computing = EndedBySignal(process.kill)
    with process:
        try:
            with computing:
                answer, _ = process.communicate(
                    json.dumps(header).encode() + b"\n" + artifact.content, timeout=_WALL_S
                )
        except subprocess.TimeoutExpired:
            return f"{artifact.path} needs more than {_WALL_S:.0f} s for {_BATCH} windows"
        finally:
            process.kill()
    computing.check()
    with suppress(ValueError):
        return json.loads(answer)
    return f"{artifact.path} {_end(process.returncode)}"


def _end(code: int) -> str:
    if -code == getattr(signal, "SIGXCPU", 0):
        return f"needs more than {_CPU_S} s of CPU time for {_BATCH} windows"
    try:
        return f"crashes its runtime on a trial ({signal.Signals(-code).name})"
    except ValueError:
        return f"ends its runtime on a trial (exit code {code})"


def answer() -> None:
    """In the child process: reads a model from stdin, tries it, and prints what is wrong with it as JSON."""
    header = json.loads(sys.stdin.buffer.readline())
    path, content = Path(header["path"]), sys.stdin.buffer.read()
    artifact = Artifact(path.stem, path, ModelSpec.from_json(header["spec"]), "", content)
    module = import_module(f".{header['runtime']}", __package__)
    try:
        problem = _tried(artifact, module)
    except MerError as error:
        problem = str(error)
    except MemoryError:
        problem = f"{path} needs more than {_MEMORY >> 20} MB for {_BATCH} windows"
    print(json.dumps(problem), flush=True)


def _tried(artifact: Artifact, module: Any) -> str | None:
    _limit("RLIMIT_CPU", int(time.process_time()) + _CPU_S)
    _limit_data(_COPIES * len(artifact.content) + _MEMORY)
    with module.open_runtime(artifact, 1) as runtime:
        began = time.perf_counter()
        first = runtime.infer(_log_mels(artifact.spec, 1))  # the noise of a batch begins with it
        count = max(2, min(_BATCH, int(_BATCH_S / (time.perf_counter() - began))))
        _limit_data(_FRAGMENTS + _MEMORY * count // _BATCH)
        log_mels = _log_mels(artifact.spec, count)
        alone = np.concatenate([first, runtime.infer(log_mels[-1:])])
        logits = runtime.infer(log_mels)
    if not np.isfinite(alone).all() or not np.isfinite(logits).all():
        return f"{artifact.path} gives numbers that are not finite"
    # A recurrent layer that takes the batch for time shows it at an end that others come before.
    in_batch = logits[[0, -1]]
    largest = np.maximum(np.abs(alone), np.abs(in_batch)).max(1)
    if (np.abs(alone - in_batch).max(1) > _ROUNDING * largest + _LEAST).any():
        return (
            f"{artifact.path} gives one window other numbers in another batch: was it exported as it trains "
            "(with dropout or the batch's own statistics), or does it take the batch for time (a GRU or LSTM "
            "without batch_first=True)?"
        )
    return None


def _log_mels(spec: ModelSpec, count: int) -> Float32:
    """Noise as loud as music: log-mels between -60 and 0 dB, standardised as the spec says.

    Every window has a level and a range of its own: the least, the largest and the mean value of a batch and
    their deviation are not those of the first window, whose numbers would show that a network takes them.
    """
    audio = spec.audio
    shape = count, 1, audio.n_mels, audio.frames
    log_mels = np.random.default_rng(0).random(shape, np.float32)  # in place: it may be a quarter of a GB
    log_mels -= 1
    log_mels *= np.array([15, *np.linspace(60, 20, count - 1)], np.float32).reshape(-1, 1, 1, 1)
    log_mels += np.array([-40, *np.linspace(0, -10, count - 1)], np.float32).reshape(-1, 1, 1, 1)
    mean, std = (np.asarray(values, np.float32)[:, None] for values in (audio.mean, audio.std))
    log_mels -= mean
    log_mels /= std
    return log_mels


def _limit(name: str, most: int) -> None:
    """Limits this process where the system can: on Linux. Elsewhere there is the clock alone."""
    with suppress(ImportError, AttributeError, ValueError, OSError):
        import resource

        kind = getattr(resource, name)
        resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))


def _limit_data(further: int) -> None:
    """Limits what this process may take beside what it has."""
    with suppress(ImportError):
        _limit("RLIMIT_DATA", _data_bytes() + further)


def _data_bytes() -> int:
    """What RLIMIT_DATA counts of this process: its own memory, without files that it maps."""
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData"))
    except (OSError, StopIteration):  # no /proc, as in a chroot
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return (most if sys.platform == "darwin" else most << 10) + _UNTOUCHED
