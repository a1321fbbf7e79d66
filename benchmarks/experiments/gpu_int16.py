"""What the int16 samples that a GPU gets change: each song's label from them, against that from float32."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...engine.arrays import Float32
from ...engine.artifact import DEFAULT_MODEL, open_artifact
from ...engine.catalogue.expand import inputs_from_paths
from ...engine.errors import MerError
from ...engine.labelling.file_windows import FileFacts, WindowOptions, log_mels_from_file, samples_from_file
from ...engine.labelling.packed_samples import samples_from_packed
from ...engine.labelling.song_label import label_from_logits
from ...engine.labelling.worker_pool import Failure, WorkerPool
from ...engine.runtimes import open_runtime
from ...engine.spectrogram.log_mel import log_mel_from_audio


@dataclass
class Int16:
    """How many songs have another emotion or verdict, and the largest change of a probability."""

    songs: int = 0
    failed: int = 0
    emotions: int = 0
    verdicts: int = 0
    probability: float = 0.0


def compare_int16(folder: Path, say: Callable[[str], None] = lambda line: None) -> Int16:
    """Labels every song of a folder twice with the default model, on the CPU.

    Raises:
        MerError: no audio there.
    """
    paths = inputs_from_paths([folder]).paths
    if not paths:
        raise MerError(f"no audio in {folder}")
    artifact = open_artifact(DEFAULT_MODEL)
    found = Int16()
    with (
        open_runtime(artifact) as runtime,
        WorkerPool(both_log_mels, WindowOptions(artifact.spec.audio)) as pool,
        closing(pool.map(paths)) as results,
    ):
        for position, result in results:
            if isinstance(result, Failure):
                say(f"{paths[position]}: {result.reason}")
                found.failed += 1
                continue
            facts, *log_mels = result
            plain, packed = (
                label_from_logits("", facts, runtime.infer(each), artifact.spec) for each in log_mels
            )
            change = np.abs(np.subtract(plain.probabilities, packed.probabilities)).max()
            found.songs += 1
            found.emotions += plain.emotion != packed.emotion
            found.verdicts += plain.verdict != packed.verdict
            found.probability = max(found.probability, float(change))
    return found


def both_log_mels(path: str, options: WindowOptions) -> tuple[FileFacts, Float32, Float32]:
    """A file's log-mels from float32 samples, and from int16."""
    plain, packed = log_mels_from_file(path, options), samples_from_file(path, options)
    samples = samples_from_packed(np.asarray(packed.samples), packed.scales)
    return plain.facts, np.asarray(plain.log_mels), log_mel_from_audio(samples, options.spec)
