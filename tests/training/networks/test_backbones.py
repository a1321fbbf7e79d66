"""The nine networks are torchvision's, seen through one channel; all have heads of any size."""

from __future__ import annotations

import urllib.error

import pytest
import torch
from merkit.engine.errors import MerError, UsageError
from merkit.training.networks.backbones import PAPER_BACKBONES, build_backbone, head_parameters, keep_outputs
from torch import nn
from torchvision import models

_TORCHVISION = {
    "alexnet": models.alexnet,
    "vgg16": models.vgg16,
    "resnet18": models.resnet18,
    "resnet50": models.resnet50,
    "mobilenetv2": models.mobilenet_v2,
    "mobilenetv3": models.mobilenet_v3_small,
    "densenet121": models.densenet121,
    "efficientnet_b0": models.efficientnet_b0,
    "squeezenet": models.squeezenet1_0,
}


@pytest.mark.parametrize("name", PAPER_BACKBONES)
def test_one_channel_equals_three_repeated(name: str, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    theirs = _TORCHVISION[name](weights=None).eval()
    monkeypatch.setattr("merkit.training.networks.backbones._state_dict", lambda *_: theirs.state_dict())
    for draw in ("normal_", "kaiming_normal_", "kaiming_uniform_", "trunc_normal_"):  # slow, and overwritten
        monkeypatch.setattr(nn.init, draw, lambda tensor, *_, **__: tensor)
    ours = build_backbone(name, 1_000, "imagenet").eval()
    log_mel = torch.randn(1, 1, 64, 96)
    with torch.inference_mode():
        logits, expected = ours(log_mel), theirs(log_mel.expand(-1, 3, -1, -1))
    # Untrained, their sizes differ by network: ResNet-50's reach 20, and float32 has seven digits.
    assert (logits - expected).abs().max() <= 1e-5 * max(1, expected.abs().max())


@pytest.mark.parametrize("name", ["audiocnn", "musicnn", "mobilenetv3", "squeezenet", "densenet121"])
@pytest.mark.parametrize("extra_head", [False, True])
def test_heads_have_as_many_outputs_as_labels(name: str, extra_head: bool):
    network = build_backbone(name, 5, extra_head=extra_head).eval()
    assert network(torch.zeros(2, 1, 96, 64)).shape == (2, 5)
    head = head_parameters(network, name)
    assert 0 < sum(p.numel() for p in head) < sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", ["audiocnn", "musicnn", "mobilenetv3", "squeezenet", "densenet121"])
@pytest.mark.parametrize("extra_head", [False, True])
def test_the_first_outputs_are_kept_as_they_are(name: str, extra_head: bool):
    network, log_mels = build_backbone(name, 9, extra_head=extra_head).eval(), torch.randn(2, 1, 96, 64)
    with torch.inference_mode():
        expected = network(log_mels)[:, :4]
        kept = keep_outputs(network, name, 4)(log_mels)
    assert kept.shape == (2, 4)
    torch.testing.assert_close(kept, expected, rtol=1e-5, atol=1e-6)


def test_batchnorm_settles_within_a_few_hundred_clips():
    network = build_backbone("mobilenetv3", 2)
    assert {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}


def test_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch):
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(
        MerError, match=r"cannot be fetched .* https://download.*the file in place of imagenet"
    ):
        build_backbone("squeezenet", 2, "imagenet")
    with pytest.raises(UsageError, match="audiocnn has no published weights"):
        build_backbone("audiocnn", 2, "imagenet")


def test_parameters_of_a_known_network():
    network = build_backbone("mobilenetv3", 1_000)
    # torchvision: 2,542,856 parameters with three channels (the stem has 16 x 3 x 9).
    assert sum(p.numel() for p in network.parameters()) == 2_542_856 - 16 * 2 * 9
