"""Several networks as one runtime, against each alone on log-mels of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from merkit.engine.artifact import Artifact, open_artifact
from merkit.engine.errors import ArtifactError
from merkit.engine.runtimes import open_runtime
from merkit.engine.runtimes.null import NullRuntime
from merkit.engine.runtimes.side_by_side import SideBySide
from merkit.engine.spec import AudioSpec, ModelSpec
from merkit.engine.spectrogram.presets import PRESETS
from onnx_files import tiny_onnx


def artifact(folder: Path, name: str, audio: AudioSpec) -> Artifact:
    spec = ModelSpec("tiny", ("a", "b"), audio)
    (folder / f"{name}.onnx").write_bytes(tiny_onnx(spec, len(name)).SerializeToString())
    return open_artifact(str(folder / f"{name}.onnx"))


def test_outputs_are_those_of_each_network_alone(tmp_path: Path) -> None:
    audio = (AudioSpec(), PRESETS["emotion4q"], PRESETS["audioset-16k"])
    models = [artifact(tmp_path, "x" * (1 + i), audio[which]) for i, which in enumerate((1, 0, 1, 2))]
    rng = np.random.default_rng(0)
    heard = {spec: rng.normal(size=(3, 1, spec.n_mels, spec.frames)).astype(np.float32) for spec in audio}
    for first in (models[0], models[3]):
        others = tuple(model for model in models if model is not first)
        both = dataclasses.replace(first, further=others)
        assert len(both.heard) == 3
        with open_runtime(both, "onnxruntime", 1) as runtime:
            assert runtime.name == "onnxruntime"
            given = runtime.infer(
                np.concatenate([heard[spec].reshape(3, 1, 1, -1) for spec in both.heard], 3)
            )
        for number, model in enumerate((first, *others)):
            with open_runtime(model, "onnxruntime", 1) as alone:
                expected = alone.infer(heard[model.spec.audio])
            np.testing.assert_array_equal(given[:, 2 * number : 2 * number + 2], expected)


def test_a_network_that_cannot_be_opened_closes_those_before_it(tmp_path: Path) -> None:
    first = artifact(tmp_path, "one", AudioSpec())
    closed = []

    class Watched(NullRuntime):
        def __exit__(self, *_: object) -> None:
            closed.append(self)

    def open_one(model: Artifact) -> NullRuntime:
        if model.name == "two":
            raise ArtifactError("it is refused")
        return Watched(2)

    second = dataclasses.replace(first, name="two")
    with pytest.raises(ArtifactError, match="it is refused"):
        SideBySide(dataclasses.replace(first, further=(second,)), open_one)
    assert len(closed) == 1
