"""Several models in one run: what each says is what it says alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from audio_files import chirp, write_audio
from engine_files import write_engine
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.artifact import Artifact, open_artifact
from merkit.engine.errors import UsageError
from merkit.engine.labelling.file_windows import FileFacts, WindowOptions
from merkit.engine.labelling.further import (
    further_columns,
    further_values,
    label_from_outputs,
    open_models,
    prefix_of_columns,
)
from merkit.engine.labelling.song_label import SongLabel, label_from_json, label_from_logits
from merkit.engine.spec import AudioSpec, EvidenceSpec, ModelSpec
from merkit.engine.spectrogram.presets import PRESETS
from onnx_files import tiny_onnx
from reading import labels_of

FACTS = FileFacts((0.0, 5.0), 20.0, "a decoder", {}, {"title": "A song"}, silent_s=(10.0,))
EVIDENCE = EvidenceSpec(music=0.0, confidence=0.4, far=9.0, distances=(1.0, 5.0, 9.0))
WORDS = ModelSpec("tiny", ("romantic", "sad"), PRESETS["audioset-16k"], 2.0, evidence=EVIDENCE)


def write_model(path: Path, spec: ModelSpec, seed: int = 1) -> str:
    path.write_bytes(tiny_onnx(spec, seed).SerializeToString())
    return str(path)


@pytest.fixture
def models(tmp_path: Path, tiny_model: Path) -> list[str]:
    """Two models of other labels and other log-mels."""
    return [str(tiny_model), write_model(tmp_path / "words.onnx", WORDS)]


def test_each_says_what_it_says_alone(models: list[str], tmp_path: Path) -> None:
    songs = [
        str(write_audio(tmp_path / f"{i}.wav", chirp(12 + i, 16_000, 50.0 + 300 * i), 16_000))
        for i in range(3)
    ]
    write_audio(tmp_path / "silent.wav", np.zeros(160_000, np.float32), 16_000)
    (tmp_path / "bad.mp3").write_text("no song")
    songs += [str(tmp_path / "silent.wav"), str(tmp_path / "bad.mp3")]
    both = open_models(models)
    rows = labels_of(songs, both, WindowOptions(both.spec.audio, further=both.heard[1:]))
    first, words = (
        labels_of(songs, alone, WindowOptions(alone.spec.audio)) for alone in map(open_artifact, models)
    )
    assert [dataclasses.replace(row, further={}) for row in rows] == first
    for row, alone in zip(rows[:3], words[:3], strict=True):
        own = row.further["words"]
        assert (own.emotion, own.verdict) == (alone.emotion, alone.verdict)
        assert (own.probabilities, own.novelty) == (alone.probabilities, alone.novelty)
        assert label_from_json(row.to_json(), row.path) == row
    values = [further_values(row, both.further[0]) for row in rows]
    assert list(values[0]) == list(further_columns(both.further[0]))
    assert values[0]["words_emotion"] == words[0].emotion
    assert values[0]["words_p_romantic"] == rows[0].further["words"].probabilities[0]
    assert [value["words_verdict"] for value in values[3:]] == ["silence", None]
    assert all(value["words_emotion"] is value["words_p_sad"] is None for value in values[3:])
    assert {value["words_model_sha256"] for value in values} == {both.further[0].sha256}


@given(st.integers(1, 4), st.integers(0, 3), st.floats(0, 1))
def test_outputs_are_split_by_what_each_model_gives(windows: int, others: int, least: float) -> None:
    facts = dataclasses.replace(FACTS, starts_s=tuple(map(float, range(windows))))
    spec = ModelSpec("tiny", ("a", "b", "c"), AudioSpec())
    rng = np.random.default_rng(windows * 10 + others)
    parts = [rng.normal(size=(windows, 3 if i == 0 else 4)).astype(np.float32) for i in range(others + 1)]
    models = [Artifact(f"{i}", Path("x"), WORDS if i else spec, "0", b"") for i in range(others + 1)]
    artifact = dataclasses.replace(models[0], further=tuple(models[1:]))
    label = label_from_outputs("song", facts, np.hstack(parts), artifact, least)
    assert dataclasses.replace(label, further={}) == label_from_logits("song", facts, parts[0], spec, least)
    assert list(label.further) == [model.name for model in models[1:]]
    for model, part in zip(models[1:], parts[1:], strict=True):
        alone = label_from_logits("song", facts, part, WORDS, least)
        assert label.further[model.name] == dataclasses.replace(alone, windows=(), tags={})


def test_a_network_that_gives_nan_is_an_error_of_the_row(models: list[str]) -> None:
    outputs = np.zeros((2, 8), np.float32)
    outputs[1, 5] = np.nan
    label = label_from_outputs("song", FACTS, outputs, open_models(models))
    assert label == SongLabel("song", error="the network gave numbers that are not finite")


def test_names_of_columns_are_storable() -> None:
    assert prefix_of_columns("a\udcffb") == "a\\xffb_"


def test_models_that_do_not_go_together(models: list[str], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    twin = write_model(tmp_path / "other" / "words.onnx", WORDS)
    with pytest.raises(UsageError, match="two models are called words"):
        open_models([*models, twin])
    brief = dataclasses.replace(WORDS.audio, window_samples=80_000, frames=200)
    other = write_model(tmp_path / "brief.onnx", dataclasses.replace(WORDS, audio=brief))
    with pytest.raises(UsageError, match="brief hears other windows than tiny"):
        open_models([models[0], other])
    engine = write_engine(tmp_path, WORDS)
    with pytest.raises(UsageError, match="an engine labels alone"):
        open_models([models[0], str(engine)])
    assert open_models(models[:1]) == open_artifact(models[0])


@pytest.mark.parametrize("text", ["audiocnn,hindi5", "audiocnn, hindi5"])
def test_several_models_in_one_name(text: str) -> None:
    said = "give --model several times: --model audiocnn --model hindi5"
    with pytest.raises(UsageError, match=f"{text}' is no model; for several {said}"):
        open_models([text])
