"""Several networks as one runtime, against each alone on log-mels of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from merkit.engine.artifact import Artifact, open_artifact
from merkit.engine.errors import ArtifactError
from merkit.engine.runtimes import Runtime, open_runtime
from merkit.engine.runtimes.null import NullRuntime
from merkit.engine.runtimes.side_by_side import SideBySide
from merkit.engine.spec import AudioSpec, ModelSpec
from onnx_files import tiny_onnx

DECIBELS = np.random.default_rng(0).normal(-40, 20, (3, 1, 128, 313)).astype(np.float32)


def artifact(folder: Path, name: str, mean: tuple[float, ...], std: tuple[float, ...]) -> Artifact:
    spec = ModelSpec("tiny", ("a", "b"), AudioSpec(mean=mean, std=std))
    (folder / f"{name}.onnx").write_bytes(tiny_onnx(spec, len(name)).SerializeToString())
    return open_artifact(str(folder / f"{name}.onnx"))


def log_mels(spec: AudioSpec) -> np.ndarray:
    mean, std = (np.array(values, np.float32)[:, None] for values in (spec.mean, spec.std))
    return (DECIBELS - mean) / std


def test_outputs_are_those_of_each_network_alone(tmp_path: Path) -> None:
    by_mel = tuple(np.linspace(-30, 5, 128)), tuple(np.linspace(1, 20, 128))
    models = [
        artifact(tmp_path, "one", (-16.0,), (14.0,)),
        artifact(tmp_path, "three", (-16.0,), (14.0,)),
        artifact(tmp_path, "other", (3.0,), (2.5,)),
        artifact(tmp_path, "by_mel", *by_mel),
    ]
    for first in (models[0], models[3]):
        others = tuple(model for model in models if model is not first)
        with open_runtime(dataclasses.replace(first, further=others), "onnxruntime", 1) as runtime:
            assert runtime.name == "onnxruntime"
            given = runtime.infer(log_mels(first.spec.audio))
        for number, model in enumerate((first, *others)):
            with open_runtime(model, "onnxruntime", 1) as alone:
                expected = alone.infer(log_mels(model.spec.audio))
            np.testing.assert_allclose(given[:, 2 * number : 2 * number + 2], expected, rtol=1e-4, atol=1e-4)


def test_a_network_that_cannot_be_opened_closes_those_before_it(tmp_path: Path) -> None:
    first = artifact(tmp_path, "one", (0.0,), (1.0,))
    closed = []

    class Watched(NullRuntime):
        def __exit__(self, *_: object) -> None:
            closed.append(self)

    def open_one(model: Artifact) -> Runtime:
        if model.name == "two":
            raise ArtifactError("it is refused")
        return Watched(2)

    second = dataclasses.replace(first, name="two")
    with pytest.raises(ArtifactError, match="it is refused"):
        SideBySide(dataclasses.replace(first, further=(second,)), open_one)
    assert len(closed) == 1
