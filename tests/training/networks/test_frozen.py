"""A frozen network is built again from its facts and the names of its weights."""

from __future__ import annotations

import pytest
import torch
from merkit.training.networks.audioset import AudioSetNet
from merkit.training.networks.embedding import Embedding
from merkit.training.networks.frozen import FrozenNetwork, frozen_facts, unfilled_frozen
from torch import nn


@pytest.mark.parametrize(("hidden", "features"), [(False, 768), (True, 1_280)])
def test_it_is_built_again_with_the_hidden_layer_and_without(hidden: bool, features: int):
    embedding = Embedding(AudioSetNet(), "audioset", middle=AudioSetNet.MIDDLE, hidden=hidden)
    network = FrozenNetwork(embedding, nn.Linear(features, 4)).eval()
    weights = network.state_dict()
    again = unfilled_frozen("audioset", frozen_facts(embedding), list(weights), features, 4).eval()
    again.load_state_dict(weights)
    log_mels = torch.randn(2, 1, 128, 40, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(again(log_mels), network(log_mels))
