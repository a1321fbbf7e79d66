"""The folder of a run: the files that it holds, the finished run read from them, and whether work remains."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...engine.backbone_names import NETWORKS, outside_backbones
from ...engine.catalogue.folder_lock import FolderLock
from ...engine.errors import ArtifactError, MerError, UsageError, os_errors_say
from ...engine.files import NO_ROOM
from ..evaluate.metrics_report import write_json
from ..evaluate.predictions import Predictions, load_predictions
from ..fit.trainer import Epoch, read_state
from ..networks.checkpoint import spec_from_checkpoint
from ..networks.trained import place_of_weights

Mode = Literal["fresh", "resume", "overwrite"]
"""What to do with a folder that holds a run: refuse it, continue the run, or replace it."""

CHECKPOINT, METRICS, CARD = "checkpoint.safetensors", "metrics.json", "card.md"
STATE, _KEY, LOGITS = "state.pt", "run.json", "logits.npz"
_FIGURES = ("confusion.png", "curves.png")
_FILES = (CHECKPOINT, METRICS, CARD, STATE, _KEY, LOGITS, *_FIGURES)
_DIFFERING = "of other data, groups, split, recipe, network, weights or teachers, or of an earlier version"
_OF_EVERY_RUN = {"model", "protocol", "recipe", "split"}  # in the metrics, also of folds


@dataclass(frozen=True)
class FinishedRun:
    """A finished training or cross-validation.

    ``metrics`` are those of metrics.json. ``history`` is empty for a cross-validation. ``predictions``
    are of the test part; None where the run had none.
    """

    folder: Path
    metrics: Mapping[str, Any]
    history: tuple[Epoch, ...]
    predictions: Predictions | None


def run_from_folder(folder: Path, needed: Sequence[str] = ()) -> FinishedRun:
    """Reads a finished run.

    Args:
        needed: what its metrics must say.

    Raises:
        MerError: the folder holds none, or its metrics are damaged.
    """
    path = folder / METRICS
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        history = tuple(_epoch(row) for row in metrics.get("history", ()))
        if missing := [name for name in needed if name not in metrics]:
            raise ValueError(missing)
    except OSError as error:
        raise MerError(f"{folder} holds no finished training ({path}: {error.strerror})") from None
    except (ValueError, TypeError, AttributeError, RecursionError):
        reason = f"{path} is not what mer-train wrote: remove it, or --overwrite, to train it again"
        raise MerError(f"{folder} holds no finished training: {reason}") from None
    logits = folder / LOGITS
    return FinishedRun(folder, metrics, history, load_predictions(logits) if logits.exists() else None)


def checkpoint_of(folder: Path) -> Path:
    """The checkpoint of a finished training.

    Raises:
        UsageError: it is not there any more.
        ArtifactError: it is damaged.
    """
    path, again = folder / CHECKPOINT, f"remove {folder}, or --overwrite, to train it again"
    if not path.exists():
        raise UsageError(f"{path} is missing from a finished training: {again}")
    try:
        spec_from_checkpoint(path)
    except ArtifactError as error:
        raise ArtifactError(f"{error}; {again}") from None
    return path


def epochs_in(folder: Path) -> int:
    """How many epochs of an unfinished training are done; 0 where none was begun.

    Raises:
        MerError: its state is damaged.
    """
    if not (folder / STATE).exists():
        return 0
    # mmap, since VGG16's state has 2.7 GB, of which this needs a few bytes.
    return len(json.loads(read_state(folder / STATE, mmap=True)["history"]))


@contextmanager
def results_folder(folder: Path, mode: Mode) -> Iterator[None]:
    """Makes the folder, and lets no other training write into it during the block.

    One that was made here and got nothing, since the training was refused, goes at the end.

    Raises:
        UsageError: it holds a run, and the mode is "fresh".
        MerError: it cannot be made or written, or another training is at work there; or the disk was full
            before any epoch's state was written, so that --resume has nothing to go on with.
    """
    try:
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MerError(f"{folder} cannot be made: {error.strerror}; name another folder") from None
    lock = FolderLock(folder)
    try:
        refuse_held(folder, mode)
        yield
    except OSError as error:
        if error.errno not in NO_ROOM or any(next(folder.rglob(name), None) for name in (STATE, METRICS)):
            raise
        place = f"{error.filename}: " if error.filename is not None else ""
        raise MerError(f"{place}{error.strerror}") from None
    finally:
        lock.release(remove=is_new)


def check_apart(folder: Path, weights: Iterable[str]) -> None:
    """Whether networks that are read lie outside the folder of results, which a run clears for itself.

    Args:
        weights: as options name them.

    Raises:
        UsageError: one of them lies in the folder, or is it.
    """
    for place in filter(None, map(place_of_weights, weights)):
        # As it is named too: a link in the folder would be removed.
        if any(make(place).is_relative_to(make(folder)) for make in (Path.resolve, _absolute)):
            raise UsageError(f"{place} is read, and lies in {folder}, where results go: name another folder")


def check_files(folder: Path, model: str = "") -> None:
    """Whether a run of ``model`` replaces nothing in the folder but what a run wrote.

    Raises:
        UsageError: it is no run's folder, and has a file of a name that a run writes.
    """
    names = (*_FILES, f"{model}.onnx") if model else _FILES
    found = [name for name in names if os.path.lexists(folder / name)]
    if found and not _is_run(folder):
        raise UsageError(
            f"{folder / found[0]} is there, and no training in this folder wrote it: move it away, or name "
            "another folder"
        )


def prepare_folder(
    folder: Path, key: str, mode: Mode, model: str = "", differing: Callable[[], str] = lambda: ""
) -> bool:
    """Makes the folder ready for the run of ``model`` that ``key`` identifies.

    A run that failed in its first epoch left nothing to go on with, so it does not count. What the run
    before wrote is removed.

    Args:
        differing: asked where it holds another run: how that differs, where it is known.

    Returns:
        Whether the folder already holds that run, finished.

    Raises:
        UsageError: it holds a run, and the mode is "fresh"; or see ``check_files``.
        MerError: it holds another run, and the mode is "resume"; or it cannot be read or written.
    """
    with os_errors_say(f"{folder} cannot be used"):
        folder.mkdir(parents=True, exist_ok=True)
        check_files(folder, model)
        refuse_held(folder, mode)
        begun, finished = (folder / STATE).exists(), (folder / METRICS).exists()
        has_network = (folder / CHECKPOINT).exists()  # its metrics were not written yet, or are lost
        if (begun or finished or has_network) and mode == "resume":
            if _key_in(folder) != key:
                raise MerError(
                    f"{folder} holds another training ({differing() or _DIFFERING}): name another folder "
                    "(--out; --runs of a table), give the options of then, or remove it"
                )
            return finished and not begun
        if mode == "overwrite":
            remove_runs(folder, model)
        _remove_run(folder, model)
        write_json({"key": key}, folder / _KEY)
    return False


def prepare_folds_folder(folder: Path, mode: Mode) -> None:
    """Makes the folder ready for a cross-validation, whose folds have folders in it.

    Raises:
        UsageError: it holds a training that is none of these folds, and the mode is not "overwrite"; or see
            ``check_files``.
        MerError: it cannot be written.
    """
    check_files(folder)
    if (folder / _KEY).exists() and mode != "overwrite":  # only a single training has one
        raise UsageError(f"{folder} holds a training without folds: name another folder, or overwrite it")
    refuse_held(folder, mode)
    if mode == "overwrite":
        remove_runs(folder)


def prepare_folder_of_runs(folder: Path, mode: Mode) -> None:
    """Makes the folder ready for runs of several networks or splits, which have folders in it.

    Raises:
        UsageError: it holds one network's training itself, which would stay the folder's network, and the
            mode is not "overwrite".
        MerError: it cannot be written.
    """
    if not _is_run(folder):
        return
    if mode != "overwrite":
        raise UsageError(f"{folder} holds one training: name another folder, or overwrite it")
    remove_runs(folder)


def refuse_held(folder: Path, mode: Mode) -> None:
    """Refuses a folder that holds a training, whole or in part.

    Raises:
        UsageError: it does, and the mode is "fresh".
    """
    places = [folder, *filter(_is_run, [folder / "fold-1"])]  # where folds write first
    names = (STATE, METRICS, CHECKPOINT)
    if mode == "fresh" and any((place / name).exists() for place in places for name in names):
        raise UsageError(f"{folder} holds a training; resume it, or overwrite it")


def remove_runs(folder: Path, model: str = "") -> None:
    """Removes the training of ``model`` that the folder holds, its folds, its trials and its final network.

    Raises:
        MerError: one cannot be removed.
    """
    with os_errors_say(f"{folder} cannot be used"):
        inner = [run for name in ("final", "fold-*", "plans/*", "plans/*/*") for run in folder.glob(name)]
        for run in [run for run in (folder, *inner) if _is_run(run)]:
            _remove_run(run, model)
            (run / _KEY).unlink(missing_ok=True)
        for run in reversed(inner):
            with suppress(OSError):  # it is a file, or something else is in it
                run.rmdir()


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


def _is_run(folder: Path) -> bool:
    """Whether a run of ours wrote what is in the folder; other programs name their files run.json too."""
    for run in (folder, folder / "fold-1"):  # folds write into their own folders first
        with suppress(MerError):
            if isinstance(_key_in(run), str):
                return True
    return _metrics_in(folder).keys() >= _OF_EVERY_RUN


def _remove_run(folder: Path, model: str) -> None:
    """Where metrics.json is lost, ``model`` says which .onnx would be taken for the next run's."""
    exported = {f"{name}.onnx" for name in (model, _exported(folder)) if name}
    for name in (METRICS, STATE, LOGITS, CHECKPOINT, CARD, *_FIGURES, *exported):
        (folder / name).unlink(missing_ok=True)


def _key_in(folder: Path) -> str:
    try:
        return json.loads((folder / _KEY).read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise MerError(
            f"{folder} holds a training, but {_KEY} does not say which: overwrite it, or name another folder"
        ) from None


def _metrics_in(folder: Path) -> dict[str, Any]:
    """The metrics of a folder as they stand there; empty where they are none."""
    try:
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return metrics if isinstance(metrics, dict) else {}


def _exported(folder: Path) -> str:
    """The network that a finished run exported, whose file would outlive its checkpoint; "" if none."""
    model = _metrics_in(folder).get("model")
    # Only a network's own name: the file may be anyone's, and what it names is removed.
    return model if model in (*NETWORKS, *outside_backbones()) else ""


def _epoch(row: Mapping[str, Any]) -> Epoch:
    """An epoch of metrics.json, where NaN is null."""
    return Epoch(**{name: np.nan if value is None else value for name, value in row.items()})  # pyright: ignore
