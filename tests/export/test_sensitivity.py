"""Layers are ranked by the error that they alone cause in INT8."""

from __future__ import annotations

from merkit.export.calibration import ranges_from_log_mels
from merkit.export.precision import layers_to_quantize, tensors_to_quantize
from merkit.export.sensitivity import rank_layers
from merkit.export.song_log_mels import generated_log_mels
from small_networks import AUDIO, small_network


def test_the_layer_that_int8_hurts_is_ranked_first() -> None:
    model = small_network()
    tensors = tensors_to_quantize(model, layers_to_quantize(model))
    log_mels = generated_log_mels(AUDIO, 4).log_mels
    ranges = dict(ranges_from_log_mels(model.SerializeToString(), log_mels, tensors, "minmax"))
    (head,) = [node.input[0] for node in model.graph.node if node.name == "head"]
    ranges[head] = (-1e6, 1e6)  # one step of int8 is larger than all the values
    ranked = rank_layers(model, ranges, log_mels)
    assert ranked[0].layer == "head"
    assert ranked[0].error > 10 * ranked[1].error
    without_head = rank_layers(model, ranges, log_mels, keep=["head"])
    assert [result.layer for result in without_head] == [result.layer for result in ranked[1:]]
