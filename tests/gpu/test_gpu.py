"""What only a GPU can show: pytest -m gpu, on a machine with one and merkit[gpu] or merkit[rtx] with PyCUDA.

On an H200 DALI's tests passed; those of engines wait for a card with TensorRT.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from audio_files import noise, write_audio
from click.testing import CliRunner
from merkit.benchmarks.experiments.gpu import generated, measure
from merkit.engine.artifact import Artifact, open_artifact
from merkit.engine.cli.label import main as label
from merkit.engine.errors import ArtifactError, DeviceError
from merkit.engine.labelling.gpu_pipeline import open_gpu_pipeline
from merkit.engine.runtimes import open_runtime, tensorrt
from merkit.engine.spectrogram.dali import DaliLogMel
from merkit.engine.spectrogram.log_mel import log_mel_from_audio
from merkit.engine.spectrogram.presets import PRESETS
from merkit.export.builders import gpu_capability
from merkit.export.cli import main as export
from reading import labels_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(gpu_capability() is None, reason="no NVIDIA GPU and driver here"),
]


@pytest.fixture(scope="module", params=["rtx", "tensorrt"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The bundled network in FP16, compiled on this machine by each builder that is installed."""
    pytest.importorskip({"rtx": "tensorrt_rtx", "tensorrt": "tensorrt"}[request.param])
    folder = tmp_path_factory.mktemp(request.param)
    done = CliRunner().invoke(
        export, ["-m", "audiocnn", "--fp16", "--builder", request.param, "-o", f"{folder}/"]
    )
    assert done.exit_code == 0, done.output
    return open_artifact(str(folder / "audiocnn_fp16.engine"))


def log_mels_of(artifact: Artifact, count: int) -> np.ndarray:
    return log_mel_from_audio(generated(artifact.spec.audio, count), artifact.spec.audio)


def test_the_engine_says_what_the_onnx_says(built: Artifact) -> None:
    """Proves: loading, addresses, shapes, copies and FP16 on real hardware, for all batch sizes."""
    log_mels = log_mels_of(built, 70)
    with open_runtime(open_artifact(str(built.path.with_suffix(".onnx")))) as reference:
        expected = reference.infer(log_mels)
    with open_runtime(built) as runtime:
        for count in (1, 2, 31, 32, 33, 70):
            logits = runtime.infer(log_mels[:count])
            assert np.abs(logits - expected[:count]).max() <= 0.05 * np.abs(expected).max()


def test_mer_export_compared_the_engine_itself(built: Artifact) -> None:
    """Proves: export's own gate runs the engine where a GPU is."""
    report = json.loads(built.path.with_suffix(".json").read_text())
    assert report["engine_parity"]["checked"] is True, report["engine_parity"]


@pytest.mark.parametrize("name", PRESETS)
def test_dali_on_the_gpu_makes_the_references_log_mels(name: str) -> None:
    """Proves: the one pipeline definition holds for cuFFT too, within 0.01 dB of ordinary sound."""
    spec = PRESETS[name]
    audio = generated(spec, 5)
    with DaliLogMel(spec, 5, "gpu") as gpu, DaliLogMel(spec, 5, "cpu") as cpu:
        gpu.put(audio)
        cpu.put(audio)
        on_gpu, on_cpu = np.asarray(gpu.take().as_cpu()), cpu.take()
    np.testing.assert_allclose(on_gpu, on_cpu, atol=0.01)
    np.testing.assert_allclose(on_gpu, log_mel_from_audio(audio, spec), atol=0.01)


def test_dalis_log_mels_go_into_tensorrt_uncopied(built: Artifact) -> None:
    """Proves: shared primary context, DALI's outputs bound to our stream, alignment, lifetimes."""
    spec = built.spec.audio
    audio = generated(spec, 32)
    log_mels = log_mel_from_audio(audio, spec)
    with tensorrt.open_runtime(built, 0) as runtime, DaliLogMel(spec, 32, "gpu") as dali:
        expected = runtime.infer(log_mels)
        pending = []
        for _ in range(50):
            dali.put(audio)
            pending.append(runtime.submit(dali.take(runtime.stream)))
        for batch in pending:
            assert np.abs(batch.result() - expected).max() <= 0.05 * np.abs(expected).max()


def test_a_catalogue_gets_the_cpus_labels(built: Artifact, tmp_path: Path) -> None:
    """Proves: the whole path, from files to rows, beside the CPU's."""
    paths = [str(write_audio(tmp_path / f"{i}.wav", noise(12 + i, 22_050, i), 22_050)) for i in range(12)]
    rows = labels_of(paths, built, network=open_gpu_pipeline(built))
    expected = labels_of(paths, open_artifact("audiocnn"))
    for ours, theirs in zip(rows, expected, strict=True):
        assert ours.error is theirs.error is None
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=0.02)
    done = CliRunner().invoke(label, [*paths, "-m", str(built.path), "--device", "auto", "-v"])
    assert done.exit_code == 0
    assert "device: cuda (DALI and " in done.output


def test_threads_share_one_runtime(built: Artifact) -> None:
    """Proves: pushing the primary context in several threads at once."""
    log_mels = log_mels_of(built, 16)
    errors: list[BaseException] = []
    with open_runtime(built) as runtime:
        expected = runtime.infer(log_mels)

        def work() -> None:
            try:
                for _ in range(50):
                    np.testing.assert_allclose(runtime.infer(log_mels), expected, rtol=1e-2, atol=1e-2)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []


def test_nothing_leaks(built: Artifact) -> None:
    """Proves: TensorRT's own memory goes with the runtime; the first opens are left out."""
    from merkit.engine.runtimes.cuda_gpu import open_gpu

    def free() -> int:
        with open_gpu(0).current() as cuda:
            return cuda.mem_get_info()[0]

    log_mels = log_mels_of(built, 4)
    free_bytes = []
    for _ in range(20):
        with open_runtime(built) as runtime:
            runtime.infer(log_mels)
        free_bytes.append(free())
    assert free_bytes[-1] >= free_bytes[4] - (8 << 20)


def test_a_truncated_engine_is_an_error_and_no_crash(built: Artifact, tmp_path: Path) -> None:
    """Proves: what TensorRT itself does with damage, past our check of the hash."""
    import dataclasses

    with pytest.raises(DeviceError, match="cannot load it"):
        open_runtime(dataclasses.replace(built, content=built.content[: len(built.content) // 2]))
    (tmp_path / "a.engine").write_bytes(built.content)
    with pytest.raises(ArtifactError, match="no sidecar"):
        open_artifact(str(tmp_path / "a.engine"))


def test_mer_bench_gpu_measures_all(built: Artifact) -> None:
    """Proves: throughput, transfers and overlap can be measured; the numbers are docs/GPU.md's to judge."""
    measurement = measure(built, 0.5)
    assert measurement["engine_against_onnx"]["checked"]
    assert measurement["dali_against_reference_db"] <= 0.01
    assert measurement["overlap"] > 0.9
