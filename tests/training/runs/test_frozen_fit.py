"""A frozen network with a head is a run like others: same files, same figures through the engine."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from audio_files import noise
from audioset_files import random_audioset
from merkit.engine.artifact import open_artifact
from merkit.engine.data.labelled_audio import labelled_audio
from merkit.engine.errors import UsageError
from merkit.engine.labelling.file_windows import WindowOptions, log_mels_from_file
from merkit.engine.runtimes import open_runtime
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.embeddings import embeddings
from merkit.training.embeddings.ears import ears_from_source
from merkit.training.embeddings.head import fit_head
from merkit.training.evaluate.metrics_report import card_from_spec
from merkit.training.networks.audioset import AudioSetNet
from merkit.training.networks.checkpoint import network_from_checkpoint
from merkit.training.networks.onnx_weights import network_from_onnx
from merkit.training.recipe import PROTOCOLS, with_overrides
from merkit.training.runs import frozen_fit
from merkit.training.runs.export_and_score import export_run
from merkit.training.runs.observer import NoObserver
from merkit.training.runs.plan_check import check_plan
from merkit.training.runs.run_folder import FinishedRun
from merkit.training.runs.session import Session, read_examples, run_session
from pool_here import pool_here
from safetensors.torch import save_file
from small_training import Says, Trained


@pytest.fixture(autouse=True)
def _decoded_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No child processes: they take seconds to start."""
    monkeypatch.setattr(embeddings, "WorkerPool", pool_here())


def _session(songs: Path, cache: Path, out: Path, weights: Path | str, **fields) -> Session:
    # Another split than that of the network: some of its test clips were heard before.
    protocol = dataclasses.replace(PROTOCOLS["best"], weights=str(weights), split_seed=1)
    data = labelled_audio(songs / "clips.csv")
    fields = {"plan": "frozen", "export": False, **fields}
    return Session(data, "generated", ("audiocnn",), protocol, out, ("grouped",), cache=cache, **fields)


@pytest.fixture
def frozen(trained: Trained, songs: Path, cache: Path, tmp_path: Path) -> tuple[FinishedRun, list[str]]:
    """A head over a network that has heard these songs."""
    says = Says()
    chosen = frozenset(("mixup", "epochs", "lowpass"))
    session = _session(songs, cache, tmp_path / "run", trained.run.folder, chosen=chosen)
    (run,), skipped = run_session(session, says)
    assert skipped == 0
    return run, says.lines


def test_other_labels_that_a_frozen_network_does_not_learn_are_said(
    trained: Trained, songs: Path, cache: Path, tmp_path: Path
):
    says = Says()
    check_plan(_session(songs, cache, tmp_path, trained.run.folder, second=(songs,)), says)
    said = "a frozen network has a head by logistic regression: labels of --second-head not used"
    assert said in says.lines


def test_a_frozen_run_ends_as_any_run(frozen: tuple[FinishedRun, list[str]], trained: Trained):
    run, lines = frozen
    assert run.metrics["macro_f1"] > 0.9  # its network was trained on these very songs
    assert "a frozen network has a head by logistic regression: epochs, mixup not used" in lines
    assert any("was trained on" in line and "say nothing of new music" in line for line in lines)
    network, spec = network_from_checkpoint(run.folder / "checkpoint.safetensors")
    before, own = network_from_checkpoint(trained.run.folder / "checkpoint.safetensors")
    assert torch.equal(
        network.get_parameter("embedding.network.features.0.weight"),
        before.get_parameter("features.0.weight"),
    )
    assert spec.audio == own.audio
    recipe = next(line for line in card_from_spec(spec).splitlines() if "**Recipe**" in line)
    assert "codec 0.0" in recipe
    assert "epochs" not in recipe
    assert spec.temperature == run.metrics["temperature"]
    assert (spec.provenance["plan"], spec.provenance["weights"]) == ("frozen", trained.run.folder.name)
    # What the network heard before counts as heard.
    assert set(own.provenance["heard_clips"].split()) <= set(spec.provenance["heard_clips"].split())
    assert not {clip["id"][:16] for clip in spec.provenance["test_clips"]} & set(
        own.provenance["heard_clips"].split()
    )


def test_its_export_gives_the_logits_that_were_measured(
    frozen: tuple[FinishedRun, list[str]], songs: Path, tmp_path: Path
):
    run, _ = frozen
    target = tmp_path / "frozen.onnx"
    export_run(run.folder, target)
    artifact = open_artifact(str(target))
    assert run.predictions is not None
    path = songs / run.predictions.names[0]
    log_mels = np.asarray(log_mels_from_file(str(path), WindowOptions(artifact.spec.audio)).log_mels)
    with open_runtime(artifact, "onnxruntime", 1) as runtime:
        logits = runtime.infer(log_mels)[:, : len(artifact.spec.labels)]  # evidence may follow
    assert np.allclose(logits, run.predictions.logits[0], atol=1e-3)
    # And it comes back from either file, to be embedded with or to get another head.
    network, _ = network_from_onnx(target)
    with torch.inference_mode():
        assert np.allclose(network(torch.from_numpy(log_mels)).numpy(), logits, atol=1e-3)
    heard = ears_from_source(str(target)).embed(log_mels)
    assert np.allclose(heard, ears_from_source(str(run.folder)).embed(log_mels), rtol=1e-3, atol=1e-3)


def test_its_lost_predictions_are_made_again(
    frozen: tuple[FinishedRun, list[str]], trained: Trained, songs: Path, cache: Path
):
    run, _ = frozen
    (run.folder / "logits.npz").unlink()
    chosen = frozenset(("mixup", "epochs", "lowpass"))
    session = _session(songs, cache, run.folder, trained.run.folder, chosen=chosen, mode="resume")
    (again,), _ = run_session(session, NoObserver())
    assert again.predictions
    assert run.predictions
    for one, other in zip(again.predictions.logits, run.predictions.logits, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_published_weights_may_hear_another_of_their_presets(songs: Path, cache: Path, tmp_path: Path):
    weights = tmp_path / "ears.safetensors"
    save_file(random_audioset(), weights)
    audio = PRESETS["audioset-relative"]
    session = _session(songs, cache, tmp_path / "run", weights)
    protocol = dataclasses.replace(session.protocol, audio=audio)
    session = dataclasses.replace(session, models=("audioset",), protocol=protocol)
    says = Says()
    (run,), _ = run_session(session, says)
    assert any("a frozen network does not learn: sample_rate 32000 then, 16000 now" in x for x in says.lines)
    assert not any("clips end at" in line for line in says.lines)
    read_examples(_session(songs, cache, tmp_path / "as before", weights), says)
    assert any(re.search(r"clips end at [78],\d\d\d Hz, and up to 15,000 is heard", x) for x in says.lines)
    network, spec = network_from_checkpoint(run.folder / "checkpoint.safetensors")
    assert spec.audio == audio
    facts = {"patches": 1, "mels": 128, "middle": AudioSetNet.MIDDLE}  # of which mels the last are silent
    assert spec.provenance["frozen"] == facts
    assert run.predictions is not None
    log_mels = log_mels_from_file(str(songs / run.predictions.names[0]), WindowOptions(audio)).log_mels
    with torch.inference_mode():
        logits = network(torch.from_numpy(np.asarray(log_mels))).numpy()
    assert np.allclose(logits, run.predictions.logits[0], atol=1e-3)


def test_published_weights_may_hear_shorter_windows_and_learn_from_more_of_them(
    songs: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    weights = tmp_path / "ears.safetensors"
    save_file(random_audioset(), weights)
    short = with_overrides(
        dataclasses.replace(PROTOCOLS["best"], audio=PRESETS["audioset-relative"]),
        ["audio.window_samples=16000", "audio.frames=100", "train_windows=4"],
    )
    learnt_from: list[set[int]] = []

    def head(features, *more):
        learnt_from.extend({len(rows) for rows in given} for given in (features, more[-1]))
        return fit_head(features, *more)

    monkeypatch.setattr(frozen_fit, "fit_head", head)
    session = _session(songs, cache, tmp_path / "run", weights)
    protocol = dataclasses.replace(session.protocol, audio=short.audio, recipe=short.recipe)
    session = dataclasses.replace(session, models=("audioset",), protocol=protocol)
    (run,), _ = run_session(session, NoObserver())
    _, spec = network_from_checkpoint(run.folder / "checkpoint.safetensors")
    assert (spec.audio.frames, spec.audio.n_mels) == (100, PRESETS["audioset-relative"].n_mels)
    assert learnt_from == [{4}, {3}]  # the second give the temperature
    assert run.predictions is not None
    assert {len(rows) for rows in run.predictions.logits} == {3}  # what labelling hears


def test_bad_copies_are_made_of_music_without_labels_too(
    trained: Trained, songs: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    music = tmp_path / "music"
    music.mkdir()
    for number in range(3):
        soundfile.write(music / f"{number}.wav", noise(4, 22_050, seed=number), 22_050)
    further: list[int | None] = []

    def head(features, clips, labels, balance, shifts, *more):
        further.append(len(shifts) - len(clips) if shifts else None)
        return fit_head(features, clips, labels, balance, shifts, *more)

    monkeypatch.setattr(frozen_fit, "fit_head", head)
    session = _session(songs, cache, tmp_path / "run", trained.run.folder, unlabelled=(music,))
    for flaws in ([], ["noise=0.5"]):
        protocol = with_overrides(session.protocol, flaws)
        run_session(
            dataclasses.replace(session, protocol=protocol, out=tmp_path / f"run{len(flaws)}"), NoObserver()
        )
    assert further == [None, 3]
    assert len(list((cache / "embeddings" / "unlabelled").rglob("*.npy"))) == 3


def test_a_network_of_ones_own_may_hear_longer_windows(
    trained: Trained, songs: Path, cache: Path, tmp_path: Path
):
    session = _session(songs, cache, tmp_path / "run", trained.run.folder)
    _, own = network_from_checkpoint(trained.run.folder / "checkpoint.safetensors")
    audio = own.audio
    twice = dataclasses.replace(
        audio,
        window_samples=audio.window_samples * 2,
        frames=1 + audio.window_samples * 2 // audio.hop_length,
    )
    protocol = dataclasses.replace(session.protocol, audio=twice)
    (run,), _ = run_session(dataclasses.replace(session, protocol=protocol), NoObserver())
    _, spec = network_from_checkpoint(run.folder / "checkpoint.safetensors")
    assert (spec.audio.window_s, spec.audio.n_mels) == (audio.window_s * 2, audio.n_mels)


def test_plans_that_cannot_be_are_refused(
    trained: Trained, frozen: tuple[FinishedRun, list[str]], songs: Path, cache: Path, tmp_path: Path
):
    run, _ = frozen
    own = _session(songs, cache, tmp_path, trained.run.folder).protocol
    of_ears = dataclasses.replace(own, audio=PRESETS["mer500"])
    more, guarded = (
        dataclasses.replace(own, recipe=dataclasses.replace(own.recipe, **fields))
        for fields in ({"train_windows": 6}, {"guard": 2.0})
    )
    for weights, fields, reason in (
        (trained.run.folder, {"models": ("squeezenet",)}, "are weights of audiocnn, not of squeezenet"),
        (trained.run.folder, {"teachers": (str(trained.run.folder),)}, "learns nothing from teachers"),
        (run.folder, {"plan": "all"}, "is a frozen network"),
        (trained.run.folder, {"protocol": of_ears}, "hears what it was trained on"),
        ("none", {}, "needs the weights of a network"),
        (
            trained.run.folder,
            {"plan": "all", "protocol": more},
            "train_windows is for the head of a frozen network",
        ),
        (
            trained.run.folder,
            {"plan": "all", "protocol": guarded},
            "guard is for the head of a frozen network",
        ),
    ):
        session = dataclasses.replace(_session(songs, cache, tmp_path / "no", weights), **fields)
        with pytest.raises(UsageError, match=reason):
            run_session(session, NoObserver())
