"""How many labels change where the sound is changed in ways that are no emotion."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.artifact import Artifact, open_artifact
from ...engine.audio.decoder import Budget
from ...engine.audio.formats import is_remote
from ...engine.audio.open import open_decoder
from ...engine.audio.remote_copy import local_copy
from ...engine.audio.samples import SampleDecoder
from ...engine.audio.windows import samples_at_own_rate
from ...engine.catalogue.expand import Sources
from ...engine.data.clip import Clip, heard_clips, unheard_clips
from ...engine.data.clip_table import spelt_column
from ...engine.data.labelled_audio import labelled_audio
from ...engine.data.metrics import accuracy_and_macro_f1
from ...engine.errors import AudioError, MerError, UsageError
from ...engine.labelling.file_windows import FileLogMels, WindowOptions, log_mels_from_decoder
from ...engine.labelling.local import FileByFile, network_threads
from ...engine.labelling.song_label import SongLabel, label_from_logits
from ...engine.labelling.worker_pool import Failure, WorkerPool
from ...engine.runtimes import open_runtime
from .changes import CHANGES, Change, Sound, changes_from_names

_SONG_S = 600.0  # for one song under all changes
_UNCHANGED = "unchanged"
_NO_LABEL = "no label"
_Z = 1.959964  # 95 % of a normal distribution lie within so many deviations


@dataclass(frozen=True)
class ChangeRow:
    """What one change does to ``songs`` songs, which have a label as they are.

    ``changed`` of them get another label, or none; ``low`` to ``high`` is the 95 % interval of their share
    (Wilson). ``variation`` is the mean distance of probabilities, from 0 to 1 (total variation). ``to``
    counts the new labels, the most frequent first. ``macro_f1`` is known where labels of the songs are, of
    those too that get none as they are.
    """

    name: str
    what: str
    songs: int
    changed: int
    low: float
    high: float
    variation: float
    to: dict[str, int]
    macro_f1: float | None = None

    @property
    def share(self) -> float:
        """Of the songs whose label changes."""
        return self.changed / self.songs


@dataclass(frozen=True)
class Robustness:
    """The first of ``rows`` is sound as it is.

    ``unlabelled`` songs get no label as they are, as what is no music; ``failed`` cannot be heard, and why.
    """

    model: str
    data: str
    seed: int
    note: str
    labels: tuple[str, ...]
    rows: list[ChangeRow]
    unlabelled: int
    failed: list[str]

    def to_mapping(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        rows = [{**dataclasses.asdict(row), "share": row.share} for row in self.rows]
        return {**dataclasses.asdict(self), "rows": rows}


@dataclass(frozen=True)
class _Songs:
    paths: list[str]
    truth: list[int] | None  # positions of labels
    note: str


@dataclass(frozen=True)
class _Task:
    """What child processes do with each song."""

    windows: WindowOptions
    changes: tuple[str, ...]
    seed: int


_Heard = FileLogMels | str | None  # a text says why there is no label; None: the song has nothing to change


def measure_robustness(
    model: str,
    data: Path,
    limit: int = 120,
    changes: Sequence[str] = (),
    seed: int = 0,
    layout: str = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> Robustness:
    """Labels songs as they are and under each change, as mer-label does on a CPU: three windows a song.

    Of labelled audio those clips are taken that the model did not hear, where it knows them.

    Args:
        data: labelled audio, or any folder, list or file of songs.
        limit: so many songs at most, by ``seed``, evenly over the labels; 0 is all.
        changes: names in ``CHANGES``; none are all.
        layout: of labelled audio; "auto" takes what is none for songs without labels, "none" takes all so.
        say: gets lines on the progress and on what was left out.

    Raises:
        UsageError: an unknown model, change or layout, or nothing at ``data``.
        MerError: no song gets a label as it is, or an encoder or a package is missing.
    """
    chosen = changes_from_names(changes)
    artifact = open_artifact(model)
    songs = _songs(data, artifact, limit, layout, np.random.default_rng(seed), say)
    task = _Task(WindowOptions(artifact.spec.audio), tuple(change.name for change in chosen), seed)
    labels, failed = _labels(songs.paths, artifact, task, say)
    unlabelled = [song[0] for song in labels.values() if song[0] and not song[0].emotion]
    if len(unlabelled) == len(labels):
        reason = next(iter(failed.values()), None) or f"the first one is {unlabelled[0].verdict}"
        raise MerError(f"none of {len(songs.paths)} songs gives a label as it is; {reason}")
    rows = _rows(labels, chosen, artifact.spec.labels, songs.truth, say)
    lines = [f"{songs.paths[position]}: {reason}" for position, reason in sorted(failed.items())]
    names = artifact.spec.labels
    return Robustness(artifact.name, data.name, seed, songs.note, names, rows, len(unlabelled), lines)


def log_mels_of_changes(item: tuple[int, str], task: _Task) -> list[_Heard]:
    """Decodes a song whole: the log-mels of its windows as it is, then under each change of the task.

    Raises:
        AudioError: it gives no usable audio as it is.
    """
    position, path = item
    limits = task.windows.limits
    with local_copy(path, limits) if is_remote(path) else nullcontext(path) as local:
        with closing(open_decoder(local, Budget(limits))) as decoder:
            sound = Sound(samples_at_own_rate(decoder), decoder.sample_rate, local)
        heard: list[_Heard] = [_log_mels(sound.samples, sound.rate, task.windows)]
        for name in task.changes:
            rng = np.random.default_rng([task.seed, position])
            samples = CHANGES[name].make(sound, rng)
            try:
                heard.append(None if samples is None else _log_mels(samples, sound.rate, task.windows))
            except AudioError as error:
                heard.append(str(error))
    return heard


def interval_of_share(count: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of ``count / total``, which is right for few and for none too."""
    share, spread = count / total, _Z**2 / total
    middle = share + spread / 2
    half = _Z * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


def _log_mels(samples: Any, rate: int, options: WindowOptions) -> FileLogMels:
    return log_mels_from_decoder(SampleDecoder(samples, rate), options)


def _songs(
    data: Path,
    artifact: Artifact,
    limit: int,
    layout: str,
    rng: np.random.Generator,
    say: Callable[[str], None],
) -> _Songs:
    if not data.exists():
        raise UsageError(f"{data}: no such file or folder")
    if layout != "none":
        try:
            labelled = labelled_audio(data, layout, artifact.spec.labels)
        except UsageError:
            raise
        except MerError as error:
            if layout != "auto":
                raise
            say(f"taken as songs without labels: {error}")
        else:
            for line in labelled.notes:
                say(line)
            return _labelled(labelled.clips, artifact, limit, rng)
    paths = sorted({source.path for source in Sources([data], spelt_column(data, "path"))})
    if not paths:
        raise MerError(f"no audio in {data}")
    order = sorted(rng.permutation(len(paths))[: limit or None].tolist())
    return _Songs([paths[place] for place in order], None, "songs without labels")


def _labelled(clips: Sequence[Clip], artifact: Artifact, limit: int, rng: np.random.Generator) -> _Songs:
    provenance = artifact.spec.provenance
    unheard, heard = unheard_clips(clips, provenance), heard_clips(clips, provenance)
    note = "clips that are new to the model, by its provenance"
    if not unheard:
        note = "clips that the model was trained on" if heard else "clips on which it may have been trained"
    positions = rng.permutation(unheard or len(clips)).tolist()
    by_label = [
        [place for place in positions if clips[place].label == label] for label in artifact.spec.labels
    ]
    by_turns = chain.from_iterable(zip_longest(*by_label))
    taken = sorted([place for place in by_turns if place is not None][: limit or None])
    truth = [artifact.spec.labels.index(clips[place].label) for place in taken]
    judged = unheard or not heard  # else nothing is said of accuracy
    return _Songs([str(clips[place].path) for place in taken], truth if judged else None, note)


def _labels(
    paths: Sequence[str], artifact: Artifact, task: _Task, say: Callable[[str], None]
) -> tuple[dict[int, list[SongLabel | None]], dict[int, str]]:
    """By position the labels of each song, as it is first, and why others have none."""
    labels: dict[int, list[SongLabel | None]] = {}
    failed: dict[int, str] = {}
    with (
        open_runtime(artifact, None, network_threads()) as runtime,
        WorkerPool(log_mels_of_changes, task, seconds=_SONG_S) as pool,
    ):
        network = FileByFile(runtime)
        for done, (position, result) in enumerate(pool.map(enumerate(paths)), 1):
            if isinstance(result, Failure):
                failed[position] = result.reason
                say(f"skipped {paths[position]}: {result.reason}")
            else:
                song = [_label(heard, network, artifact) for heard in result]
                if song[0] is None or song[0].error:
                    failed[position] = (song[0] and song[0].error) or _NO_LABEL
                else:
                    labels[position] = song
            if done % 10 == 0 or done == len(paths):
                say(f"{done} of {len(paths)} songs")
    return labels, failed


def _label(heard: _Heard, network: FileByFile, artifact: Artifact) -> SongLabel | None:
    if heard is None or isinstance(heard, str):
        return SongLabel("", error=heard) if heard else None
    ((_, logits),) = network.add(0, heard)
    return label_from_logits("", heard.facts, logits, artifact.spec)


def _rows(
    labels: dict[int, list[SongLabel | None]],
    changes: Sequence[Change],
    names: Sequence[str],
    truth: Sequence[int] | None,
    say: Callable[[str], None],
) -> list[ChangeRow]:
    rows = []
    titles = [(_UNCHANGED, "as it is"), *((change.name, change.what) for change in changes)]
    for column, (name, what) in enumerate(titles):
        pairs = [
            (position, before, after)
            for position, song in sorted(labels.items())
            if (before := song[0]) and (after := song[column])
        ]
        if not any(before.emotion for _, before, _ in pairs):
            say(f"{what}: no song for it")
        else:
            known = None if truth is None else [truth[position] for position, _, _ in pairs]
            rows.append(_row(name, what, [pair[1:] for pair in pairs], names, known))
    return rows


def _row(
    name: str,
    what: str,
    pairs: Sequence[tuple[SongLabel, SongLabel]],
    names: Sequence[str],
    truth: Sequence[int] | None,
) -> ChangeRow:
    labelled = [(before, after) for before, after in pairs if before.emotion]
    to = Counter(after.emotion or _NO_LABEL for before, after in labelled if after.emotion != before.emotion)
    changed = sum(to.values())
    distances = [
        sum(abs(p - q) for p, q in zip(before.probabilities, after.probabilities, strict=True)) / 2
        if after.probabilities
        else 1.0
        for before, after in labelled
    ]
    macro_f1 = None
    if truth is not None:
        # No label is a wrong answer: a place behind all labels.
        answers = [names.index(after.emotion) if after.emotion else len(names) for _, after in pairs]
        macro_f1 = accuracy_and_macro_f1(np.asarray(truth), np.asarray(answers))[1]
    low, high = interval_of_share(changed, songs := len(labelled))
    mean = float(np.mean(distances))
    return ChangeRow(name, what, songs, changed, low, high, mean, dict(to.most_common()), macro_f1)
