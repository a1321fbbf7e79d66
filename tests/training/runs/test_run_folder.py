"""A folder holds one run; another one, or a damaged one, is refused."""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from merkit.engine.errors import ArtifactError, MerError, UsageError
from merkit.training.runs.run_folder import (
    CHECKPOINT,
    METRICS,
    STATE,
    Mode,
    check_apart,
    check_files,
    checkpoint_of,
    epochs_in,
    prepare_folder,
    prepare_folder_of_runs,
    prepare_folds_folder,
    remove_runs,
    results_folder,
    run_from_folder,
)

_OURS = {"model": "audiocnn", "protocol": "best", "recipe": {}, "split": {}}
"""What metrics.json says at least, where mer-train wrote it."""


def test_a_folder_without_a_training(tmp_path: Path):
    with pytest.raises(MerError, match="no finished training"):
        run_from_folder(tmp_path)
    assert epochs_in(tmp_path) == 0


def test_a_run_is_read_as_it_was_written(tmp_path: Path):
    row = {"epoch": 1, "loss": 1.0, "accuracy": 0.5, "val_loss": None, "val_accuracy": None,
           "val_macro_f1": None, "seconds": 2.0, "better": True}  # fmt: skip
    (tmp_path / METRICS).write_text(json.dumps({"songs": 1, "history": [row]}))
    run = run_from_folder(tmp_path)
    assert run.predictions is None
    assert run.history[0].loss == 1.0
    assert run.history[0].val_loss != run.history[0].val_loss


def _begun(folder: Path, epochs: int = 2) -> None:
    torch.save({"history": json.dumps([{}] * epochs), "key": "one"}, folder / STATE)


def test_whose_folder_it_is(tmp_path: Path):
    folder = tmp_path / "run"
    assert not prepare_folder(folder, "one", "fresh")
    _begun(folder)
    assert epochs_in(folder) == 2
    with pytest.raises(UsageError, match="holds a training; resume it, or overwrite it"):
        prepare_folder(folder, "one", "fresh")
    with pytest.raises(MerError, match="another training"):
        prepare_folder(folder, "other", "resume")
    assert not prepare_folder(folder, "one", "resume")
    (folder / METRICS).write_text(json.dumps(_OURS))
    assert not prepare_folder(folder, "one", "resume")  # its metrics are of an earlier state
    (folder / STATE).unlink()
    assert prepare_folder(folder, "one", "resume")
    with pytest.raises(UsageError, match="holds a training"):
        prepare_folder(folder, "one", "fresh")
    (folder / "run.json").write_text("[]")
    with pytest.raises(MerError, match="does not say which"):
        prepare_folder(folder, "one", "resume")
    assert not prepare_folder(folder, "other", "overwrite")
    assert {path.name for path in folder.iterdir()} == {"run.json"}


@pytest.mark.parametrize("mode", ["fresh", "resume", "overwrite"])
def test_a_run_that_failed_at_once_blocks_nothing(tmp_path: Path, mode: Mode):
    assert not prepare_folder(tmp_path, "failed", "fresh")
    assert not prepare_folder(tmp_path, "next", mode)
    assert json.loads((tmp_path / "run.json").read_text()) == {"key": "next"}


def test_nothing_of_the_run_before_outlives_it(tmp_path: Path):
    """A card, a figure or a network of the run before would be taken for the new run's."""
    (tmp_path / METRICS).write_text(json.dumps(_OURS))
    old = ("card.md", "confusion.png", "curves.png", "checkpoint.safetensors", "audiocnn.onnx", "logits.npz")
    for name in (*old, "notes.txt", "mine.onnx"):
        (tmp_path / name).write_text("old")
    assert not prepare_folder(tmp_path, "new", "overwrite")
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "notes.txt", "mine.onnx"}


def test_a_run_without_its_metrics_is_one(tmp_path: Path):
    """They were lost with a copy; a new run replaced the network, and the old .onnx stayed as its own."""
    prepare_folder(tmp_path, "one", "fresh")
    for name in ("checkpoint.safetensors", "audiocnn.onnx"):
        (tmp_path / name).write_text("old")
    with pytest.raises(UsageError, match="holds a training"):
        prepare_folder(tmp_path, "new", "fresh", "audiocnn")
    with pytest.raises(MerError, match="another training"):
        prepare_folder(tmp_path, "new", "resume", "audiocnn")
    assert not prepare_folder(
        tmp_path, "one", "resume", "audiocnn"
    )  # stopped before its metrics were written
    assert not prepare_folder(tmp_path, "new", "overwrite", "audiocnn")
    assert {path.name for path in tmp_path.iterdir()} == {"run.json"}


def test_folds_do_not_mix_with_a_training_without_folds(tmp_path: Path):
    """The checkpoint of the one would stand beside the metrics of the other."""
    prepare_folds_folder(tmp_path / "new", "fresh")
    assert not prepare_folder(tmp_path, "single", "fresh")
    (tmp_path / METRICS).write_text("{}")
    (tmp_path / "checkpoint.safetensors").write_text("old")
    for mode in ("fresh", "resume"):
        with pytest.raises(UsageError, match="holds a training without folds"):
            prepare_folds_folder(tmp_path, mode)
    prepare_folds_folder(tmp_path, "overwrite")
    assert not list(tmp_path.iterdir())
    (tmp_path / METRICS).write_text(json.dumps(_OURS))  # now of folds
    prepare_folds_folder(tmp_path, "resume")
    with pytest.raises(UsageError, match="holds a training"):
        prepare_folds_folder(tmp_path, "fresh")
    with pytest.raises(MerError, match="does not say which"):
        prepare_folder(tmp_path, "single", "resume")


def test_runs_of_several_networks_do_not_lie_around_one_of_before(tmp_path: Path):
    """Its network would stay the folder's."""
    prepare_folder_of_runs(tmp_path / "new", "fresh")
    prepare_folder(tmp_path, "single", "fresh")
    prepare_folder(tmp_path / "final", "all clips", "fresh")
    for folder in (tmp_path, tmp_path / "final"):
        (folder / "checkpoint.safetensors").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds one training: name another folder, or overwrite it"):
        prepare_folder_of_runs(tmp_path, "resume")
    prepare_folder_of_runs(tmp_path, "overwrite")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_training_without_folds_leaves_no_network_of_folds(tmp_path: Path):
    prepare_folder(tmp_path / "final", "all clips", "fresh")
    (tmp_path / "final" / "checkpoint.safetensors").write_text("old")
    prepare_folder(tmp_path, "single", "overwrite")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("mode", ["fresh", "resume", "overwrite"])
@pytest.mark.parametrize(
    "name",
    ["audiocnn.onnx", "card.md", "checkpoint.safetensors", "logits.npz", "curves.png", "confusion.png",
     "run.json", "metrics.json", "state.pt"],
)  # fmt: skip
def test_what_no_training_wrote_stays(tmp_path: Path, mode: Mode, name: str):
    """A network that was put there to begin with, or what another program calls metrics.json."""
    (tmp_path / name).write_text('{"model": "theirs", "auc": 0.9}')
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=rf"{name} is there, and no training in this folder wrote it"):
        prepare_folder(tmp_path, "one", mode, "audiocnn")
    if name != "audiocnn.onnx":  # folds write none
        with pytest.raises(UsageError, match=rf"{name} is there"):
            prepare_folds_folder(tmp_path, mode)
    assert (tmp_path / name).read_text() == '{"model": "theirs", "auc": 0.9}'
    assert len(list(tmp_path.iterdir())) == 2
    check_files(tmp_path / "new", "audiocnn")


def test_folds_that_were_stopped_are_a_run(tmp_path: Path):
    """Their figures are written one after another, the metrics last."""
    assert not prepare_folder(tmp_path / "fold-1", "one", "fresh", "audiocnn")
    (tmp_path / "curves.png").write_text("old")
    prepare_folds_folder(tmp_path, "resume")
    with results_folder(tmp_path, "fresh"):  # the fold failed in its first epoch
        pass
    _begun(tmp_path / "fold-1")
    with pytest.raises(UsageError, match="holds a training; resume it"), results_folder(tmp_path, "fresh"):
        pass
    (tmp_path / "fold-1" / "run.json").unlink()  # then it is somebody else's
    with results_folder(tmp_path, "fresh"):
        pass


def test_folds_that_are_no_more_are_removed(tmp_path: Path):
    """The network of a fold, or of all clips, that nothing of the new folds measures."""
    for name in ("fold-1", "fold-2", "fold-3", "final"):
        prepare_folder(tmp_path / name, name, "fresh", "audiocnn")
        (tmp_path / name / "checkpoint.safetensors").write_text("old")
    (tmp_path / "fold-3" / "notes.txt").write_text("mine")
    (tmp_path / "fold-4").mkdir()
    (tmp_path / "fold-4" / "card.md").write_text("mine")
    prepare_folds_folder(tmp_path, "resume")
    assert (tmp_path / "fold-3" / "checkpoint.safetensors").exists()
    prepare_folds_folder(tmp_path, "overwrite")
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"fold-3/notes.txt", "fold-4/card.md"}


def test_trials_of_plans_go_with_their_run(tmp_path: Path):
    """--resume would take those of other options for this run's, and refuse them."""
    trials = [tmp_path / "plans" / name for name in ("head-1", "fold-1/frozen-2", "all/head-3")]
    for place in (*trials, tmp_path / "mine"):
        prepare_folder(place, "one", "fresh")
        (place / METRICS).write_text(json.dumps(_OURS))
    (tmp_path / "plans" / "notes.txt").write_text("mine")
    remove_runs(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left == {"plans", "plans/notes.txt", "mine", "mine/run.json", "mine/metrics.json"}


def test_what_is_read_lies_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The run that is overwritten would be removed before it is read."""
    monkeypatch.chdir(tmp_path)
    for name in ("r1/fold-1", "r10", "audiocnn"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "base.onnx").touch()
    (tmp_path / "r1" / "link.onnx").symlink_to(tmp_path / "base.onnx")
    (tmp_path / "also").symlink_to(tmp_path / "r1")
    for weights in ("r1", "r1/fold-1", "./r10/../r1", "also", "also/fold-1", "r1/link.onnx"):
        with pytest.raises(UsageError, match=r" is read, and lies in r1, where results go: name another"):
            check_apart(Path("r1"), ["none", weights])
    check_apart(Path("r1"), ["r10", "base.onnx", "gone", "imagenet", "musicnn-msd"])
    check_apart(Path("r1/new"), ["r1"])
    check_apart(Path("audiocnn"), ["audiocnn"])  # the known network, not the folder


def test_metrics_name_no_file_outside(tmp_path: Path):
    folder = tmp_path / "run"
    folder.mkdir()
    (tmp_path / "mine.onnx").write_text("mine")
    (folder / METRICS).write_text(json.dumps(_OURS | {"model": "../mine"}))
    assert not prepare_folder(folder, "new", "overwrite")
    assert (tmp_path / "mine.onnx").exists()


def test_metrics_that_lack_what_is_needed_are_one_line(tmp_path: Path):
    (tmp_path / METRICS).write_text('{"songs": 1}')
    assert run_from_folder(tmp_path, ["songs"]).metrics == {"songs": 1}
    with pytest.raises(MerError, match=r"metrics\.json is not what mer-train wrote"):
        run_from_folder(tmp_path, ["songs", "model"])


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '{"history": 3}', '{"history": [{"epoch": 1}]}', "[" * 100_000]
)
def test_metrics_of_any_content_are_one_line(tmp_path: Path, text: str):
    (tmp_path / METRICS).write_text(text)
    again = r"remove it, or --overwrite, to train it again$"
    with pytest.raises(MerError, match=f"holds no finished training: .*{again}") as refused:
        run_from_folder(tmp_path)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x08\0\0\0\0\0\0\0{}"])
def test_a_damaged_checkpoint_is_one_line_that_says_what_to_do(tmp_path: Path, content: bytes):
    (tmp_path / CHECKPOINT).write_bytes(content)
    again = f"; remove {tmp_path}, or --overwrite, to train it again$"
    with pytest.raises(ArtifactError, match=again) as refused:
        checkpoint_of(tmp_path)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02]q", b"junk"])
def test_a_damaged_state_is_one_line(tmp_path: Path, content: bytes):
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(MerError, match="is damaged or not a state of mer-train"):
        epochs_in(tmp_path)


def test_one_training_at_a_time(tmp_path: Path):
    folder = tmp_path / "new" / "run"
    second = results_folder(folder, "fresh")
    with results_folder(folder, "fresh"), pytest.raises(MerError, match="in use by another run"), second:
        pass
    with results_folder(folder, "fresh"):
        _begun(folder)
    with pytest.raises(UsageError, match="holds a training"), results_folder(folder, "fresh"):
        pass
    with results_folder(folder, "resume"):
        assert epochs_in(folder) == 2


def test_a_training_that_was_refused_leaves_no_folder(tmp_path: Path):
    new, there, used = tmp_path / "new", tmp_path / "there", tmp_path / "used"
    there.mkdir()
    for folder in (new, there, used):
        with suppress(MerError), results_folder(folder, "fresh"):
            if folder == used:
                (folder / "fold-1").mkdir()
            raise MerError("refused")
    assert not new.exists()
    assert there.exists()  # somebody made it
    assert (used / "fold-1").exists()


def test_a_folder_that_cannot_be_one(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with (
            pytest.raises(MerError, match=r"cannot be made: .*; name another folder"),
            results_folder(folder, "fresh"),
        ):
            pass
        with pytest.raises(MerError, match="cannot be used"):
            prepare_folder(folder, "one", "fresh")


def test_a_full_disk_promises_a_resume_only_where_there_is_something(tmp_path: Path):
    def fill(error: OSError) -> None:
        with results_folder(tmp_path / "run", "resume"):
            raise error

    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        with pytest.raises(MerError, match=f"^x/state.pt: {os.strerror(code)}$"):
            fill(OSError(code, os.strerror(code), "x/state.pt"))
    with pytest.raises(PermissionError):
        fill(PermissionError(errno.EACCES, "no"))
    for name in ("fold-1/metrics.json", "fold-2/state.pt"):  # mer-train adds that --resume goes on
        (tmp_path / "run" / name).parent.mkdir(parents=True)
        (tmp_path / "run" / name).touch()
        with pytest.raises(OSError, match="No space"):
            fill(OSError(errno.ENOSPC, "No space left on device"))
        (tmp_path / "run" / name).unlink()
