from pathlib import Path

import numpy as np
import onnxruntime
import torch
from merkit.engine.artifact import open_artifact
from merkit.engine.spec import ModelSpec
from merkit.export.torch_to_onnx import onnx_from_network
from merkit.training.networks.audiocnn import AudioCNN


def test_a_file_is_the_network_and_says_nothing_of_the_machine(tmp_path: Path, spec: ModelSpec) -> None:
    torch.manual_seed(0)
    network = AudioCNN(len(spec.labels), channels=1)
    path = tmp_path / "net.onnx"
    onnx_from_network(network, spec, path)
    assert open_artifact(str(path)).spec == spec
    content = path.read_bytes()
    for trace in (b".py", b"site-packages", str(tmp_path).encode(), str(Path.home()).encode()):
        assert trace not in content
    log_mels = np.random.default_rng(0).standard_normal(
        (3, 1, spec.audio.n_mels, spec.audio.frames), np.float32
    )
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": log_mels})
    with torch.inference_mode():
        np.testing.assert_allclose(np.asarray(logits), network(torch.from_numpy(log_mels)), atol=1e-5)
