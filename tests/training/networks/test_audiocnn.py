import numpy as np
import torch
from merkit.training.networks.audiocnn import AudioCNN, CepstrumStatistics
from scipy.fft import dct
from torch import nn


def test_the_statistics_are_those_of_scipys_cepstrum() -> None:
    log_mels = np.random.default_rng(0).normal(size=(3, 1, 40, 50)).astype(np.float32)
    network = CepstrumStatistics(4).eval()
    inputs = []
    network.classifier.register_forward_hook(lambda module, args, result: inputs.append(args[0]))
    with torch.inference_mode():
        assert network(torch.from_numpy(log_mels)).shape == (3, 4)

    cepstrum = np.asarray(dct(log_mels[:, 0], axis=1, norm="ortho"))[:, :30]
    movements = [np.square(cepstrum[..., lag:] - cepstrum[..., :-lag]).mean(axis=2) for lag in (1, 2, 4)]
    powers = np.log(np.concatenate([cepstrum.var(axis=2), *movements], axis=1) + 1e-3)
    expected = np.concatenate([cepstrum.mean(axis=2), powers], axis=1)
    np.testing.assert_allclose(inputs[0].numpy(), expected, atol=1e-3)


def test_the_statistics_are_scaled_by_all_batches_so_far() -> None:
    network, log_mels = CepstrumStatistics(4), torch.randn(20, 1, 40, 50)
    inputs = []
    network.classifier.register_forward_hook(lambda module, args, result: inputs.append(args[0]))
    with torch.inference_mode():
        network.eval()(log_mels)
        network.train()(log_mels[:10])
        network.train()(log_mels[10:])
        network.eval()(log_mels)
    plain, _, last, final = inputs
    torch.testing.assert_close(last, final[10:])
    torch.testing.assert_close(network.scale.running_mean, plain.mean(dim=0), rtol=1e-4, atol=1e-4)


def test_silence_has_a_gradient() -> None:
    network = AudioCNN(2).train()
    network(torch.zeros(4, 1, 64, 64)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_the_parts_learn_apart_and_answer_together() -> None:
    network, log_mels = AudioCNN(3), torch.randn(2, 1, 64, 64)
    assert network.train()(log_mels).shape == (2, 2, 3)
    with torch.inference_mode():
        before = network.eval()(log_mels)
        assert before.shape == (2, 3)
        network.statistics.register_forward_hook(_plus_one)
        assert torch.allclose(network(log_mels), before + 0.5, atol=1e-5)


def _plus_one(module: nn.Module, args: tuple[torch.Tensor, ...], result: torch.Tensor) -> torch.Tensor:
    return result + 1
