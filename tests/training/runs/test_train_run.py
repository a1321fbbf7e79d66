"""Whole trainings on generated music: what they learn, leave behind and say of themselves."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from merkit.engine.data.labelled_audio import labelled_audio
from merkit.engine.errors import MerError, UsageError
from merkit.training.data.examples import Examples, examples_from_audio
from merkit.training.data.splits import splits_from_protocol
from merkit.training.networks.checkpoint import network_from_checkpoint, save_checkpoint, spec_from_checkpoint
from merkit.training.recipe import PROTOCOLS, with_overrides
from merkit.training.runs.observer import NoObserver
from merkit.training.runs.provenance import only_new
from merkit.training.runs.run_folder import CARD, CHECKPOINT, LOGITS, METRICS
from merkit.training.runs.train_run import Job, _Run, train_split
from small_training import SMALL, Says, Trained, fast_job

pytestmark = pytest.mark.xdist_group("trained")


def test_best_learns_and_leaves_everything_behind(examples: Examples, trained: Trained, tmp_path: Path):
    job, split, run = trained
    folder = run.folder
    assert run.metrics["macro_f1"] > 0.7  # chance is 0.5, and these artists were never heard
    names = {path.name for path in folder.iterdir()}
    assert names == {CHECKPOINT, METRICS, CARD, "run.json", "logits.npz", "curves.png", "confusion.png"}
    assert all((folder / name).read_bytes()[:4] == b"\x89PNG" for name in ("curves.png", "confusion.png"))
    network, spec = network_from_checkpoint(folder / CHECKPOINT)
    provenance = spec.provenance
    held_out = {examples.readable[i].id for i in split.test}
    assert {clip["id"] for clip in provenance["test_clips"]} == held_out
    names = {examples.readable[i].name for i in split.test}
    assert {clip["path"] for clip in provenance["test_clips"]} == names
    heard = {examples.readable[i].id for part in (split.training, split.validation) for i in part}
    assert provenance["heard_clips"] == " ".join(sorted(identity[:16] for identity in heard))
    assert len(heard) + len(held_out) == len(examples.readable)
    assert provenance["split"]["kind"] == "grouped"
    assert provenance["split"]["hash"] == split.hash
    assert provenance["metrics"]["macro_f1"] == run.metrics["macro_f1"]
    assert provenance["finished"]
    assert len(spec.audio.mean) == len(spec.audio.std) == 1
    assert "grouped by group: none stands on both sides" in (folder / CARD).read_text()
    assert run.metrics["parameters"] == sum(p.numel() for p in network.parameters())
    assert run.metrics["macs"] is None  # nothing was exported
    # Done is done: nothing is trained, and nothing is lost.
    again = train_split(job, examples, split, folder, "resume")
    assert again.metrics == run.metrics
    assert again.history == run.history
    with pytest.raises(UsageError, match="holds a training; resume it, or overwrite it"):
        train_split(job, examples, split, folder)
    other = fast_job("epochs=16", "seed=1", "mixup=0")
    differing = "mixup: 0.3 there, 0.0 here; seed: 0 there, 1 here"
    with pytest.raises(
        MerError, match=rf"another training \({differing}\): name another folder \(--out; --runs of a table\)"
    ):
        train_split(other, examples, split, folder, "resume")
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / METRICS).write_text("{}")
    with pytest.raises(MerError, match=r"metrics\.json is not what mer-train wrote"):
        train_split(job, examples, split, tmp_path / "copy", "resume")
    repeated = train_split(job, examples, split, tmp_path / "copy", "overwrite")
    state = network_from_checkpoint(repeated.folder / CHECKPOINT)[0].state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_a_licence_for_what_is_finished_is_not_lost_in_silence(examples: Examples, trained: Trained):
    job, split, run = trained
    said = Says()
    train_split(dataclasses.replace(job, licence="MIT"), examples, split, run.folder, "resume", said)
    assert said.lines == [f"{run.folder} is finished: its card keeps the licence that it has"]
    train_split(job, examples, split, run.folder, "resume", silent := Says())
    assert silent.lines == []


def test_weights_are_told_apart_by_what_they_are(
    examples: Examples, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another network of the same name is another training; the same one under another path is not."""
    (tmp_path / "w").mkdir()
    shutil.copy(trained.run.folder / CHECKPOINT, tmp_path / "w" / CHECKPOINT)
    job = fast_job("epochs=1")

    def with_weights(weights: object) -> Job:
        return dataclasses.replace(job, protocol=dataclasses.replace(job.protocol, weights=str(weights)))

    def key(weights: object) -> str:
        return _Run(
            with_weights(weights), examples, trained.split, tmp_path, job.protocol.audio, NoObserver()
        ).key

    before, none = key(tmp_path / "w"), key("none")
    monkeypatch.chdir(tmp_path)
    assert key("w") == key("./w") == before != none
    network, spec = network_from_checkpoint(tmp_path / "w" / CHECKPOINT)
    with torch.no_grad():
        next(network.parameters()).mul_(0.5)
    save_checkpoint(network, spec, tmp_path / "w" / CHECKPOINT)
    assert key("w") not in (before, none)
    # So is a file that does not say what it is of.
    torch.save(network.state_dict(), "plain.pt")
    plain = key("plain.pt")
    torch.save(trained.run.metrics["parameters"], "plain.pt")
    assert key("plain.pt") != plain


def test_groups_that_are_known_by_now_make_another_training(
    examples: Examples, trained: Trained, tmp_path: Path
):
    """Inner folds, intervals and the card depend on them, not on what they are called."""
    job, split, run = trained

    def in_groups(*groups: str) -> Examples:
        named = zip(examples.clips, groups, strict=True)
        return dataclasses.replace(examples, clips=tuple(dataclasses.replace(c, group=g) for c, g in named))

    def key(heard: Examples) -> str:
        return _Run(job, heard, split, tmp_path, job.protocol.audio, NoObserver()).key

    none = in_groups(*(clip.name for clip in examples.clips))
    assert key(examples) == key(in_groups(*(f"{clip.group}, singer" for clip in examples.clips)))
    assert len({key(examples), key(none), key(in_groups(*("ab"[i // 20] for i in range(40))))}) == 3
    with pytest.raises(MerError, match=r"another training \(grouped by: 'group' there, 'clip' here\): name"):
        train_split(job, dataclasses.replace(none, grouped_by="clip"), split, run.folder, "resume")


def test_a_run_of_an_earlier_version_is_refused_in_a_line(
    examples: Examples, trained: Trained, tmp_path: Path
):
    """Which knew other things of a training: its key is another, and its files tell no difference."""
    job, split, run = trained
    shutil.copytree(run.folder, folder := tmp_path / "run")
    (folder / "run.json").write_text('{"key": "of then"}')
    for name in (METRICS, None):  # finished, and stopped
        with pytest.raises(MerError, match=r"another training \(.*of an earlier version\): name") as why:
            train_split(job, examples, split, folder, "resume")
        assert len(str(why.value).splitlines()) == 1
        if name:
            (folder / name).rename(folder / "state.pt")


def test_a_network_says_the_recipe_that_made_it(examples: Examples, tmp_path: Path):
    """Without a validation part no epoch is chosen, whatever was asked for."""
    job = fast_job("epochs=1", "patience=5")
    job = dataclasses.replace(job, protocol=dataclasses.replace(job.protocol, validation_share=0.0))
    (split,) = splits_from_protocol(examples.clips, job.protocol, "grouped")
    run = train_split(job, examples, split, tmp_path)
    recipe = spec_from_checkpoint(tmp_path / CHECKPOINT).provenance["recipe"]
    assert (recipe["keep"], recipe["patience"]) == ("last", 0)
    assert recipe == run.metrics["recipe"]
    assert "keep last" in (tmp_path / CARD).read_text()


@pytest.mark.parametrize("left", [None, b"PK junk"])
def test_lost_predictions_are_made_again(
    examples: Examples, trained: Trained, tmp_path: Path, left: bytes | None
):
    job, split, run = trained
    shutil.copytree(run.folder, folder := tmp_path / "run")
    (folder / LOGITS).unlink()
    if left:
        (folder / LOGITS).write_bytes(left)
    again = train_split(job, examples, split, folder, "resume", says := Says())
    assert says.lines == [f"{folder / LOGITS} was missing or damaged: made again from the checkpoint"]
    assert again.metrics == run.metrics
    assert again.predictions
    assert run.predictions
    assert again.predictions.ids == run.predictions.ids
    np.testing.assert_allclose(again.predictions.by_song(), run.predictions.by_song(), atol=1e-5)
    (folder / CHECKPOINT).unlink()
    train_split(job, examples, split, folder, "resume")  # nothing of it is needed
    (folder / LOGITS).unlink()
    with pytest.raises(
        UsageError, match=r"checkpoint\.safetensors is missing from .*, or --overwrite, to train"
    ):
        train_split(job, examples, split, folder, "resume")


def test_tags_are_learnt_and_not_delivered(examples: Examples, tmp_path: Path):
    """They make another network of the same shape; with other tags a folder is another training's."""
    clips = [
        dataclasses.replace(clip, tags=("all", "few") if i < 3 else ("all", f"part {i % 2}"))
        for i, clip in enumerate(examples.clips)
    ]
    with_tags = dataclasses.replace(examples, clips=tuple(clips))
    plain, job = fast_job("epochs=2"), fast_job("epochs=2", "tag_weight=1")
    (split,) = splits_from_protocol(examples.clips, job.protocol, "grouped")
    train_split(plain, with_tags, split, tmp_path / "plain")
    train_split(job, with_tags, split, tmp_path / "tags")
    without, _ = network_from_checkpoint(tmp_path / "plain" / CHECKPOINT)
    network, spec = network_from_checkpoint(tmp_path / "tags" / CHECKPOINT)
    assert spec.provenance["data"]["tags"] == ["part 0", "part 1"]
    assert "beside the labels: part 0, part 1." in (tmp_path / "tags" / CARD).read_text()
    shapes = [{name: t.shape for name, t in n.state_dict().items()} for n in (network, without)]
    assert shapes[0] == shapes[1]
    assert not torch.equal(
        network.state_dict()["classifier.1.weight"], without.state_dict()["classifier.1.weight"]
    )
    assert train_split(job, with_tags, split, tmp_path / "tags", "resume").metrics["epochs"] == 2
    with pytest.raises(MerError, match="another training"):
        train_split(job, examples, split, tmp_path / "tags", "resume")


def test_hindi_2022(songs: Path, cache: Path, tmp_path: Path):
    protocol = with_overrides(PROTOCOLS["hindi-2022"], ["epochs=2", "batch_size=8", *SMALL])
    protocol = dataclasses.replace(protocol, weights="none")
    examples = examples_from_audio(labelled_audio(songs), protocol.audio, cache, 1)
    (split,) = splits_from_protocol(examples.clips, protocol, "random")
    assert (len(split.training), len(split.validation), len(split.test)) == (32, 0, 8)
    run = train_split(Job("squeezenet", protocol, "generated"), examples, split, tmp_path / "run")
    assert len(run.history) == 2
    assert all(np.isfinite(row.val_loss) for row in run.history)  # its curves are of the test set
    assert run.metrics["temperature"] == 1.0
    _, spec = network_from_checkpoint(tmp_path / "run" / CHECKPOINT)
    assert spec.audio.reference == "max"
    assert len(spec.audio.mean) == 1
    assert spec.provenance["recipe"]["loss"] == "bce"
    assert spec.provenance["recipe"]["layers"] == "head"


def test_icm_2020_has_pieces_of_one_clip_on_both_sides_and_says_so(songs: Path, cache: Path, tmp_path: Path):
    sound = {"sample_rate": 16_000, "fmax": 8_000, "window_samples": 6_400, "hop_length": 128}
    sets = [f"audio.{name}={value}" for name, value in {**sound, "frames": 51, "n_mels": 32}.items()]
    protocol = with_overrides(PROTOCOLS["icm-2020"], ["epochs=1", *sets])
    protocol = dataclasses.replace(protocol, weights="none")
    data = labelled_audio(songs)
    alone = tuple(dataclasses.replace(clip, group=clip.name) for clip in data.clips)
    data = dataclasses.replace(data, clips=alone, grouped_by="clip")
    examples = examples_from_audio(data, protocol.audio, cache, 1, protocol.sub_clips)
    assert len(examples.clips) == 5 * len(examples.readable) == 200
    assert examples.grouped_by == "recording"
    (random,) = splits_from_protocol(examples.clips, protocol, "random")
    both = {int(examples.songs[i]) for i in random.training} & {int(examples.songs[i]) for i in random.test}
    assert len(random.test) == 30
    assert both
    (grouped,) = splits_from_protocol(examples.clips, protocol, "grouped")
    assert not {int(examples.songs[i]) for i in grouped.training} & {
        int(examples.songs[i]) for i in grouped.test
    }
    job = Job("audiocnn", protocol, "generated")
    run = train_split(job, examples, random, tmp_path / "run")
    network, spec = network_from_checkpoint(tmp_path / "run" / CHECKPOINT)
    assert type(network).__name__ == "ExtraHead"
    assert run.metrics["window"]["windows"] == 30
    ids = {clip["id"] for clip in spec.provenance["test_clips"]}
    assert ids.isdisjoint(examples.readable[song].id for song in both)
    assert run.predictions
    assert set(only_new(job, examples, [random], run.predictions).ids) == ids
    heard = {examples.readable[int(examples.songs[i])].id[:16] for i in random.training}
    assert set(spec.provenance["heard_clips"].split()) == heard
    tested = {int(examples.songs[i]) for i in random.test}
    note = f"of {len(tested)} test songs {len(both)} stand in training as well"
    assert note in (tmp_path / "run" / CARD).read_text()


def test_nan_leaves_the_last_good_checkpoint(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from merkit.training.fit import trainer

    calls, real = 0, trainer.training_loss

    def failing(*arguments):
        nonlocal calls
        calls += 1
        return real(*arguments) * (float("nan") if calls == 5 else 1)

    monkeypatch.setattr(trainer, "training_loss", failing)
    job = fast_job("keep=last")
    (split,) = splits_from_protocol(examples.clips, job.protocol, "grouped")
    with pytest.raises(MerError, match=r"became nan in epoch \d, step \d"):
        train_split(job, examples, split, tmp_path)
    _, spec = network_from_checkpoint(tmp_path / CHECKPOINT)
    assert not spec.provenance["finished"]
    assert not (tmp_path / METRICS).exists()
