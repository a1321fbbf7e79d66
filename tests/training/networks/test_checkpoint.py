"""A checkpoint holds the network and its spec, whole or not at all, and is never a pickle."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import pytest
import torch
from failing_disk import FailingDisk
from merkit.engine import files
from merkit.engine.artifact import SPEC_KEY
from merkit.engine.errors import ArtifactError, UsageError
from merkit.engine.spec import AudioSpec, EvidenceSpec, ModelSpec
from merkit.training.networks.backbones import build_backbone
from merkit.training.networks.checkpoint import (
    evidence_from_checkpoint,
    network_from_checkpoint,
    save_checkpoint,
    spec_from_checkpoint,
)
from merkit.training.networks.evidence import Evidence
from safetensors.torch import save_file

SPEC = ModelSpec("mobilenetv3", ("happy", "sad"), AudioSpec(), 1.5, {"test_clips": ["a", "b"]})


@pytest.mark.parametrize("extra_head", [False, True])
def test_what_is_saved_comes_back(tmp_path: Path, extra_head: bool):
    torch.manual_seed(0)
    network = build_backbone("squeezenet", 2, extra_head=extra_head).eval()
    network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    spec = ModelSpec("squeezenet", ("happy", "sad"), AudioSpec(), provenance={"note": "naïve"})
    path = tmp_path / "new" / "squeezenet.safetensors"
    save_checkpoint(network, spec, path)
    loaded, read = network_from_checkpoint(path)
    log_mels = torch.randn(2, 1, 128, 313)
    with torch.inference_mode():
        assert torch.allclose(loaded(log_mels), network(log_mels), atol=1e-6)
    assert read == spec == spec_from_checkpoint(path)
    assert not loaded.training
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_evidence_is_saved_beside_the_network(tmp_path: Path):
    torch.manual_seed(0)
    path = tmp_path / "net.safetensors"
    network = build_backbone("squeezenet", 2).eval()
    plain = ModelSpec("squeezenet", ("happy", "sad"), AudioSpec())
    save_checkpoint(network, plain, path)
    assert evidence_from_checkpoint(path) is None
    spec = dataclasses.replace(plain, evidence=EvidenceSpec(0.0, (0.0, 1.0), 1.0, 0.6))
    evidence = Evidence(128, 313).eval()
    save_checkpoint(network, spec, path, evidence)
    loaded, again = network_from_checkpoint(path)[0], evidence_from_checkpoint(path)
    assert spec_from_checkpoint(path) == spec
    log_mels = torch.randn(2, 1, 128, 313)
    with torch.inference_mode():
        assert torch.equal(loaded(log_mels), network(log_mels))
        assert again is not None
        assert torch.equal(again(log_mels), evidence(log_mels))
    save_checkpoint(network, spec, path)
    with pytest.raises(ArtifactError, match="the tensors of its evidence do not fit"):
        evidence_from_checkpoint(path)


class _Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trapped"),))


@pytest.mark.parametrize("write", [torch.save, lambda it, path: Path(path).write_bytes(pickle.dumps(it))])
def test_a_pickle_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.safetensors"
    write({"weight": _Trap()}, path)
    with pytest.raises(ArtifactError, match="is a pickle"):
        network_from_checkpoint(path)
    assert not (tmp_path / "trapped").exists()


def test_what_is_no_checkpoint_is_refused_in_a_line(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(UsageError, match="no such checkpoint"):
        network_from_checkpoint(path)
    path.write_bytes(b"\x08")
    with pytest.raises(ArtifactError, match="not a safetensors"):
        network_from_checkpoint(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(ArtifactError, match=r"no ModelSpec.*weights from elsewhere with --spec"):
        network_from_checkpoint(path)
    save_file({"weight": torch.zeros(1)}, path, {SPEC_KEY: SPEC.to_json()})
    with pytest.raises(ArtifactError, match="do not fit mobilenetv3"):
        network_from_checkpoint(path)
    newer = json.dumps({**json.loads(SPEC.to_json()), "version": 2})
    save_file({"weight": torch.zeros(1)}, path, {SPEC_KEY: newer})
    with pytest.raises(ArtifactError, match="version 2"):
        spec_from_checkpoint(path)


def test_a_failed_write_keeps_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "model.safetensors"
    network = build_backbone("audiocnn", 2)
    spec = ModelSpec("audiocnn", ("happy", "sad"), AudioSpec())
    save_checkpoint(network, spec, path)
    before = path.read_bytes()

    monkeypatch.setattr(files, "Disk", lambda: FailingDisk("write", 1))
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(network, spec, path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
