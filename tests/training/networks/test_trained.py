"""What weights may be named by, and what is said of what holds none."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from audioset_files import random_audioset
from merkit.engine.artifact import path_from_model
from merkit.engine.errors import ArtifactError, UsageError
from merkit.engine.spec import ModelSpec
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.networks.audiocnn import AudioCNN
from merkit.training.networks.checkpoint import save_checkpoint
from merkit.training.networks.trained import names_trained_network, trained_network
from onnx import numpy_helper
from safetensors.torch import save_file


def test_a_folder_of_trainings_names_them(tmp_path: Path):
    for name in ("grouped", "random"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "checkpoint.safetensors").touch()
    with pytest.raises(UsageError, match="holds trainings in grouped and random: name one of them, such as"):
        trained_network(str(tmp_path))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_no_numbers_are_refused_where_they_are_read(tmp_path: Path, value: float):
    network = AudioCNN(2)
    with torch.no_grad():
        network.get_parameter("features.0.weight")[0, 0, 0, 0] = value
    spec = ModelSpec("audiocnn", ("a", "b"), PRESETS["emotion4q"])
    save_checkpoint(network, spec, tmp_path / "checkpoint.safetensors")
    said = "hold NaN or infinity, in features.0.weight$"
    for source in (tmp_path, tmp_path / "checkpoint.safetensors"):
        with pytest.raises(ArtifactError, match=rf"checkpoint.safetensors: the weights {said}"):
            trained_network(str(source))


def test_an_onnx_with_nan_is_refused_for_that(tmp_path: Path):
    model = onnx.load(path_from_model("squeezenet"))
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "features.0.weight")
    values = numpy_helper.to_array(weights).copy()
    values[0] = float("nan")
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    onnx.save(model, tmp_path / "nan.onnx")
    with pytest.raises(ArtifactError, match=r"nan.onnx: the weights hold NaN or infinity, in features.0"):
        trained_network(str(tmp_path / "nan.onnx"))


def test_the_audioset_network_as_its_authors_publish_it(tmp_path: Path):
    """With ``torch.save``; other state dicts do not say what they are of."""
    published = random_audioset()
    torch.save(published, tmp_path / "mn04_as_mAP_432.pt")
    save_file(published, tmp_path / "MN04_AS.SAFETENSORS")
    for name in ("mn04_as_mAP_432.pt", "MN04_AS.SAFETENSORS"):
        assert names_trained_network(str(tmp_path / name)), name
        assert trained_network(str(tmp_path / name)).backbone == "audioset"
    torch.save(AudioCNN(2).state_dict(), tmp_path / "plain.pt")
    (tmp_path / "none.pt").write_bytes(b"no weights")
    for name in ("plain.pt", "none.pt"):
        assert not names_trained_network(str(tmp_path / name)), name
